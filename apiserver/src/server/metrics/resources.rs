//! What is counted of each kind: how its lists are served, how long reads wait for the cache, what watchers are sent.
//!
//! Counters of a kind are made when they are first needed, and found without a lock.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api_types::catalog::{self, Kind};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::{self, Histogram};
use super::labels;

type Count = Counter<u64, AtomicU64>;
type Key = (&'static str, &'static str, &'static str);

#[derive(Default)]
struct Families {
    cache_lists: Family<labels::Indexed, Count>,
    cache_fetched: Family<labels::Indexed, Count>,
    cache_returned: Family<labels::Resource, Count>,
    store_lists: Family<labels::Resource, Count>,
    store_fetched: Family<labels::Resource, Count>,
    store_evaluated: Family<labels::Resource, Count>,
    store_returned: Family<labels::Resource, Count>,
    consistent: Family<labels::ConsistentRead, Count>,
    events: Family<labels::Versioned, Count>,
}

/// The counters of all kinds.
pub struct Resources {
    families: Families,
    waits: Family<labels::Resource, Histogram, fn() -> Histogram>,
    event_sizes: Family<labels::Versioned, Histogram, fn() -> Histogram>,
    kinds: HashMap<Key, OneKind>,
}

#[derive(Default)]
struct OneKind {
    cache: OnceLock<[Count; 3]>,
    store: OnceLock<[Count; 4]>,
    reads: OnceLock<(Count, Count, Histogram)>,
    watch: OnceLock<WatchEvents>,
}

/// The counters of what a kind's watchers are sent.
#[derive(Clone, Debug)]
pub struct WatchEvents {
    events: Count,
    sizes: Histogram,
}

impl WatchEvents {
    /// Counts an event.
    pub fn sent(&self, bytes: usize) {
        self.events.inc();
        self.sizes.size(bytes as u64);
    }
}

fn key(kind: &Kind) -> Key {
    (kind.group, kind.version, kind.plural)
}

impl Resources {
    /// With its families in the registry.
    pub fn register(r: &mut Registry) -> Self {
        let m = Self {
            families: Families::default(),
            waits: Family::new_with_constructor(|| Histogram::of_durations(histogram::READ_WAIT)),
            event_sizes: Family::new_with_constructor(|| Histogram::of_sizes(histogram::EVENT_SIZE)),
            kinds: catalog::all().iter().map(|kind| (key(kind), OneKind::default())).collect(),
        };
        let f = &m.families;
        r.register(
            "apiserver_cache_list",
            "[ALPHA] Number of LIST requests served from watch cache",
            f.cache_lists.clone(),
        );
        r.register(
            "apiserver_cache_list_fetched_objects",
            "[ALPHA] Number of objects read from watch cache in the course of serving a LIST request",
            f.cache_fetched.clone(),
        );
        r.register(
            "apiserver_cache_list_returned_objects",
            "[ALPHA] Number of objects returned for a LIST request from watch cache",
            f.cache_returned.clone(),
        );
        r.register(
            "apiserver_storage_list",
            "[ALPHA] Number of LIST requests served from storage",
            f.store_lists.clone(),
        );
        r.register(
            "apiserver_storage_list_fetched_objects",
            "[ALPHA] Number of objects read from storage in the course of serving a LIST request",
            f.store_fetched.clone(),
        );
        r.register(
            "apiserver_storage_list_evaluated_objects",
            "[ALPHA] Number of objects tested in the course of serving a LIST request from storage",
            f.store_evaluated.clone(),
        );
        r.register(
            "apiserver_storage_list_returned_objects",
            "[ALPHA] Number of objects returned for a LIST request from storage",
            f.store_returned.clone(),
        );
        r.register(
            "apiserver_watch_cache_consistent_read",
            "[ALPHA] Counter for consistent reads from cache",
            f.consistent.clone(),
        );
        r.register(
            "apiserver_watch_cache_read_wait_seconds",
            "[ALPHA] Histogram of time spent waiting for a watch cache to become fresh",
            m.waits.clone(),
        );
        r.register(
            "apiserver_watch_events",
            "[ALPHA] Number of events sent in watch clients",
            f.events.clone(),
        );
        r.register(
            "apiserver_watch_events_sizes",
            "[ALPHA] Watch event size distribution in bytes",
            m.event_sizes.clone(),
        );
        m
    }

    /// A list was served by what the cache holds.
    pub fn listed_from_cache(&self, kind: &Kind, fetched: usize, returned: usize) {
        let Some(of) = self.kinds.get(&key(kind)) else { return };
        let [lists, all, given] = of.cache.get_or_init(|| {
            let resource = labels::Resource::of(kind);
            let indexed = resource.by_index("");
            [
                self.families.cache_lists.get_or_create(&indexed).clone(),
                self.families.cache_fetched.get_or_create(&indexed).clone(),
                self.families.cache_returned.get_or_create(&resource).clone(),
            ]
        });
        lists.inc();
        all.inc_by(fetched as u64);
        given.inc_by(returned as u64);
    }

    /// A list was served by the store.
    pub fn listed_from_store(&self, kind: &Kind, fetched: usize, returned: usize) {
        let Some(of) = self.kinds.get(&key(kind)) else { return };
        let [lists, all, tested, given] = of.store.get_or_init(|| {
            let resource = labels::Resource::of(kind);
            let f = &self.families;
            [&f.store_lists, &f.store_fetched, &f.store_evaluated, &f.store_returned]
                .map(|family| family.get_or_create(&resource).clone())
        });
        lists.inc();
        all.inc_by(fetched as u64);
        tested.inc_by(fetched as u64);
        given.inc_by(returned as u64);
    }

    /// A read has waited until the cache was as fresh as everything acknowledged before, or has given up.
    pub fn waited(&self, kind: &Kind, took: Duration, succeeded: bool) {
        let Some(of) = self.kinds.get(&key(kind)) else { return };
        let (good, bad, waits) = of.reads.get_or_init(|| {
            let resource = labels::Resource::of(kind);
            let consistent =
                |success| self.families.consistent.get_or_create(&resource.consistent_read(success)).clone();
            (consistent("true"), consistent("false"), self.waits.get_or_create(&resource).clone())
        });
        if succeeded { good } else { bad }.inc();
        waits.took(took);
    }

    /// The counters of what watchers are sent.
    pub fn watch_events(&self, kind: &Kind) -> Option<WatchEvents> {
        let of = self.kinds.get(&key(kind))?;
        let counters = of.watch.get_or_init(|| {
            let versioned = labels::Versioned::of(kind);
            WatchEvents {
                events: self.families.events.get_or_create(&versioned).clone(),
                sizes: self.event_sizes.get_or_create(&versioned).clone(),
            }
        });
        Some(counters.clone())
    }
}
