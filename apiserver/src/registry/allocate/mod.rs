//! Gives out cluster IPs and node ports, so that no two services ever have the same, also with several API servers
//! on one store.
//!
//! A cluster IP is taken by creating the IPAddress of its name: whose create succeeds has it ([`addresses`]). Node
//! ports are bits of one stored object that is swapped by its revision ([`ports`]). Both are taken before the service
//! is written and given back when that fails, when the service goes, or when it no longer uses them. What a crash
//! leaves behind is put right at start ([`repair`]), and what goes wrong later as it is seen ([`live`]).

mod addresses;
pub mod live;
mod node_ports;
mod ports;
mod repair;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::field::{ErrorList, Path};
use api_types::meta::{self, str_at};
use api_types::status::Status;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::storage_status;
use crate::cache::Cache;
use crate::storage::{Storage, StorageError};
use addresses::AddressError;
use ports::Ports;

/// Ranges to give out from.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// First address of the service network.
    pub network: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// First node port.
    pub first_port: u16,
    /// Last node port.
    pub last_port: u16,
}

/// The allocators of one API server.
#[derive(Clone)]
pub struct Allocators(Arc<Inner>);

struct Inner {
    ranges: Ranges,
    storage: Arc<dyn Storage>,
    cache: Arc<Cache>,
    ports: Ports,
    /// Where what an abandoned request has taken is given back.
    tasks: TaskTracker,
}

/// The service that something is taken for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Owner {
    namespace: String,
    name: String,
}

impl Owner {
    fn of(service: &Value) -> Self {
        Self { namespace: meta::namespace(service).to_owned(), name: meta::name(service).to_owned() }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Clone, Debug, Default)]
struct Held {
    ips: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Held {
    fn of(service: &Value) -> Self {
        Self { ips: cluster_ips(service), ports: node_ports(service) }
    }

    fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.ports.is_empty()
    }
}

/// What was taken for a write. Dropped without [`Claim::keep`] it is given back, in the background.
pub struct Claim {
    allocators: Allocators,
    owner: Owner,
    taken: Held,
    /// Given back when the write succeeds: what the object no longer uses.
    release: Held,
}

impl Claim {
    /// The write has happened.
    pub async fn keep(mut self) {
        self.taken = Held::default();
        let release = std::mem::take(&mut self.release);
        self.allocators.free(&self.owner, release).await;
    }

    /// Nobody knows whether the write has happened: what it has not used is found later.
    pub fn forget(mut self) {
        self.taken = Held::default();
    }

    /// The write has not happened.
    pub async fn undo(mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.allocators.free(&self.owner, taken).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if !taken.is_empty() {
            let (allocators, owner) = (self.allocators.clone(), std::mem::take(&mut self.owner));
            self.allocators.0.tasks.spawn(async move { allocators.free(&owner, taken).await });
        }
    }
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "services"
}

fn node_ports(service: &Value) -> Vec<u16> {
    let ports = meta::at(service, &["spec", "ports"]).and_then(Value::as_array);
    let all = ports.into_iter().flatten().filter_map(|p| p.get("nodePort")?.as_u64());
    let mut all: Vec<u16> = all
        .chain(meta::at(service, &["spec", "healthCheckNodePort"]).and_then(Value::as_u64))
        .filter_map(|n| u16::try_from(n).ok())
        .filter(|n| *n != 0)
        .collect();
    // One number may serve two protocols.
    all.sort_unstable();
    all.dedup();
    all
}

fn cluster_ips(service: &Value) -> Vec<Ipv4Addr> {
    str_at(service, &["spec", "clusterIP"]).parse().into_iter().collect()
}

fn unavailable(error: StorageError) -> Status {
    match api_types::catalog::by_kind("", "v1", "Service") {
        Some(services) => storage_status(services, "", error),
        None => Status::internal(error),
    }
}

impl Allocators {
    /// Allocators over `ranges`. `cache` must follow IPAddresses, ServiceCIDRs and Services.
    pub fn new(ranges: Ranges, storage: Arc<dyn Storage>, cache: Arc<Cache>, tasks: TaskTracker) -> Self {
        let ports = Ports::new(ranges.first_port, ranges.last_port);
        Self(Arc::new(Inner { ranges, storage, cache, ports, tasks }))
    }

