//! What is done about one object: the only place of the collector that writes.

use std::sync::Arc;

use http::{Method, Request, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cache::{ObjectKey, Owner},
    discovery::Resource,
    pods::is_not_found,
};

use super::{
    ABSENT, Collector, Error, Work,
    graph::{FOREGROUND, Identity, Node, ORPHAN, Uid},
};

/// The live metadata of an object, with owner references as they are.
#[derive(Debug, Deserialize)]
struct Live {
    metadata: LiveMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LiveMeta {
    uid: String,
    resource_version: String,
    #[serde(default, deserialize_with = "crate::cache::null_default")]
    owner_references: Vec<Value>,
    #[serde(default, deserialize_with = "crate::cache::null_default")]
    finalizers: Vec<String>,
}

/// How the owners of an object are.
#[derive(Default)]
struct Owners {
    solid: usize,
    dangling: Vec<Box<str>>,
    waiting: Vec<Box<str>>,
}

impl Collector {
    pub(super) async fn attempt(&self, work: Work) -> Result<(), Error> {
        match work {
            Work::Delete(uid) => self.attempt_to_delete(&uid).await,
            Work::Orphan(uid) => self.attempt_to_orphan(&uid).await,
        }
    }

    fn node(&self, uid: &Uid) -> Option<Node> {
        self.graph.lock().get(uid).cloned()
    }

    async fn attempt_to_delete(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.node(uid) else { return Ok(()) };
        if node.deleting && !node.foreground {
            return Ok(());
        }
        let resource = self.resource_of(&node)?;
        if node.is_virtual() && resource.namespaced && node.key.namespace.is_empty() {
            // A cluster-scoped object cannot be owned by a namespaced one; such a reference is left alone.
            return Ok(());
        }
        let path = object_path(&resource, &node.key);
        let Some(live) = self.live(&path).await?.filter(|live| live.metadata.uid == **uid) else {
            let works = self.graph.lock().gone(uid);
            self.remember_absent(uid, &node.key);
            self.add_all(works);
            return Ok(());
        };
        if node.is_virtual() {
            // It exists: its own watch will tell more.
            return Ok(());
        }
        if node.foreground {
            return self.attempt_to_finish_foreground(uid, &path, &live).await;
        }
        if live.metadata.owner_references.is_empty() {
            return Ok(());
        }
        let owners = self.classify(&node, &live, &path).await?;
        if owners.solid > 0 {
            let gone: Vec<&Box<str>> = owners.dangling.iter().chain(&owners.waiting).collect();
            if gone.is_empty() {
                return Ok(());
            }
            return self.remove_owners(&path, &live, |owner| gone.iter().any(|uid| ***uid == *owner)).await;
        }
        let policy = if !owners.waiting.is_empty() && !node.dependents.is_empty() {
            "Foreground"
        } else if live.metadata.finalizers.iter().any(|finalizer| finalizer == ORPHAN) {
            "Orphan"
        } else if live.metadata.finalizers.iter().any(|finalizer| finalizer == FOREGROUND) {
            "Foreground"
        } else {
            "Background"
        };
        self.delete(&path, &live, policy).await
    }

    /// Deletes the dependents that block, or lets the object go when none does.
    async fn attempt_to_finish_foreground(&self, uid: &Uid, path: &str, live: &Live) -> Result<(), Error> {
        let blocking = self.graph.lock().blocking(uid);
        if blocking.is_empty() {
            return self.remove_finalizer(path, live, FOREGROUND).await;
        }
        for dependent in blocking {
            let waits = self.graph.lock().get(&dependent).is_some_and(|node| node.foreground);
            if !waits {
                self.queue.add(Work::Delete(dependent));
            }
        }
        Ok(())
    }

    async fn attempt_to_orphan(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.node(uid) else { return Ok(()) };
        for dependent in &node.dependents {
            let Some(dependent) = self.node(dependent) else { continue };
            let path = object_path(&*self.resource_of(&dependent)?, &dependent.key);
            if let Some(live) = self.live(&path).await? {
                self.remove_owners(&path, &live, |owner| *owner == **uid).await?;
            }
        }
        let path = object_path(&*self.resource_of(&node)?, &node.key);
        match self.live(&path).await? {
            Some(live) if live.metadata.uid == **uid => self.remove_finalizer(&path, &live, ORPHAN).await,
            _ => Ok(()),
        }
    }

    async fn classify(&self, node: &Node, live: &Live, path: &str) -> Result<Owners, Error> {
        let mut owners = Owners::default();
        for value in &live.metadata.owner_references {
            let Ok(owner) = serde_json::from_value::<Owner>(value.clone()) else {
                owners.solid += 1;
                continue;
            };
            match self.owner_state(node, &owner, path).await? {
                State::Solid => owners.solid += 1,
                State::Waiting => owners.waiting.push(owner.uid),
                State::Absent => owners.dangling.push(owner.uid),
            }
        }
        Ok(owners)
    }

