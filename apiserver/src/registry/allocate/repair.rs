//! Puts right at start what crashes have left: addresses and ports without a service, services without an address.
//!
//! Where other API servers may be at work, what looks abandoned can be a service about to be written: it is left to
//! [`super::live`], which knows how long it has been so.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use api_types::meta;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::addresses::{self, PREFIX};
use super::ports::Bits;
use super::{Allocators, Held, Owner};
use crate::cache::CachedObject;
use crate::storage::StorageError;

pub(super) const SERVICES: &str = "/registry/services/specs/";
/// Writes under way at once.
const PARALLEL: usize = 64;

/// What the services use.
#[derive(Default)]
struct Used {
    ips: HashMap<Ipv4Addr, Owner>,
    ports: HashSet<u16>,
}

/// A cached object as JSON.
pub(super) fn value(o: &CachedObject) -> Option<Value> {
    let value = serde_json::from_slice(&o.bytes);
    if let Err(e) = &value {
        tracing::warn!(key = %o.key, error = %e, "a stored object cannot be read");
    }
    value.ok()
}

impl Allocators {
    /// Repairs. With `exclusive`, no other API server uses the store, and what is abandoned goes at once. The cache
    /// must be filled.
    pub async fn repair(&self, exclusive: bool) -> Result<(), StorageError> {
        let used = self.used();
        let missing = used.ips.iter().map(|(ip, owner)| self.restore(*ip, owner));
        let mut restored = stream::iter(missing).buffer_unordered(PARALLEL);
        while let Some(outcome) = restored.next().await {
            outcome?;
        }
        drop(restored);
        self.mark(&used, exclusive).await?;
        if exclusive {
            for (ip, revision) in self.abandoned(&used) {
                tracing::info!(%ip, "an address without a service is given back");
                self.remove(&addresses::key(ip), revision).await?;
                // Another service has it.
                if let Some(owner) = used.ips.get(&ip) {
                    self.record(ip, owner).await?;
                }
            }
        }
        Ok(())
    }

    fn used(&self) -> Used {
        let mut used = Used::default();
        let Some(resource) = self.0.cache.resource(SERVICES) else { return used };
        for service in resource.snapshot().iter().filter_map(|o| value(o)) {
            let held = Held::of(&service);
            used.ips.extend(held.ips.into_iter().map(|ip| (ip, Owner::of(&service))));
            used.ports.extend(held.ports);
        }
        used
    }

    /// Makes the IPAddress of a service that has none.
    async fn restore(&self, ip: Ipv4Addr, owner: &Owner) -> Result<(), StorageError> {
        if self.is_known(ip) { Ok(()) } else { self.record(ip, owner).await }
    }

    async fn record(&self, ip: Ipv4Addr, owner: &Owner) -> Result<(), StorageError> {
        match self.0.storage.create(&addresses::key(ip), addresses::object(ip, owner), None).await {
            Ok(_) | Err(StorageError::KeyExists { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Marks the ports in use as taken, and with `exclusive` all others as free.
    async fn mark(&self, used: &Used, exclusive: bool) -> Result<(), StorageError> {
        let mark = |bits: &mut Bits| {
            if exclusive {
                *bits = Bits::default();
            }
            for bit in used.ports.iter().filter_map(|p| self.0.ports.bit(*p)) {
                bits.set(bit, true);
            }
        };
        self.0.ports.change(&*self.0.storage, false, mark).await
    }

    /// IPAddresses whose service is not there or has another address.
    fn abandoned(&self, used: &Used) -> Vec<(Ipv4Addr, u64)> {
        let Some(resource) = self.0.cache.resource(PREFIX) else { return Vec::new() };
        let snapshot = resource.snapshot();
        let abandoned = snapshot.iter().filter_map(|o| {
            let address = value(o)?;
            let owner = addresses::owner(&address)?;
            let ip: Ipv4Addr = meta::name(&address).parse().ok()?;
            (used.ips.get(&ip) != Some(&owner)).then_some((ip, o.revision))
        });
        abandoned.collect()
    }
}
