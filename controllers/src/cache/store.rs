//! The indexed set of trimmed objects of one kind.
//!
//! Every object can be found by namespace and by the uid of its managing controller; a kind may add indexes.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use parking_lot::RwLock;

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Key of an object in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }

    /// Key of `object`.
    pub fn of<T: Object>(object: &T) -> Self {
        ObjectKey::new(object.namespace(), object.name())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            out.write_str(&self.name)
        } else {
            write!(out, "{}/{}", self.namespace, self.name)
        }
    }
}

/// By what an object can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Index {
    /// Namespace it lives in.
    Namespace,
    /// Uid of its managing controller.
    Controller,
    /// Node it is bound to.
    Node,
    /// `namespace/name` of the service it belongs to.
    Service,
    /// `namespace/name` of the service account it belongs to.
    ServiceAccount,
}

/// An object a store can hold.
pub trait Object: Send + Sync + 'static {
    /// Namespace, empty when cluster-scoped.
    fn namespace(&self) -> &str;
    /// Name.
    fn name(&self) -> &str;
    /// Uid.
    fn uid(&self) -> &str;
    /// Resource version.
    fn resource_version(&self) -> &str;
    /// Uid of the managing controller.
    fn controller_uid(&self) -> Option<&str>;
    /// Drops what nobody needs, once, before the object is stored.
    fn trim(&mut self) {}
    /// Values of the indexes beyond namespace and controller.
    fn index(&self, _add: &mut dyn FnMut(Index, &str)) {}
}

/// What happened to an object.
#[derive(Debug)]
pub enum Change<T> {
    /// It was not known before.
    Added(Arc<T>),
    /// It was known with another resource version.
    Updated {
        /// As it was known.
        old: Arc<T>,
        /// As it is.
        new: Arc<T>,
    },
    /// It is gone; the last known state.
    Deleted(Arc<T>),
}

impl<T> Change<T> {
    /// The newest state there is of the object.
    pub fn object(&self) -> &Arc<T> {
        match self {
            Change::Added(object) | Change::Deleted(object) | Change::Updated { new: object, .. } => object,
        }
    }
}

type IndexMap = HashMap<Box<str>, HashSet<ObjectKey>>;

struct Inner<T> {
    objects: HashMap<ObjectKey, Arc<T>>,
    indexes: HashMap<Index, IndexMap>,
}

/// The objects of one kind.
pub struct Store<T> {
    inner: RwLock<Inner<T>>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Store { inner: RwLock::new(Inner { objects: HashMap::new(), indexes: HashMap::new() }) }
    }
}

impl<T: Object> Store<T> {
    /// The object of that key.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.inner.read().objects.get(key).cloned()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.inner.read().objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects; for kinds of which there are few, and for start-up.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.inner.read().objects.values().cloned().collect()
    }

    /// The objects filed under `value` in `index`.
    pub fn by(&self, index: Index, value: &str) -> Vec<Arc<T>> {
        let inner = self.inner.read();
        let Some(keys) = inner.indexes.get(&index).and_then(|map| map.get(value)) else { return Vec::new() };
        keys.iter().filter_map(|key| inner.objects.get(key).cloned()).collect()
    }

    /// Stores the object; `None` when that resource version is already there.
    pub fn apply(&self, object: T) -> Option<Change<T>> {
        let key = ObjectKey::of(&object);
        let new = Arc::new(object);
        let mut inner = self.inner.write();
        match inner.objects.insert(key.clone(), new.clone()) {
            None => {
                inner.file(&key, &new);
                Some(Change::Added(new))
            }
            Some(old) => {
                inner.unfile(&key, &old);
                inner.file(&key, &new);
                let same = old.resource_version() == new.resource_version() && old.uid() == new.uid();
                (!same).then_some(Change::Updated { old, new })
            }
        }
    }

    /// Removes the object.
    pub fn remove(&self, key: &ObjectKey) -> Option<Change<T>> {
        let mut inner = self.inner.write();
        let old = inner.objects.remove(key)?;
        inner.unfile(key, &old);
        Some(Change::Deleted(old))
    }

    /// Makes the store hold exactly `objects`; the changes that takes.
    pub fn replace(&self, objects: Vec<T>) -> Vec<Change<T>> {
        let wanted: HashSet<ObjectKey> = objects.iter().map(ObjectKey::of).collect();
        let gone: Vec<ObjectKey> =
            self.inner.read().objects.keys().filter(|key| !wanted.contains(*key)).cloned().collect();
        let mut changes: Vec<Change<T>> = gone.iter().filter_map(|key| self.remove(key)).collect();
        changes.extend(objects.into_iter().filter_map(|object| self.apply(object)));
        changes
    }
}

impl<T: Object> Inner<T> {
    fn values(object: &T) -> Vec<(Index, Box<str>)> {
        let mut values = Vec::with_capacity(3);
        if !object.namespace().is_empty() {
            values.push((Index::Namespace, object.namespace().into()));
        }
        if let Some(uid) = object.controller_uid() {
            values.push((Index::Controller, uid.into()));
        }
        object.index(&mut |index, value| values.push((index, value.into())));
        values
    }

    fn file(&mut self, key: &ObjectKey, object: &T) {
        for (index, value) in Self::values(object) {
            self.indexes.entry(index).or_default().entry(value).or_default().insert(key.clone());
        }
    }

    fn unfile(&mut self, key: &ObjectKey, object: &T) {
        for (index, value) in Self::values(object) {
            let Some(map) = self.indexes.get_mut(&index) else { continue };
            let Some(keys) = map.get_mut(&value) else { continue };
            keys.remove(key);
            if keys.is_empty() {
                map.remove(&value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing {
        name: &'static str,
        version: &'static str,
        node: &'static str,
    }

    impl Object for Thing {
        fn namespace(&self) -> &str {
            "default"
        }
        fn name(&self) -> &str {
            self.name
        }
        fn uid(&self) -> &str {
            self.name
        }
        fn resource_version(&self) -> &str {
            self.version
        }
        fn controller_uid(&self) -> Option<&str> {
            None
        }
        fn index(&self, add: &mut dyn FnMut(Index, &str)) {
            add(Index::Node, self.node);
        }
    }

    fn thing(name: &'static str, version: &'static str, node: &'static str) -> Thing {
        Thing { name, version, node }
    }

    #[test]
    fn an_index_follows_updates_and_removals() {
        let store = Store::default();
        store.apply(thing("a", "1", "n1"));
        store.apply(thing("b", "2", "n1"));
        assert_eq!(store.by(Index::Node, "n1").len(), 2);
        store.apply(thing("a", "3", "n2"));
        assert_eq!(store.by(Index::Node, "n1").len(), 1);
        assert_eq!(store.by(Index::Node, "n2").len(), 1);
        store.remove(&ObjectKey::new("default", "b"));
        assert!(store.by(Index::Node, "n1").is_empty());
        assert_eq!(store.by(Index::Namespace, "default").len(), 1);
    }

    #[test]
    fn a_relist_is_told_as_the_difference() {
        let store = Store::default();
        store.replace(vec![thing("a", "1", "n"), thing("b", "2", "n")]);
        let changes = store.replace(vec![thing("b", "2", "n"), thing("c", "5", "n")]);
        assert!(
            matches!(&changes[..], [Change::Deleted(a), Change::Added(c)] if a.name == "a" && c.name == "c")
        );
    }
}