    /// The first address of the service network, which the service `kubernetes` has.
    pub fn first_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0.ranges.network.to_bits() + 1)
    }

    /// The service network as a CIDR.
    pub fn network(&self) -> String {
        format!("{}/{}", self.0.ranges.network, self.0.ranges.prefix)
    }

    fn claim(&self, owner: Owner) -> Claim {
        Claim { allocators: self.clone(), owner, taken: Held::default(), release: Held::default() }
    }

    /// Gives a new service its address and ports. A dry run is told what it could have and takes nothing.
    pub async fn on_create(&self, kind: &Kind, object: &mut Value, dry_run: bool) -> Result<Claim, Status> {
        if !is_service(kind) {
            return Ok(self.claim(Owner::default()));
        }
        self.assign(kind, object, None, dry_run).await
    }

    /// Gives a changed service what it newly needs, and takes back what it no longer uses once it is written.
    pub async fn on_update(
        &self,
        kind: &Kind,
        new: &mut Value,
        old: &Value,
        dry_run: bool,
    ) -> Result<Claim, Status> {
        if !is_service(kind) {
            return Ok(self.claim(Owner::default()));
        }
        let mut claim = self.assign(kind, new, Some(old), dry_run).await?;
        let (now, before) = (Held::of(new), Held::of(old));
        claim.release = Held {
            ips: before.ips.into_iter().filter(|i| !now.ips.contains(i)).collect(),
            ports: before.ports.into_iter().filter(|p| !now.ports.contains(p)).collect(),
        };
        Ok(claim)
    }

    /// Takes back what a deleted service used.
    pub async fn on_delete(&self, kind: &Kind, old: &Value) {
        if is_service(kind) {
            self.free(&Owner::of(old), Held::of(old)).await;
        }
    }

    /// What cannot be given back now is found later.
    async fn free(&self, owner: &Owner, held: Held) {
        for ip in held.ips {
            if let Err(e) = self.unlock(ip, owner).await {
                tracing::warn!(%ip, error = %e, "an address of a service cannot be given back");
            }
        }
        if let Err(e) = self.0.ports.give_back(&*self.0.storage, &held.ports).await {
            tracing::warn!(ports = ?held.ports, error = %e, "node ports of a service cannot be given back");
        }
    }

    async fn assign(
        &self,
        kind: &Kind,
        new: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Claim, Status> {
        let mut claim = self.claim(Owner::of(new));
        let service_type = str_at(new, &["spec", "type"]).to_owned();
        if service_type == "ExternalName" {
            if let Some(Value::Object(spec)) = new.get_mut("spec") {
                for f in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
                    spec.remove(f);
                }
            }
            return Ok(claim);
        }
        let mut errors = ErrorList::new();
        let mut outcome =
            self.assign_ip(new, old, dry_run, &mut claim, &mut errors).await.map_err(unavailable);
        if outcome.is_ok() && (service_type == "NodePort" || service_type == "LoadBalancer") {
            outcome = self.assign_ports(new, old, dry_run, &mut claim, &mut errors).await;
        }
        match outcome {
            Ok(()) if errors.is_empty() => Ok(claim),
            Ok(()) => {
                claim.undo().await;
                Err(Status::invalid(kind.group, kind.kind, meta::name(new), &errors))
            }
            Err(e) => {
                claim.undo().await;
                Err(e)
            }
        }
    }

    async fn assign_ip(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        claim: &mut Claim,
        errors: &mut ErrorList,
    ) -> Result<(), StorageError> {
        let asked = str_at(new, &["spec", "clusterIP"]).to_owned();
        let first_of_list =
            meta::at(new, &["spec", "clusterIPs"]).and_then(|l| l.get(0)).and_then(Value::as_str);
        let asked = if asked.is_empty() { first_of_list.unwrap_or("").to_owned() } else { asked };
        let path = Path::new("spec").child("clusterIPs");
        let had = old.map(cluster_ips).unwrap_or_default();
        let ip = match (asked.as_str(), asked.parse::<Ipv4Addr>()) {
            ("None", _) => asked,
            ("", _) => match self.lock_any(&claim.owner, dry_run).await? {
                Some(ip) => {
                    if !dry_run {
                        claim.taken.ips.push(ip);
                    }
                    ip.to_string()
                }
                None => {
                    errors.invalid(&path, json!([]), "failed to allocate a serviceIP: range is full");
                    return Ok(());
                }
            },
            (_, Ok(ip)) if had.contains(&ip) => asked,
            (_, Ok(ip)) => match self.lock(ip, &claim.owner, dry_run).await {
                Ok(ours) => {
                    if ours && !dry_run {
                        claim.taken.ips.push(ip);
                    }
                    asked
                }
                Err(AddressError::Storage(e)) => return Err(e),
                Err(refusal) => {
                    let text = format!("failed to allocate IP {ip}: {refusal}");
                    errors.invalid(&path, json!([asked]), text);
                    return Ok(());
                }
            },
            (_, Err(_)) => {
                let text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.invalid(&path.index(0), asked.as_str(), text);
                return Ok(());
            }
        };
        if let Some(Value::Object(spec)) = new.get_mut("spec") {
            spec.insert("clusterIP".into(), ip.clone().into());
            spec.insert("clusterIPs".into(), json!([ip]));
            meta::default_to(spec, "ipFamilyPolicy", "SingleStack");
            meta::default_to(spec, "ipFamilies", json!(["IPv4"]));
        }
        Ok(())
    }
}
