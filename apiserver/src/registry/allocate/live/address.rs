//! An IPAddress that an allocator has made is a service's, or it goes.

use std::net::Ipv4Addr;

use api_types::meta;
use serde_json::Value;

use super::super::{addresses, cluster_ips};
use super::{Look, Postponed, Repair, remaining_grace};

const ACTION: &str = "IPAddressAllocation";

impl Repair {
    pub(super) async fn look_at_address(&mut self, ip: Ipv4Addr) -> Result<(), Postponed> {
        let Some((address, revision)) = self.address(ip) else { return Ok(()) };
        // One that a service has is put right when that service is looked at.
        if !addresses::is_managed(&address) || !self.holders.of_ip(ip).is_empty() {
            return Ok(());
        }
        let Some(owner) = addresses::service_of(&address) else {
            let parent = meta::at(&address, &["spec", "parentRef"]).unwrap_or(&Value::Null);
            let message = format!(
                "IPAddress {ip} appears to have been modified, not referencing a Service {parent}: cleaning up"
            );
            return self.clean_up(&address, revision, "IPAddressNotAllocated", &message).await;
        };
        let service = self.service(&owner);
        if service.as_ref().is_some_and(|s| cluster_ips(s).contains(&ip)) {
            return Ok(());
        }
        // The service may be about to be written, also where it is there without the address.
        if let Some(rest) = remaining_grace(&address) {
            self.again(Look::Address(ip), rest);
            return Ok(());
        }
        let (reason, message) = if service.is_some() {
            let message = format!("IPAddress: {ip} for Service {owner} has a wrong reference; cleaning up");
            ("IPAddressWrongReference", message)
        } else {
            let message = format!("IPAddress: {ip} for Service {owner} appears to have leaked: cleaning up");
            ("IPAddressNotAllocated", message)
        };
        self.clean_up(&address, revision, reason, &message).await
    }

    async fn clean_up(
        &self,
        address: &Value,
        revision: u64,
        reason: &str,
        message: &str,
    ) -> Result<(), Postponed> {
        tracing::warn!(reason, "{message}");
        self.ips.warning_while(address, reason, ACTION, message).await;
        let key = format!("{}{}", addresses::PREFIX, meta::name(address));
        Ok(self.allocators.remove(&key, revision).await?)
    }
}
