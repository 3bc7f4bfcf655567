//! A resource's objects at one revision: an immutable, shared, ordered map.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use super::object::CachedObject;
use crate::storage::Revision;

/// Keys to objects, in key order.
pub(super) type ObjectMap = OrdMap<Arc<str>, Arc<CachedObject>>;

/// What a resource's cache swaps: its objects and the revision of the last event among them.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) objects: ObjectMap,
    pub(super) revision: Revision,
    /// Of all objects' JSON.
    pub(super) bytes: usize,
}

/// A resource's objects, exact at one revision. Cheap to clone, never changes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    contents: Arc<Contents>,
    revision: Revision,
}

impl Snapshot {
    /// `applied` must have been read before `contents`: then the contents are exact at the larger of the
    /// two revisions, for any event up to `applied` is in them and none between the two exists.
    pub(super) fn new(contents: Arc<Contents>, applied: Revision) -> Self {
        let revision = applied.max(contents.revision);
        Self { contents, revision }
    }

    /// The revision (a list's `resourceVersion`).
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many objects there are, of all namespaces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.objects.is_empty()
    }

    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Arc<CachedObject>> {
        self.contents.objects.get(key)
    }

    /// Objects whose key starts with `prefix` (the resource's, or with a namespace and a slash appended),
    /// in key order, after the key `start_after`.
    pub fn range<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> + Send + use<'a> {
        let from = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.contents
            .objects
            .range::<_, str>((from, Bound::Unbounded))
            .map(|(_, object)| object)
            .take_while(move |object| object.key.starts_with(prefix))
    }

    /// All objects in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<CachedObject>> + Send {
        self.contents.objects.values()
    }
}
