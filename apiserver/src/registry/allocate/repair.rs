//! Puts right at start what crashes have left: addresses and ports without a service, services without an address.
//!
//! Where other API servers may be at work, what looks abandoned can be a service about to be written; it is removed
//! only if it still has no service after a grace period.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use api_types::meta;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::addresses::{self, PREFIX};
use super::ports::Bits;
use super::{Allocators, Held, Owner};
use crate::cache::CachedObject;
use crate::storage::StorageError;

const SERVICES: &str = "/registry/services/specs/";
/// Longer than a service takes from its address to its being written.
const GRACE: Duration = Duration::from_secs(60);
/// Writes under way at once.
const PARALLEL: usize = 64;

/// What the services use.
#[derive(Default)]
struct Used {
    ips: HashMap<Ipv4Addr, Owner>,
    ports: HashSet<u16>,
}

/// What no service uses.
#[derive(Default)]
struct Leaks {
    /// (address, its key's revision).
    ips: Vec<(Ipv4Addr, u64)>,
    ports: Vec<u16>,
}

fn value(o: &CachedObject) -> Option<Value> {
    let value = serde_json::from_slice(&o.bytes);
    if let Err(e) = &value {
        tracing::warn!(key = %o.key, error = %e, "a stored object cannot be read");
    }
    value.ok()
}

impl Allocators {
    /// Repairs. With `exclusive`, no other API server uses the store, and what is abandoned goes at once; otherwise
    /// after the grace period, unless `stop` is cancelled before. The cache must be filled.
    pub async fn repair(&self, exclusive: bool, stop: CancellationToken) -> Result<(), StorageError> {
        let used = self.used();
        let missing = used.ips.iter().map(|(ip, owner)| self.restore(*ip, owner));
        let mut restored = stream::iter(missing).buffer_unordered(PARALLEL);
        while let Some(outcome) = restored.next().await {
            outcome?;
        }
        drop(restored);
        let leaks = self.mark_and_find(&used, exclusive).await?;
        if leaks.ips.is_empty() && leaks.ports.is_empty() {
            return Ok(());
        }
        if exclusive {
            return self.sweep(leaks).await;
        }
        let allocators = self.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(GRACE) => {
                    if let Err(e) = allocators.sweep(leaks).await {
                        tracing::warn!(error = %e, "abandoned addresses of services cannot be given back");
                    }
                }
                () = stop.cancelled() => {}
            }
        });
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
        if self.is_known(ip) {
            return Ok(());
        }
        match self.0.storage.create(&addresses::key(ip), addresses::object(ip, owner), None).await {
            Ok(_) | Err(StorageError::KeyExists { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Marks the ports in use as taken, and finds what is taken but not in use.
    async fn mark_and_find(&self, used: &Used, exclusive: bool) -> Result<Leaks, StorageError> {
        let mut leaks = Leaks { ips: self.abandoned(used), ports: Vec::new() };
        let all = 0..self.0.ports.size();
        let mark = |bits: &mut Bits| {
            for bit in used.ports.iter().filter_map(|p| self.0.ports.bit(*p)) {
                bits.set(bit, true);
            }
            let taken = all.clone().filter(|b| bits.has(*b)).map(|b| self.0.ports.port(b));
            let leaked: Vec<u16> = taken.filter(|p| !used.ports.contains(p)).collect();
            if exclusive {
                for bit in leaked.iter().filter_map(|p| self.0.ports.bit(*p)) {
                    bits.set(bit, false);
                }
                return Vec::new();
            }
            leaked
        };
        leaks.ports = self.0.ports.change(&*self.0.storage, false, mark).await?;
        Ok(leaks)
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

    /// Gives back what still has no service.
    async fn sweep(&self, leaks: Leaks) -> Result<(), StorageError> {
        let used = self.used();
        for (ip, revision) in leaks.ips {
            if !used.ips.contains_key(&ip) {
                tracing::info!(%ip, "an address without a service is given back");
                self.remove(&addresses::key(ip), revision).await?;
            }
        }
        let ports: Vec<u16> = leaks.ports.into_iter().filter(|p| !used.ports.contains(p)).collect();
        self.0.ports.give_back(&*self.0.storage, &ports).await
    }
}