    async fn owner_state(&self, node: &Node, owner: &Owner, path: &str) -> Result<State, Error> {
        let uid: Uid = (&*owner.uid).into();
        if let Some(known) = self.node(&uid).filter(|known| !known.is_virtual()) {
            let reachable = known.key.namespace.is_empty() || known.key.namespace == node.key.namespace;
            let same_kind = matches!(&known.identity, Identity::Known(resource)
                if resource.kind == *owner.kind && *known.key.name == *owner.name);
            if reachable && same_kind {
                // Should it be gone by now, its deletion will be told and lead here again.
                return Ok(if known.foreground { State::Waiting } else { State::Solid });
            }
        }
        let resource = self.kind(&owner.api_version, &owner.kind).ok_or_else(|| Error::UnknownOwner {
            kind: owner.kind.to_string(),
            api_version: owner.api_version.to_string(),
            object: path.to_owned(),
        })?;
        if resource.namespaced && node.key.namespace.is_empty() {
            return Ok(State::Solid);
        }
        let namespace = if resource.namespaced { &*node.key.namespace } else { "" };
        let key = ObjectKey::new(namespace, &owner.name);
        if self.absent.lock().contains(&(uid.clone(), key.clone())) {
            return Ok(State::Absent);
        }
        match self.live(&object_path(&resource, &key)).await? {
            Some(live) if live.metadata.uid == *owner.uid => Ok(State::Solid),
            _ => {
                self.remember_absent(&uid, &key);
                Ok(State::Absent)
            }
        }
    }

    fn remember_absent(&self, uid: &Uid, key: &ObjectKey) {
        let mut absent = self.absent.lock();
        if absent.len() >= ABSENT {
            absent.clear();
        }
        absent.insert((uid.clone(), key.clone()));
    }

    fn kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.kinds.lock().get(&(api_version.to_owned(), kind.to_owned())).cloned()
    }

    fn resource_of(&self, node: &Node) -> Result<Arc<Resource>, Error> {
        match &node.identity {
            Identity::Known(resource) => Ok(resource.clone()),
            Identity::Referred { api_version, kind } => {
                self.kind(api_version, kind).ok_or_else(|| Error::UnknownOwner {
                    kind: kind.to_string(),
                    api_version: api_version.to_string(),
                    object: node.key.to_string(),
                })
            }
        }
    }

    async fn live(&self, path: &str) -> Result<Option<Live>, Error> {
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        let request = Request::get(path).header(header::ACCEPT, accept).body(Vec::new());
        match self.request(request).await {
            Ok(text) => {
                let live = serde_json::from_str(&text).map_err(kube::Error::SerdeError);
                live.map(Some).map_err(failed("reading", path))
            }
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(failed("reading", path)(error)),
        }
    }

    async fn request(&self, request: Result<Request<Vec<u8>>, http::Error>) -> Result<String, kube::Error> {
        self.client.request_text(request.map_err(kube::Error::HttpError)?).await
    }

    async fn delete(&self, path: &str, live: &Live, policy: &str) -> Result<(), Error> {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy,
            "preconditions": {"uid": live.metadata.uid, "resourceVersion": live.metadata.resource_version}});
        let request = Request::builder()
            .method(Method::DELETE)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(options.to_string().into_bytes());
        match self.request(request).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(failed("deleting", path)(error)),
        }
    }

    async fn remove_owners(
        &self,
        path: &str,
        live: &Live,
        remove: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let keep: Vec<&Value> = live
            .metadata
            .owner_references
            .iter()
            .filter(|owner| !owner.get("uid").and_then(Value::as_str).is_some_and(&remove))
            .collect();
        if keep.len() == live.metadata.owner_references.len() {
            return Ok(());
        }
        self.patch(path, live, "ownerReferences", json!(keep)).await
    }

    async fn remove_finalizer(&self, path: &str, live: &Live, finalizer: &str) -> Result<(), Error> {
        let keep: Vec<&String> =
            live.metadata.finalizers.iter().filter(|known| *known != finalizer).collect();
        if keep.len() == live.metadata.finalizers.len() {
            return Ok(());
        }
        self.patch(path, live, "finalizers", json!(keep)).await
    }

    /// Replaces a list in the metadata of exactly the version that was read.
    async fn patch(&self, path: &str, live: &Live, field: &str, value: Value) -> Result<(), Error> {
        let patch = json!({"metadata": {"uid": live.metadata.uid,
            "resourceVersion": live.metadata.resource_version, field: value}});
        let request = Request::patch(path)
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string().into_bytes());
        match self.request(request).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(failed("updating", path)(error)),
        }
    }
}

enum State {
    /// There, and not waiting for dependents.
    Solid,
    /// There until its dependents are gone.
    Waiting,
    Absent,
}

fn object_path(resource: &Resource, key: &ObjectKey) -> String {
    format!("{}/{}", resource.path(&key.namespace), key.name)
}

fn failed(operation: &'static str, path: &str) -> impl FnOnce(kube::Error) -> Error {
    let object = path.to_owned();
    move |source| Error::Api { operation, object, source }
}
