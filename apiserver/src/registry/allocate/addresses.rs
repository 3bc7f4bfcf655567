//! Cluster IPs: each is an IPAddress whose name is the address. To create it is to take it.

use std::net::{IpAddr, Ipv4Addr};

use api_types::kinds::addresses::{Cidr, parse_cidr};
use api_types::meta::{self, str_at};
use api_types::schema::zero::Written;
use bytes::Bytes;
use rand::RngExt;
use serde_json::{Value, json};

use super::{Allocators, Owner};
use crate::cache::CacheError;
use crate::storage::StorageError;

pub(super) const PREFIX: &str = "/registry/ipaddresses/";
const CIDRS: &str = "/registry/servicecidrs/";
/// Labels of the objects that allocators make.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
const FAMILY: (&str, &str) = ("ipaddress.kubernetes.io/ip-family", "IPv4");
/// How many addresses of a range are looked at: as many as upstream gives out of one.
const MAX_BITS: u32 = 20;

/// Why an address that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("the provided network does not match the current range")]
    OutOfRange,
    #[error("provided IP is already allocated")]
    Allocated,
    #[error("the store")]
    Storage(#[source] StorageError),
}

/// The IPAddress that says whose an address is.
pub(super) fn object(ip: Ipv4Addr, owner: &Owner) -> Bytes {
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip.to_string(), "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": meta::now(),
            "labels": {FAMILY.0: FAMILY.1, MANAGED_BY.0: MANAGED_BY.1}},
        "spec": {"parentRef": parent(owner)}});
    Written(&object).to_bytes().into()
}

/// Whether an allocator has made it.
pub(super) fn is_managed(address: &Value) -> bool {
    str_at(address, &["metadata", "labels", MANAGED_BY.0]) == MANAGED_BY.1
}

/// Whether it has the labels that allocators give.
pub(super) fn has_labels(address: &Value) -> bool {
    is_managed(address) && str_at(address, &["metadata", "labels", FAMILY.0]) == FAMILY.1
}

/// The service that an IPAddress refers to.
pub(super) fn service_of(address: &Value) -> Option<Owner> {
    let parent = meta::at(address, &["spec", "parentRef"])?;
    let of_service = str_at(parent, &["group"]).is_empty() && str_at(parent, &["resource"]) == "services";
    of_service.then(|| Owner {
        namespace: str_at(parent, &["namespace"]).to_owned(),
        name: str_at(parent, &["name"]).to_owned(),
    })
}

/// The service that an IPAddress is of, where an allocator made it for one.
pub(super) fn owner(address: &Value) -> Option<Owner> {
    service_of(address).filter(|_| is_managed(address))
}

/// Makes an IPAddress that of a service, as allocators do.
pub(super) fn give(address: &mut Value, owner: &Owner) {
    let labels = meta::metadata_mut(address).entry("labels").or_insert_with(|| json!({}));
    for (key, label) in [FAMILY, MANAGED_BY] {
        labels[key] = label.into();
    }
    address["spec"]["parentRef"] = parent(owner);
}

fn parent(owner: &Owner) -> Value {
    json!({"resource": "services", "namespace": owner.namespace, "name": owner.name})
}

pub(super) fn key(ip: Ipv4Addr) -> String {
    format!("{PREFIX}{ip}")
}

/// Whether a ServiceCIDR may be given out from. Without a word from its controller it may.
fn is_ready(cidr: &Value) -> bool {
    let conditions = meta::at(cidr, &["status", "conditions"]).and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|c| str_at(c, &["type"]) == "Ready");
    !meta::is_deleting(cidr) && ready.is_none_or(|c| str_at(c, &["status"]) == "True")
}

impl Allocators {
    /// The ranges of all ServiceCIDRs, or of those that may be given out from. One range may be in several, and is
    /// given out from as long as one of them is ready.
    pub(super) fn ranges(&self, ready: bool) -> Vec<Cidr> {
        let mut all = Vec::new();
        let Some(resource) = self.0.cache.resource(CIDRS) else { return all };
        for o in resource.snapshot().iter() {
            let Ok(cidr) = serde_json::from_slice::<Value>(&o.bytes) else { continue };
            if ready && !is_ready(&cidr) {
                continue;
            }
            let texts = meta::at(&cidr, &["spec", "cidrs"]).and_then(Value::as_array);
            let ranges = texts.into_iter().flatten().filter_map(|t| parse_cidr(t.as_str()?));
            for range in ranges.filter(|c| c.ip.is_ipv4()) {
                if !all.contains(&range) {
                    all.push(range);
                }
            }
        }
        all
    }

    /// Whether somebody has an address, as far as the cache knows.
    pub(super) fn is_known(&self, ip: Ipv4Addr) -> bool {
        self.0.cache.resource(PREFIX).is_some_and(|r| r.get(&key(ip)).is_some())
    }

