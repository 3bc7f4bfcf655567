//! The cache of one resource: its snapshot, the events of its recent past, its watchers.
//!
//! Written by the feed alone, one batch at a time; read by anybody. The lock covers ring and watchers
//! together, so that a watch goes from the past to the present without a gap; readers of the snapshot
//! never take it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::form::StoredForm;
use super::index;
use super::object::{CacheEvent, CachedObject, EventKind};
use super::ring::{Bounds, Ring};
use super::snapshot::{Contents, ObjectMap, Snapshot};
use super::splice;
use super::watcher::{CacheWatcher, WatchEnded, WatchScope, Watchers};
use super::{Gone, ResourceConfig};
use crate::storage::{Entry, Revision, WatchEvent};

/// A stored value that is no object of the resource.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Not a JSON object.
    #[error("the stored value of {key} cannot be read")]
    Json {
        /// Its key.
        key: Arc<str>,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key does not follow the resource's layout.
    #[error("{key} is not a key of this resource")]
    Key {
        /// The key.
        key: Arc<str>,
    },
}

/// Counters of one resource, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceStats {
    /// Objects now.
    pub objects: usize,
    /// What their JSON takes.
    pub bytes: usize,
    /// Events that can be replayed.
    pub history: usize,
    /// Events that could be, were they small and young enough.
    pub capacity: usize,
    /// Watchers now.
    pub watchers: usize,
    /// Events since the start.
    pub events: u64,
    /// Watchers ended because they did not keep up, since the start.
    pub slow_watchers: u64,
    /// Stored values that could not be read, since the start.
    pub unreadable: u64,
    /// How often everything was listed, since the start.
    pub initializations: u64,
}

#[derive(Debug)]
struct Live {
    /// Whether there has been a first list.
    listed: bool,
    ring: Ring,
    watchers: Watchers,
}

/// The cache of one resource.
#[derive(Debug)]
pub struct ResourceCache {
    config: ResourceConfig,
    form: StoredForm,
    buffer: usize,
    applied: Arc<AtomicU64>,
    contents: ArcSwap<Contents>,
    live: Mutex<Live>,
    this: Weak<Self>,
    events: AtomicU64,
    slow: AtomicU64,
    unreadable: AtomicU64,
    initializations: AtomicU64,
}

