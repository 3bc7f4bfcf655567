//! A service has what it says: its address is an IPAddress that refers to it, its ports are marked as taken.

use std::net::{IpAddr, Ipv4Addr};

use api_types::catalog;
use api_types::meta;
use serde_json::Value;

use super::super::{Owner, addresses, cluster_ips, node_ports};
use super::{Look, Postponed, Repair, remaining_grace};
use crate::registry::encode;
use crate::storage::StorageError;

const ACTION: &str = "ClusterIPAllocation";

impl Repair {
    pub(super) async fn look_at_service(&mut self, owner: &Owner) -> Result<(), Postponed> {
        let Some(service) = self.service(owner) else { return Ok(()) };
        for ip in cluster_ips(&service) {
            self.look_at_ip(owner, &service, ip).await?;
        }
        self.look_at_ports(owner, &service).await
    }

    async fn tell(&self, service: &Value, reason: &str, message: &str) {
        tracing::warn!(
            namespace = meta::namespace(service),
            service = meta::name(service),
            reason,
            "{message}"
        );
        self.ips.warning_while(service, reason, ACTION, message).await;
    }

    async fn look_at_ip(&mut self, owner: &Owner, service: &Value, ip: Ipv4Addr) -> Result<(), Postponed> {
        if !self.allocators.ranges(false).iter().any(|r| r.serves(IpAddr::V4(ip))) {
            let message = format!(
                "Cluster IP [IPv4]: {ip} is not within any configured Service CIDR; please recreate service"
            );
            self.tell(service, "ClusterIPOutOfRange", &message).await;
            return Ok(());
        }
        let Some((address, revision)) = self.address(ip) else {
            return self.restore_address(owner, service, ip).await;
        };
        let wrong = |why: &str| format!("the ClusterIP [IPv4]: {ip} for Service {owner} {why}");
        match addresses::service_of(&address) {
            Some(of) if of == *owner => {
                if !addresses::has_labels(&address) {
                    self.correct(owner, address, revision).await?;
                }
                return Ok(());
            }
            Some(of) => {
                let also_has = self.service(&of).is_some_and(|other| cluster_ips(&other).contains(&ip));
                if also_has {
                    let message = format!(
                        "Cluster IP [IPv4]:{ip} was assigned to multiple services; please recreate service"
                    );
                    self.tell(service, "ClusterIPAlreadyAllocated", &message).await;
                    return Ok(());
                }
                // The other service may be about to be written.
                if addresses::is_managed(&address)
                    && let Some(rest) = remaining_grace(&address)
                {
                    self.again(Look::Service(owner.clone()), rest);
                    return Ok(());
                }
            }
            None => {}
        }
        let message = wrong("has a wrong reference; repairing");
        self.tell(service, "ClusterIPNotAllocated", &message).await;
        self.correct(owner, address, revision).await
    }

    /// Makes the IPAddress of a service that has none.
    async fn restore_address(
        &mut self,
        owner: &Owner,
        service: &Value,
        ip: Ipv4Addr,
    ) -> Result<(), Postponed> {
        // The service may have gone, and its address after it, between the two looks: it must still be there.
        let same = |now: &Value| meta::uid(now) == meta::uid(service) && cluster_ips(now).contains(&ip);
        if !self.service(owner).is_some_and(|now| same(&now)) {
            return Ok(());
        }
        let message = format!("Cluster IP [IPv4]: {ip} is not allocated; repairing");
        self.tell(service, "ClusterIPNotAllocated", &message).await;
        let storage = &self.allocators.0.storage;
        match storage.create(&addresses::key(ip), addresses::object(ip, owner), None).await {
            Ok(_) => Ok(()),
            // Somebody else's repair, or another service: its event asks for the next look.
            Err(StorageError::KeyExists { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Makes an IPAddress refer to the service. Upstream deletes and creates it, and could lose it in between.
    async fn correct(&self, owner: &Owner, mut address: Value, revision: u64) -> Result<(), Postponed> {
        let key = format!("{}{}", addresses::PREFIX, meta::name(&address));
        addresses::give(&mut address, owner);
        let Some(kind) = catalog::by_resource("networking.k8s.io", "v1", "ipaddresses") else {
            return Ok(());
        };
        let bytes = encode::stored(kind, &mut address);
        match self.allocators.0.storage.update(&key, bytes, revision, None).await {
            // Changed meanwhile: that event asks for the next look.
            Ok(_) | Err(StorageError::Conflict { .. } | StorageError::NotFound { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    async fn look_at_ports(&mut self, owner: &Owner, service: &Value) -> Result<(), Postponed> {
        let ranges = self.allocators.0.ranges;
        let (mut ours, mut told) = (Vec::new(), Vec::new());
        for port in node_ports(service) {
            if self.allocators.0.ports.bit(port).is_none() {
                let range = format!("{}-{}", ranges.first_port, ranges.last_port);
                let message =
                    format!("Port {port} is not within the port range {range}; please recreate service");
                told.push(("PortOutOfRange", message));
            } else if self.holders.first_of_port(port).is_some_and(|first| first != owner) {
                let message =
                    format!("Port {port} was assigned to multiple services; please recreate service");
                told.push(("PortAlreadyAllocated", message));
            } else {
                ours.push(port);
            }
        }
        for port in self.allocators.0.ports.mark(&*self.allocators.0.storage, &ours).await? {
            told.push(("PortNotAllocated", format!("Port {port} is not allocated; repairing")));
        }
        for (reason, message) in told {
            tracing::warn!(service = %owner, reason, "{message}");
            self.ports.warning(service, reason, &message).await;
        }
        Ok(())
    }
}
