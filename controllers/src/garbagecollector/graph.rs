//! Who owns whom, as far as it was observed. No I/O: a change goes in, what to look at comes out.
//!
//! A node is *virtual* while it is known only from an owner reference.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    cache::{Meta, ObjectKey, Owner},
    discovery::Resource,
};

use super::Work;

pub(super) type Uid = Arc<str>;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// What an object is, to find it on the server.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// Observed.
    Known(Arc<Resource>),
    /// Only referred to, by an object in that namespace.
    Referred {
        /// Group and version.
        api_version: Box<str>,
        /// Kind.
        kind: Box<str>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub identity: Identity,
    pub key: ObjectKey,
    pub owners: Vec<Owner>,
    pub dependents: HashSet<Uid>,
    pub deleting: bool,
    /// Waits for its dependents to be deleted.
    pub foreground: bool,
    /// Waits for its dependents to be cut loose.
    pub orphaning: bool,
}

impl Node {
    pub(super) fn is_virtual(&self) -> bool {
        matches!(self.identity, Identity::Referred { .. })
    }
}

/// All nodes by uid.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
}

impl Graph {
    pub(super) fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The dependents of `uid` that block its foreground deletion.
    pub(super) fn blocking(&self, uid: &Uid) -> Vec<Uid> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        let blocks = |dependent: &&Uid| {
            self.nodes.get(*dependent).is_some_and(|dependent| {
                dependent.owners.iter().any(|owner| *owner.uid == **uid && owner.block_owner_deletion)
            })
        };
        node.dependents.iter().filter(blocks).cloned().collect()
    }

    /// An object was added or changed.
    pub(super) fn observe(&mut self, resource: &Arc<Resource>, meta: &Meta) -> Vec<Work> {
        let uid: Uid = (&*meta.uid).into();
        let has = |finalizer: &str| meta.finalizers.iter().any(|known| &**known == finalizer);
        let deleting = meta.deletion_timestamp.is_some();
        let mut works = Vec::new();
        let node = self.nodes.entry(uid.clone()).or_insert_with(|| Node {
            identity: Identity::Known(resource.clone()),
            key: ObjectKey::new(&meta.namespace, &meta.name),
            owners: Vec::new(),
            dependents: HashSet::new(),
            deleting: false,
            foreground: false,
            orphaning: false,
        });
        if node.is_virtual() {
            let key = ObjectKey::new(&meta.namespace, &meta.name);
            if node.key != key {
                // Dependents referred to it by another place: they have to find out what that means.
                works.extend(node.dependents.iter().cloned().map(Work::Delete));
            }
            node.key = key;
        }
        node.identity = Identity::Known(resource.clone());
        node.deleting = deleting;
        let (was_foreground, was_orphaning) = (node.foreground, node.orphaning);
        node.foreground = deleting && has(FOREGROUND);
        node.orphaning = deleting && has(ORPHAN);
        let starts_foreground = node.foreground && !was_foreground;
        if node.orphaning && !was_orphaning {
            works.push(Work::Orphan(uid.clone()));
        }
        let old = std::mem::replace(&mut node.owners, meta.owner_references.clone());
        if starts_foreground {
            works.extend(node.dependents.iter().cloned().map(Work::Delete));
            works.push(Work::Delete(uid.clone()));
        }
        self.rewire(&uid, &meta.namespace, &old, &meta.owner_references, &mut works);
        works
    }

    fn rewire(&mut self, uid: &Uid, namespace: &str, old: &[Owner], new: &[Owner], works: &mut Vec<Work>) {
        for owner in new {
            let owner_uid: Uid = (&*owner.uid).into();
            let mut found = true;
            let node = self.nodes.entry(owner_uid.clone()).or_insert_with(|| {
                found = false;
                Node {
                    identity: Identity::Referred {
                        api_version: owner.api_version.clone(),
                        kind: owner.kind.clone(),
                    },
                    key: ObjectKey::new(namespace, &owner.name),
                    owners: Vec::new(),
                    dependents: HashSet::new(),
                    deleting: false,
                    foreground: false,
                    orphaning: false,
                }
            });
            let is_new = node.dependents.insert(uid.clone());
            if !found {
                works.push(Work::Delete(owner_uid));
            } else if is_new && node.foreground {
                // Made while its owner goes away: it has to go too.
                works.push(Work::Delete(uid.clone()));
            } else if is_new
                && !node.is_virtual()
                && !node.key.namespace.is_empty()
                && *node.key.namespace != *namespace
            {
                works.push(Work::Delete(uid.clone()));
            }
        }
        for owner in old {
            let still = new.iter().find(|known| known.uid == owner.uid);
            let owner_uid: Uid = (&*owner.uid).into();
            let unblocked =
                owner.block_owner_deletion && still.is_none_or(|owner| !owner.block_owner_deletion);
            if let Some(node) = self.nodes.get_mut(&owner_uid) {
                if still.is_none() {
                    node.dependents.remove(uid);
                }
                if unblocked && node.foreground {
                    works.push(Work::Delete(owner_uid.clone()));
                }
                if node.is_virtual() && node.dependents.is_empty() {
                    self.nodes.remove(&owner_uid);
                }
            }
        }
    }

    /// An object is gone.
    pub(super) fn gone(&mut self, uid: &Uid) -> Vec<Work> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut works: Vec<Work> = node.dependents.iter().cloned().map(Work::Delete).collect();
        for owner in &node.owners {
            let owner_uid: Uid = (&*owner.uid).into();
            let Some(owner) = self.nodes.get_mut(&owner_uid) else { continue };
            owner.dependents.remove(uid);
            if owner.foreground {
                works.push(Work::Delete(owner_uid));
            } else if owner.is_virtual() && owner.dependents.is_empty() {
                self.nodes.remove(&owner_uid);
            }
        }
        works
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource() -> Arc<Resource> {
        Arc::new(Resource {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "things".to_owned(),
            kind: "Thing".to_owned(),
            namespaced: true,
            verbs: Vec::new(),
        })
    }

    fn meta(uid: &str, owners: &[(&str, bool)], extra: serde_json::Value) -> Meta {
        let owners: Vec<_> = owners
            .iter()
            .map(|(uid, block)| {
                json!({"apiVersion": "v1", "kind": "Thing", "name": uid, "uid": uid,
                "blockOwnerDeletion": block})
            })
            .collect();
        let mut value = json!({"name": uid, "uid": uid, "namespace": "ns", "ownerReferences": owners});
        value.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        serde_json::from_value(value).expect("metadata")
    }

    fn delete(uids: &[&str]) -> HashSet<Work> {
        uids.iter().map(|uid| Work::Delete((*uid).into())).collect()
    }

    fn set(works: Vec<Work>) -> HashSet<Work> {
        works.into_iter().collect()
    }

    #[test]
    fn an_unknown_owner_is_verified_and_dependents_follow_a_gone_one() {
        let mut graph = Graph::default();
        let works = graph.observe(&resource(), &meta("pod", &[("set", true)], json!({})));
        assert_eq!(set(works), delete(&["set"]), "the owner is virtual and has to be verified");
        assert!(graph.observe(&resource(), &meta("set", &[], json!({}))).is_empty());
        assert!(!graph.get(&"set".into()).is_some_and(Node::is_virtual));
        assert_eq!(set(graph.gone(&"set".into())), delete(&["pod"]));
    }

    #[test]
    fn foreground_deletion_goes_through_the_dependents() {
        let mut graph = Graph::default();
        graph.observe(&resource(), &meta("set", &[], json!({})));
        graph.observe(&resource(), &meta("a", &[("set", true)], json!({})));
        graph.observe(&resource(), &meta("b", &[("set", false)], json!({})));
        let deleting = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FOREGROUND]});
        let works = graph.observe(&resource(), &meta("set", &[], deleting.clone()));
        assert_eq!(set(works), delete(&["a", "b", "set"]));
        assert_eq!(graph.blocking(&"set".into()), ["a".into()]);
        assert!(graph.observe(&resource(), &meta("set", &[], deleting)).is_empty(), "told once");
        let works = graph.observe(&resource(), &meta("late", &[("set", true)], json!({})));
        assert_eq!(set(works), delete(&["late"]));
        assert_eq!(set(graph.gone(&"a".into())), delete(&["set"]));
        let unblocked = graph.observe(&resource(), &meta("late", &[("set", false)], json!({})));
        assert_eq!(set(unblocked), delete(&["set"]));
        assert!(graph.blocking(&"set".into()).is_empty());
    }

    #[test]
    fn orphaning_is_asked_for_once() {
        let mut graph = Graph::default();
        let deleting = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [ORPHAN]});
        let works = graph.observe(&resource(), &meta("set", &[], deleting.clone()));
        assert_eq!(works, [Work::Orphan("set".into())]);
        assert!(graph.observe(&resource(), &meta("set", &[], deleting)).is_empty());
    }

    #[test]
    fn virtual_owners_without_dependents_are_forgotten() {
        let mut graph = Graph::default();
        graph.observe(&resource(), &meta("a", &[("ghost", true)], json!({})));
        graph.gone(&"a".into());
        assert!(graph.get(&"ghost".into()).is_none());
    }
}