impl ResourceCache {
    pub(super) fn new(
        config: ResourceConfig,
        bounds: Bounds,
        buffer: usize,
        applied: Arc<AtomicU64>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            form: StoredForm::of(&config.prefix),
            config,
            buffer,
            applied,
            contents: ArcSwap::default(),
            live: Mutex::new(Live { listed: false, ring: Ring::new(bounds), watchers: Watchers::default() }),
            this: this.clone(),
            events: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            initializations: AtomicU64::new(0),
        })
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &ResourceConfig {
        &self.config
    }

    /// The objects now. Its revision is at least the cache's applied revision at the time of the call.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let applied = self.applied.load(Ordering::Acquire);
        Snapshot::new(self.contents.load_full(), applied)
    }

    /// One object now.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<CachedObject>> {
        self.contents.load().objects.get(key).cloned()
    }

    /// Events of `scope` after `from`.
    pub fn watch(&self, scope: WatchScope, from: Revision) -> Result<CacheWatcher, Gone> {
        let mut live = self.live.lock();
        let oldest = live.ring.oldest();
        if from < oldest {
            return Err(Gone { requested: from, oldest });
        }
        let replay: VecDeque<_> =
            live.ring.after(from).filter(|event| scope.matches(event)).cloned().collect();
        let after = replay.back().map_or(from, |event| event.revision);
        let watcher =
            live.watchers.add(scope, after, replay, self.buffer, self.applied.clone(), self.this.clone());
        Ok(watcher)
    }

    /// Counters for metrics.
    #[must_use]
    pub fn stats(&self) -> ResourceStats {
        let live = self.live.lock();
        let contents = self.contents.load();
        ResourceStats {
            objects: contents.objects.len(),
            bytes: contents.bytes,
            history: live.ring.len(),
            capacity: live.ring.capacity(),
            watchers: live.watchers.len(),
            events: self.events.load(Ordering::Relaxed),
            slow_watchers: self.slow.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            initializations: self.initializations.load(Ordering::Relaxed),
        }
    }

    /// An entry of the store (an old revision, say) in the form of the cache.
    pub fn object(&self, entry: &Entry) -> Result<CachedObject, IngestError> {
        self.make(entry.key.clone(), entry.revision, &entry.value)
    }

    fn make(&self, key: Arc<str>, revision: Revision, value: &Bytes) -> Result<CachedObject, IngestError> {
        let scope_start = self.config.prefix.len();
        let name_start = match key.get(scope_start..) {
            Some(rest) if self.config.namespaced => rest.find('/').map(|slash| scope_start + slash + 1),
            Some(_) => Some(scope_start),
            None => None,
        };
        let starts =
            name_start.and_then(|name| Some((u16::try_from(scope_start).ok()?, u16::try_from(name).ok()?)));
        let Some((scope_start, name_start)) = starts else { return Err(IngestError::Key { key }) };
        let unreadable = |source| IngestError::Json { key: key.clone(), source };
        let current = self.form.current(value).map_err(|e| unreadable(e.into()))?;
        let bytes = splice::with_resource_version(&current, revision).map_err(|e| unreadable(e.into()))?;
        let index = index::extract(&bytes, self.config.fields).map_err(|e| unreadable(e.into()))?;
        let parsed = OnceLock::new();
        Ok(CachedObject { key, revision, bytes, index, scope_start, name_start, parsed })
    }

    fn readable(&self, made: Result<CachedObject, IngestError>) -> Option<Arc<CachedObject>> {
        match made {
            Ok(object) => Some(Arc::new(object)),
            Err(error) => {
                self.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "ignoring a stored value");
                None
            }
        }
    }

    /// Applies a batch of the store's events, which must be in order and new.
    pub(super) fn apply(&self, batch: Vec<WatchEvent>) {
        let old = self.contents.load_full();
        let mut objects = old.objects.clone();
        let (mut revision, mut bytes) = (old.revision, old.bytes);
        let mut events = Vec::with_capacity(batch.len());
        for change in batch {
            revision = change.revision;
            if let Some(event) = self.change(&mut objects, change) {
                bytes -= event.previous.as_ref().map_or(0, |object| object.bytes.len());
                bytes += if event.kind == EventKind::Deleted { 0 } else { event.object.bytes.len() };
                events.push(Arc::new(event));
            }
        }
        let now = Instant::now();
        self.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        let mut live = self.live.lock();
        // Before the watchers are told, so that who acts on an event finds its object.
        self.contents.store(Arc::new(Contents { objects, revision, bytes }));
        let mut slow = 0;
        for event in events {
            slow += live.watchers.dispatch(&event);
            live.ring.push(event, now);
        }
        drop(live);
        self.slow.fetch_add(slow as u64, Ordering::Relaxed);
    }

    fn change(&self, objects: &mut ObjectMap, change: WatchEvent) -> Option<CacheEvent> {
        let revision = change.revision;
        let previous = objects.get(&change.key).cloned();
        // All versions of an object share one key.
        let key = previous.as_ref().map_or(change.key, |object| object.key.clone());
        let Some(value) = change.value else {
            let previous = previous?;
            objects.remove(&key);
            let object = self.readable(self.make(key, revision, &previous.bytes))?;
            return Some(CacheEvent { revision, kind: EventKind::Deleted, object, previous: Some(previous) });
        };
        let object = self.readable(self.make(key.clone(), revision, &value))?;
        objects.insert(key, object.clone());
        let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
        Some(CacheEvent { revision, kind, object, previous })
    }

    /// The object of a listed entry; the present one if it has not changed.
    pub(super) fn listed(&self, entry: &Entry) -> Option<Arc<CachedObject>> {
        match self.get(&entry.key) {
            Some(object) if object.revision == entry.revision => Some(object),
            _ => self.readable(self.object(entry)),
        }
    }

    /// Replaces everything by what was listed at `revision`. Watchers that would miss a change are ended.
    pub(super) fn replace(&self, objects: ObjectMap, revision: Revision) {
        self.initializations.fetch_add(1, Ordering::Relaxed);
        let old = self.contents.load_full();
        let same = old.objects.len() == objects.len()
            && old
                .objects
                .values()
                .zip(objects.values())
                .all(|(a, b)| a.key == b.key && a.revision == b.revision);
        let mut live = self.live.lock();
        if live.listed && same && old.revision <= revision {
            return;
        }
        let bytes = objects.values().map(|object| object.bytes.len()).sum();
        self.contents.store(Arc::new(Contents { objects, revision, bytes }));
        live.listed = true;
        live.ring.reset(revision);
        live.watchers.end_all(WatchEnded::Relisted);
    }

    pub(super) fn with_watchers(&self, f: impl FnOnce(&mut Watchers)) {
        f(&mut self.live.lock().watchers);
    }
}