    /// Takes an address that was asked for; whether it is newly taken. The service `kubernetes`, which every API
    /// server puts in place, may find its own address taken by another server for the same purpose.
    pub(super) async fn lock(
        &self,
        ip: Ipv4Addr,
        for_whom: &Owner,
        dry_run: bool,
    ) -> Result<bool, AddressError> {
        let is_served = || self.ranges(true).iter().any(|r| r.serves(IpAddr::V4(ip)));
        if !is_served() {
            // What a refusal rests on must not be old.
            self.freshen().await.map_err(AddressError::Storage)?;
            if !is_served() {
                return Err(AddressError::OutOfRange);
            }
        }
        if dry_run {
            let there = self.0.storage.get(&key(ip)).await.map_err(AddressError::Storage)?;
            return if there.is_some() { Err(AddressError::Allocated) } else { Ok(true) };
        }
        match self.0.storage.create(&key(ip), object(ip, for_whom), None).await {
            Ok(_) => Ok(true),
            Err(StorageError::KeyExists { .. }) => {
                let shared = for_whom.namespace == "default" && for_whom.name == "kubernetes";
                if shared && self.holder(ip).await?.as_ref() == Some(for_whom) {
                    return Ok(false);
                }
                Err(AddressError::Allocated)
            }
            Err(e) => Err(AddressError::Storage(e)),
        }
    }

    async fn holder(&self, ip: Ipv4Addr) -> Result<Option<Owner>, AddressError> {
        let entry = self.0.storage.get(&key(ip)).await.map_err(AddressError::Storage)?;
        Ok(entry.and_then(|e| owner(&serde_json::from_slice(&e.value).ok()?)))
    }

    /// Takes any free address; `None` when there is none. The lower part of a range is left to those who ask for an
    /// address by name, as upstream does.
    pub(super) async fn lock_any(
        &self,
        for_whom: &Owner,
        dry_run: bool,
    ) -> Result<Option<Ipv4Addr>, StorageError> {
        let ranges = self.ranges(true);
        if let Some(ip) = self.lock_any_of(&ranges, for_whom, dry_run).await? {
            return Ok(Some(ip));
        }
        // What a refusal rests on must not be old: a range may have been added, or an address given back.
        self.freshen().await?;
        self.lock_any_of(&self.ranges(true), for_whom, dry_run).await
    }

    /// Waits until the cache has everything that was acknowledged before.
    async fn freshen(&self) -> Result<(), StorageError> {
        match self.0.cache.read_consistent().await {
            // One that is behind is as good as it gets.
            Ok(_) | Err(CacheError::Behind { .. }) => Ok(()),
            Err(CacheError::Storage(e)) => Err(e),
        }
    }

    async fn lock_any_of(
        &self,
        ranges: &[Cidr],
        for_whom: &Owner,
        dry_run: bool,
    ) -> Result<Option<Ipv4Addr>, StorageError> {
        for range in ranges {
            let IpAddr::V4(network) = range.network() else { continue };
            let size = 1u32 << (32 - u32::from(range.prefix)).min(MAX_BITS);
            let reserved = (size / 16).clamp(16.min(size / 2), 256);
            let start = rand::rng().random_range(0..size);
            let upper = |i: u32| reserved + (start + i) % (size - reserved);
            // The last address of the range is its broadcast address; the first one is the network's.
            let usable = |offset: &u32| *offset > 0 && *offset < size - 1;
            for offset in (0..size - reserved).map(upper).chain(1..reserved).filter(usable) {
                let ip = Ipv4Addr::from_bits(network.to_bits() + offset);
                if self.is_known(ip) {
                    continue;
                }
                if dry_run {
                    return Ok(Some(ip));
                }
                match self.0.storage.create(&key(ip), object(ip, for_whom), None).await {
                    Ok(_) => return Ok(Some(ip)),
                    // Taken a moment ago: the cache does not know yet.
                    Err(StorageError::KeyExists { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(None)
    }

    /// Gives an address back, if it is still this service's.
    pub(super) async fn unlock(&self, ip: Ipv4Addr, of_whom: &Owner) -> Result<(), StorageError> {
        let Some(entry) = self.0.storage.get(&key(ip)).await? else { return Ok(()) };
        let there: Option<Value> = serde_json::from_slice(&entry.value).ok();
        if there.as_ref().and_then(owner).as_ref() != Some(of_whom) {
            return Ok(());
        }
        self.remove(&key(ip), entry.revision).await
    }

    /// Removes an IPAddress as it was seen; somebody else's change or removal is fine.
    pub(super) async fn remove(&self, key: &str, revision: u64) -> Result<(), StorageError> {
        match self.0.storage.delete(key, revision).await {
            Ok(_) | Err(StorageError::NotFound { .. } | StorageError::Conflict { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}
