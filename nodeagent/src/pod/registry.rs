//! The pods of this node as the streaming server sees them: what runs, and how that changes.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::spec;
use super::state::PodState;

/// One pod.
#[derive(Clone)]
pub struct Entry {
    /// The object.
    pub pod: Arc<Pod>,
    /// What is known of it; closes when the worker ends.
    pub state: watch::Receiver<Arc<PodState>>,
}

/// Pods by namespace and name.
#[derive(Default)]
pub struct Registry {
    pods: RwLock<HashMap<(String, String), Entry>>,
}

impl Registry {
    /// Adds or updates a pod.
    pub fn put(&self, entry: Entry) {
        let key = (spec::namespace(&entry.pod).to_owned(), spec::name(&entry.pod).to_owned());
        self.pods.write().insert(key, entry);
    }

    /// Removes a pod, unless another of the same name took its place.
    pub fn remove(&self, pod: &Pod) {
        let key = (spec::namespace(pod).to_owned(), spec::name(pod).to_owned());
        let mut pods = self.pods.write();
        if pods.get(&key).is_some_and(|entry| spec::uid(&entry.pod) == spec::uid(pod)) {
            pods.remove(&key);
        }
    }

    /// A pod by name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Entry> {
        self.pods.read().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All pods.
    pub fn list(&self) -> Vec<Entry> {
        self.pods.read().values().cloned().collect()
    }
}
