//! Which node's pods refer to what, counted.
//!
//! Fed by the watch of pods: a pod counts from the moment it is bound to a node until it is gone. What a
//! bound pod refers to changes only by ephemeral containers and by the claims of devices that are made for it, so
//! most updates cost a comparison.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::follow::follow;
use super::pod_refs::pod_refs;
use crate::cache::{CacheEvent, CachedObject, EventKind, ResourceCache, Snapshot};

/// What a pod can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A PersistentVolumeClaim.
    Claim,
    /// A ResourceClaim.
    ResourceClaim,
    /// A ServiceAccount.
    ServiceAccount,
}

/// By kind and `namespace/name`, how many pods of each node refer to it.
type Counts = HashMap<RefKind, HashMap<Box<str>, HashMap<Arc<str>, u32>>>;

/// The references of all bound pods.
#[derive(Debug)]
pub struct References {
    counts: RwLock<Counts>,
    loaded: watch::Sender<bool>,
}

impl References {
    /// Empty until [`References::run`] has read the pods.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { counts: RwLock::default(), loaded: watch::Sender::new(false) })
    }

    /// Whether a pod of `node` refers to the object, given as `namespace/name`.
    #[must_use]
    pub fn refers(&self, node: &str, kind: RefKind, object: &str) -> bool {
        let counts = self.counts.read();
        let nodes = counts.get(&kind).and_then(|objects| objects.get(object));
        nodes.is_some_and(|nodes| nodes.contains_key(node))
    }

    /// Waits until the pods have been read.
    pub async fn ready(&self) {
        // Cannot fail: `self` keeps the sender.
        drop(self.loaded.subscribe().wait_for(|loaded| *loaded).await);
    }

    /// Follows the pods until `stop`. The cache must be ready.
    pub async fn run(self: Arc<Self>, pods: Arc<ResourceCache>, stop: CancellationToken) {
        let read = |snapshot: &Snapshot| {
            let mut counts = Counts::new();
            snapshot.iter().for_each(|pod| add(&mut counts, pod));
            *self.counts.write() = counts;
            self.loaded.send_replace(true);
        };
        follow(&pods, &stop, read, |event| self.apply(event)).await;
    }

    fn apply(&self, event: &CacheEvent) {
        let gone = event.kind == EventKind::Deleted;
        if let (Some(old), false) = (&event.previous, gone)
            && old.uid() == event.object.uid()
            && node(old) == node(&event.object)
            && !may_refer_to_more(&event.object)
        {
            return;
        }
        let mut counts = self.counts.write();
        // First the new ones, so that what stays is never gone in between.
        if !gone {
            add(&mut counts, &event.object);
        }
        if let Some(old) = &event.previous {
            remove(&mut counts, old);
        }
    }
}

/// Whether the pod has what may refer to something else than before.
fn may_refer_to_more(pod: &CachedObject) -> bool {
    const FIELDS: [&[u8]; 3] =
        [b"\"ephemeralContainers\"", b"\"resourceClaimStatuses\"", b"\"extendedResourceClaimStatus\""];
    FIELDS.iter().any(|field| pod.bytes.windows(field.len()).any(|window| window == *field))
}

fn node(pod: &CachedObject) -> &str {
    pod.field("spec.nodeName").unwrap_or_default()
}

fn each(pod: &CachedObject, mut f: impl FnMut(RefKind, Box<str>)) {
    if node(pod).is_empty() {
        return;
    }
    match pod_refs(&pod.bytes) {
        Ok(refs) => {
            refs.into_iter().for_each(|(kind, name)| f(kind, format!("{}/{name}", pod.namespace()).into()))
        }
        Err(error) => {
            tracing::error!(key = %pod.key, %error, "ignoring the references of a pod that cannot be read")
        }
    }
}

fn add(counts: &mut Counts, pod: &CachedObject) {
    each(pod, |kind, object| {
        let nodes = counts.entry(kind).or_default().entry(object).or_default();
        match nodes.get_mut(node(pod)) {
            Some(count) => *count += 1,
            None => drop(nodes.insert(node(pod).into(), 1)),
        }
    });
}

fn remove(counts: &mut Counts, pod: &CachedObject) {
    each(pod, |kind, object| {
        let Some(objects) = counts.get_mut(&kind) else { return };
        let Some(nodes) = objects.get_mut(&object) else { return };
        if let Some(count) = nodes.get_mut(node(pod)) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node(pod));
            }
        }
        if nodes.is_empty() {
            objects.remove(&object);
        }
    });
}
