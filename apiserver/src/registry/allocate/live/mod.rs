//! Puts right while the server runs what others have broken: an IPAddress that was deleted or changed by hand, one
//! that a crashed server has left, a service that two have the address of. Words and reasons: upstream's
//! `ipallocator/controller/repairip.go` and `portallocator/controller/repair.go`.
//!
//! What wakes it: events of services and IPAddresses in the cache, each of which asks for a look at the few objects
//! that it concerns, and the time when what looks abandoned has had its grace. All is looked at once at start, and
//! again only when the cache was rebuilt. Ports are upstream's without its three-minute loop: a port is looked at when
//! a service comes or goes with it.
//!
//! Invariants: a look is made at snapshots that contain the event that asked for it; what a service just being
//! written has taken is left alone for as long as a request can take; an address is never free while its reference
//! is put right.

mod address;
mod events;
mod index;
mod service;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use api_types::meta;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::addresses::PREFIX;
use super::repair::{SERVICES, value};
use super::{Allocators, Owner};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::storage::StorageError;
use index::{Holders, Unused};

/// Longer than a service takes from its address to its being written.
const GRACE: Duration = Duration::from_secs(60);
/// How long a look waits for the cache to have what its event has told.
const CACHE_TIMEOUT: Duration = Duration::from_secs(3);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Look {
    Service(Owner),
    Address(Ipv4Addr),
}

/// Why a look has come to nothing, for now.
#[derive(Debug, thiserror::Error)]
enum Postponed {
    #[error("the cache is behind")]
    Behind,
    #[error("the store")]
    Storage(#[from] StorageError),
}

struct Repair {
    allocators: Allocators,
    ips: Recorder,
    ports: Recorder,
    holders: Holders,
    unused: Unused,
    ready: BTreeSet<Look>,
    later: BTreeMap<Instant, Vec<Look>>,
    failures: HashMap<Look, u32>,
    /// The revision of the newest event that was seen.
    seen: u64,
}

/// Repairs until `stop`. The cache must be filled.
pub async fn run(registry: Arc<Registry>, stop: CancellationToken) {
    let mut repair = Repair {
        allocators: registry.allocators().clone(),
        ips: Recorder::new(registry.clone(), "ipallocator-repair-controller"),
        ports: Recorder::new(registry, "portallocator-repair-controller"),
        holders: Holders::default(),
        unused: Unused::default(),
        ready: BTreeSet::new(),
        later: BTreeMap::new(),
        failures: HashMap::new(),
        seen: 0,
    };
    stop.run_until_cancelled(repair.follow()).await;
}

impl Repair {
    async fn time_has_come(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.later.first_entry().filter(|e| *e.key() <= now) {
            self.ready.extend(entry.remove());
        }
        let (may_be, left) = self.unused.take(now);
        if may_be.is_empty() && left.is_empty() {
            return;
        }
        if let Err(e) = self.free_ports(&may_be, &left, now).await {
            tracing::warn!(ports = ?left, error = %e, "abandoned node ports cannot be given back");
            may_be.into_iter().chain(left).for_each(|p| self.unused.note(p, now));
        }
    }

    async fn free_ports(&mut self, may_be: &[u16], left: &[u16], now: Instant) -> Result<(), StorageError> {
        let (ports, storage) = (&self.allocators.0.ports, &*self.allocators.0.storage);
        if !left.is_empty() {
            tracing::debug!(ports = ?left, "node ports without a service are free");
            ports.give_back(storage, left).await?;
        }
        if !may_be.is_empty() {
            let taken = ports.taken(storage).await?;
            for port in may_be.iter().filter(|p| taken.contains(p)) {
                self.unused.suspect(*port, now);
            }
        }
        Ok(())
    }

    async fn look(&mut self, look: Look) {
        let outcome = match self.allocators.0.cache.wait_until(self.seen, CACHE_TIMEOUT).await {
            Err(_) => Err(Postponed::Behind),
            Ok(()) => match &look {
                Look::Service(owner) => self.look_at_service(owner).await,
                Look::Address(ip) => self.look_at_address(*ip).await,
            },
        };
        let Err(why) = outcome else {
            self.failures.remove(&look);
            return;
        };
        let failures = self.failures.entry(look.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        let delay = BACKOFF_MIN.saturating_mul(1 << (*failures - 1).min(16)).min(BACKOFF_MAX);
        tracing::warn!(?look, failures, error = %crate::registry::chain(&why), "an allocation cannot be put right");
        self.again(look, delay);
    }

    /// Asks for another look in some time.
    fn again(&mut self, look: Look, delay: Duration) {
        self.later.entry(Instant::now() + delay).or_default().push(look);
    }

    fn service(&self, owner: &Owner) -> Option<Value> {
        let key = format!("{SERVICES}{}/{}", owner.namespace, owner.name);
        value(&*self.allocators.0.cache.resource(SERVICES)?.get(&key)?)
    }

    fn address(&self, ip: Ipv4Addr) -> Option<(Value, u64)> {
        let found = self.allocators.0.cache.resource(PREFIX)?.get(&super::addresses::key(ip))?;
        Some((value(&found)?, found.revision))
    }
}

/// How much longer a request may be about to use what was made for it.
fn remaining_grace(object: &Value) -> Option<Duration> {
    let made: jiff::Timestamp = meta::field(object, "creationTimestamp").parse().ok()?;
    let age = Duration::try_from(jiff::Timestamp::now().duration_since(made)).unwrap_or_default();
    // The time of its creation is given in whole seconds.
    (GRACE + Duration::from_secs(1)).checked_sub(age).filter(|rest| !rest.is_zero())
}
