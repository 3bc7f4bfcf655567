//! The events of a resource's recent past, bounded by number, bytes and age.
//!
//! Invariant: it holds every event of the resource after `oldest`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::object::{CacheEvent, EventKind};
use crate::storage::Revision;

/// Events kept whatever their age and size, so that a quiet resource can always be resumed.
const KEEP: usize = 64;

#[derive(Debug)]
struct Record {
    event: Arc<CacheEvent>,
    at: Instant,
    bytes: usize,
}

/// Bounds of a ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    records: VecDeque<Record>,
    bytes: usize,
    oldest: Revision,
}

impl Ring {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, records: VecDeque::new(), bytes: 0, oldest: 0 }
    }

    /// The oldest revision that can be continued from.
    pub(super) fn oldest(&self) -> Revision {
        self.oldest
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many events it may hold.
    pub(super) fn capacity(&self) -> usize {
        self.bounds.events
    }

    /// Forgets everything: events will follow from `oldest`.
    pub(super) fn reset(&mut self, oldest: Revision) {
        self.records = VecDeque::new();
        self.bytes = 0;
        self.oldest = oldest;
    }

    pub(super) fn push(&mut self, event: Arc<CacheEvent>, now: Instant) {
        let bytes = superseded(&event);
        self.bytes += bytes;
        self.records.push_back(Record { event, at: now, bytes });
        while self.is_over(now) {
            let Some(gone) = self.records.pop_front() else { break };
            self.bytes -= gone.bytes;
            self.oldest = gone.event.revision;
        }
    }

    /// Events after `from`, oldest first.
    pub(super) fn after(&self, from: Revision) -> impl Iterator<Item = &Arc<CacheEvent>> {
        let start = self.records.partition_point(|record| record.event.revision <= from);
        self.records.range(start..).map(|record| &record.event)
    }

    fn is_over(&self, now: Instant) -> bool {
        let old = |record: &Record| now.duration_since(record.at) > self.bounds.age;
        self.records.len() > self.bounds.events
            || (self.records.len() > KEEP
                && (self.bytes > self.bounds.bytes || self.records.front().is_some_and(old)))
    }
}

/// Bytes that only the ring keeps alive because of this event: the state it replaced, and the last state
/// of what it deleted. The state it made is in the snapshot, or is some later event's past.
fn superseded(event: &CacheEvent) -> usize {
    let last = if event.kind == EventKind::Deleted { event.object.bytes.len() } else { 0 };
    event.previous.as_ref().map_or(0, |object| object.bytes.len()) + last
}
