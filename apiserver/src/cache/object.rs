//! One object as the cache keeps it: the bytes that go out, and a thin index beside them.
//!
//! Invariant: `bytes` is the stored JSON with `metadata.resourceVersion` set to `revision`; it is made
//! once, when the event arrives, and every list and watch shares it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use super::index::ObjectIndex;
use crate::storage::Revision;

/// An object as of one revision. Shared, immutable.
#[derive(Debug)]
pub struct CachedObject {
    /// The storage key.
    pub key: Arc<str>,
    /// The revision of its last write (its `resourceVersion`).
    pub revision: Revision,
    /// Its JSON with `metadata.resourceVersion` in place.
    pub bytes: Bytes,
    /// What selectors and authorizers ask about.
    pub index: ObjectIndex,
    /// Where the part after the resource's prefix starts in `key`.
    pub(super) scope_start: u16,
    /// Where the name starts in `key`.
    pub(super) name_start: u16,
    /// See [`Self::parsed`].
    pub(super) parsed: OnceLock<Box<Value>>,
}

impl CachedObject {
    /// The namespace; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let end = self.name_start.saturating_sub(1).max(self.scope_start);
        &self.key[usize::from(self.scope_start)..usize::from(end)]
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key[usize::from(self.name_start)..]
    }

    /// The object, parsed when it is first asked for and kept as long as this revision of it: for the few objects that
    /// many writes ask for (an account, a class), not for those that pass by once.
    pub fn parsed(&self) -> Result<&Value, serde_json::Error> {
        if let Some(parsed) = self.parsed.get() {
            return Ok(parsed);
        }
        let value = Box::new(serde_json::from_slice(&self.bytes)?);
        Ok(self.parsed.get_or_init(|| value))
    }

    /// The uid; empty if the stored object has none.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.index.uid()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.index.label(key)
    }

    /// All labels, in key order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.index.labels()
    }

    /// The value of a selectable field: `metadata.name`, `metadata.namespace`, or one the resource
    /// declares. `None` for a field that cannot be selected on.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => Some(self.name()),
            "metadata.namespace" => Some(self.namespace()),
            _ => self.index.field(name),
        }
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Added,
    /// It was written again.
    Modified,
    /// It was deleted.
    Deleted,
}

/// One event, shared by all watchers.
///
/// It says what happened to the object, not to a watcher's selection: a watcher with a selector must
/// compare `previous` and `object` to see an object enter (send ADDED) or leave (send DELETED).
#[derive(Debug)]
pub struct CacheEvent {
    /// The revision of the write.
    pub revision: Revision,
    /// What happened.
    pub kind: EventKind,
    /// The object after the write; for `Deleted` its last state with the deletion's revision as
    /// `resourceVersion`.
    pub object: Arc<CachedObject>,
    /// The object before the write, except for `Added`.
    pub previous: Option<Arc<CachedObject>>,
}
