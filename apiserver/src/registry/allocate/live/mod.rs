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
use super::{Allocators, Held, Owner};
use crate::cache::{
    CacheEvent, CacheWatcher, CachedObject, EventKind, ResourceCache, WatchEnded, WatchScope,
};
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
    async fn follow(&mut self) {
        let cache = self.allocators.0.cache.clone();
        let (Some(services), Some(addresses)) = (cache.resource(SERVICES), cache.resource(PREFIX)) else {
            return;
        };
        loop {
            let Some(mut watchers) = self.begin(services, addresses).await else {
                tokio::task::yield_now().await;
                continue;
            };
            match self.work(&mut watchers).await {
                WatchEnded::Stopped => return,
                WatchEnded::TooSlow | WatchEnded::Relisted => {}
            }
        }
    }

    /// Watches both kinds, and asks for a look at everything there is. `None` when the cache has moved on meanwhile.
    async fn begin(
        &mut self,
        services: &ResourceCache,
        addresses: &ResourceCache,
    ) -> Option<(CacheWatcher, CacheWatcher)> {
        let (all_services, all_addresses) = (services.snapshot(), addresses.snapshot());
        let watch = |cache: &ResourceCache, from| cache.watch(WatchScope::default(), from).ok();
        let watchers =
            (watch(services, all_services.revision())?, watch(addresses, all_addresses.revision())?);
        // Events may have been missed.
        (self.holders, self.unused) = (Holders::default(), Unused::default());
        for o in all_services.iter() {
            let Some(service) = value(o) else { continue };
            let (owner, held) = (Owner::of(&service), Held::of(&service));
            if !held.is_empty() {
                self.holders.change(&owner, &Held::default(), &held);
                self.ready.insert(Look::Service(owner));
            }
        }
        let ips = all_addresses.iter().filter_map(|o| o.name().parse().ok());
        self.ready.extend(ips.map(Look::Address));
        match self.allocators.0.ports.taken(&*self.allocators.0.storage).await {
            Ok(taken) => {
                let now = Instant::now();
                for port in taken.into_iter().filter(|p| self.holders.first_of_port(*p).is_none()) {
                    self.unused.suspect(port, now);
                }
            }
            Err(e) => tracing::warn!(error = %e, "abandoned node ports are not looked for"),
        }
        Some(watchers)
    }

    async fn work(&mut self, (services, addresses): &mut (CacheWatcher, CacheWatcher)) -> WatchEnded {
        loop {
            // Events first: they are what a watcher must not be late with.
            let told = match (services.try_next(), addresses.try_next()) {
                (Err(ended), _) | (_, Err(ended)) => return ended,
                (Ok(service), Ok(address)) => (service, address),
            };
            let more = told.0.is_some() || told.1.is_some();
            if let Some(event) = told.0 {
                self.service_changed(&event);
            }
            if let Some(event) = told.1 {
                self.address_changed(&event);
            }
            if more {
                continue;
            }
            if let Some(look) = self.ready.pop_first() {
                self.look(look).await;
                tokio::task::yield_now().await;
                continue;
            }
            let due = [self.later.keys().next().copied(), self.unused.due()].into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = services.next() => match event {
                    Ok(event) => self.service_changed(&event),
                    Err(ended) => return ended,
                },
                event = addresses.next() => match event {
                    Ok(event) => self.address_changed(&event),
                    Err(ended) => return ended,
                },
                () = timer => self.time_has_come().await,
            }
        }
    }

    fn service_changed(&mut self, event: &CacheEvent) {
        self.seen = self.seen.max(event.revision);
        let held = |o: Option<&Arc<CachedObject>>| {
            o.and_then(|o| value(o)).map(|s| Held::of(&s)).unwrap_or_default()
        };
        let there = event.kind != EventKind::Deleted;
        let before = held(event.previous.as_ref());
        let after = held(there.then_some(&event.object));
        let owner =
            Owner { namespace: event.object.namespace().to_owned(), name: event.object.name().to_owned() };
        self.holders.change(&owner, &before, &after);
        for ip in before.ips.iter().filter(|ip| !after.ips.contains(ip)) {
            // Who writes the service gives its address back next.
            self.again(Look::Address(*ip), GRACE);
        }
        let now = Instant::now();
        for port in before.ports.iter().chain(&after.ports) {
            self.unused.used(*port);
            if self.holders.first_of_port(*port).is_none() {
                self.unused.note(*port, now);
            }
        }
        if !after.is_empty() {
            self.ready.insert(Look::Service(owner));
        }
    }

    fn address_changed(&mut self, event: &CacheEvent) {
        self.seen = self.seen.max(event.revision);
        let Ok(ip) = event.object.name().parse() else { return };
        self.ready.insert(Look::Address(ip));
        // Whoever has it depends on it.
        self.ready.extend(self.holders.of_ip(ip).into_iter().map(Look::Service));
    }

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
