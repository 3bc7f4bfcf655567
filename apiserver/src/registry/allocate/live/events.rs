//! What has happened, and what that asks to be looked at.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::addresses::PREFIX;
use super::super::repair::{SERVICES, value};
use super::super::{Held, Owner};
use super::index::{Holders, Unused};
use super::{GRACE, Look, Repair};
use crate::cache::{
    CacheEvent, CacheWatcher, CachedObject, EventKind, ResourceCache, WatchEnded, WatchScope,
};

impl Repair {
    /// Follows services and IPAddresses until the cache stops.
    pub(super) async fn follow(&mut self) {
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
}
