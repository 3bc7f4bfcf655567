//! Notices nodes that fell silent, marks them, and moves pods away.
//!
//! Owns: node conditions that became Unknown, the taints that follow from conditions and `spec.unschedulable`,
//! the Ready=False of pods on nodes that are not ready, and the eviction of pods that do not tolerate a
//! `NoExecute` taint.
//! Woken by: changes of nodes, leases and pods, and one deadline a node: the end of its grace period, moved on
//! by every renewed lease. Nothing is polled.
//! Invariants: a renewal seen by this process counts from when it was seen, so that clocks need not agree; a pod
//! is deleted only after its toleration time, and only that incarnation of it.

mod eviction;
mod health;
mod taints;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node as ApiNode, ObjectReference, Pod as ApiPod, Taint};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    cache::{
        Change, Index, Informer, ObjectKey,
        views::{Lease, Node, Pod},
    },
    context::Context,
    nodeipam::NAME,
    pods::is_not_found,
    queue::WorkQueue,
    recorder::{EventType, Recorder},
};

/// Why a node or its pods could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: ObjectKey,
    source: kube::Error,
}

struct Controller {
    client: Client,
    nodes: Arc<Informer<Node>>,
    leases: Arc<Informer<Lease>>,
    pods: Arc<Informer<Pod>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    evictions: Arc<WorkQueue<ObjectKey>>,
    recorder: Recorder,
    taint_recorder: Recorder,
    /// When each node was last heard of, by the clock of this process.
    heard: Mutex<HashMap<ObjectKey, health::Heard>>,
    grace: Duration,
    startup_grace: Duration,
}

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        nodes: informers.nodes.clone(),
        leases: informers.leases.clone(),
        pods: informers.pods.clone(),
        queue: WorkQueue::new(context.metrics.queue("node_lifecycle_controller")),
        evictions: WorkQueue::new(context.metrics.queue("taint_eviction")),
        recorder: context.recorder(NAME, "node-controller"),
        taint_recorder: context.recorder(NAME, "taint-eviction-controller"),
        heard: Mutex::default(),
        grace: context.config.node_monitor_grace_period,
        startup_grace: context.config.node_startup_grace_period,
    });
    controller.register();
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.nodes.synced(), controller.leases.synced(), controller.pods.synced());
        let (queue, this) = (controller.queue.clone(), controller.clone());
        queue.spawn_workers("node-lifecycle", workers, &tasks, &token, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        });
        let (queue, this) = (controller.evictions.clone(), controller);
        queue.spawn_workers("taint-eviction", workers, &tasks, &token, move |key| {
            let this = this.clone();
            async move { this.evict(&key).await }
        });
    });
}

impl Controller {
    fn register(self: &Arc<Self>) {
        let this = self.clone();
        self.nodes.on_change(move |change| {
            let key = ObjectKey::of(&**change.object());
            if let Change::Added(node) | Change::Deleted(node) = change {
                let name = &node.metadata.name;
                let events = match change {
                    Change::Added(_) => {
                        ("RegisteredNode", format!("Node {name} event: Registered Node {name} in Controller"))
                    }
                    _ => ("RemovingNode", format!("Node {name} event: Removing Node {name} from Controller")),
                };
                this.tell(name, &node.metadata.uid, EventType::Normal, events.0, events.1);
            }
            if let Change::Deleted(_) = change {
                this.heard.lock().remove(&key);
                return;
            }
            // A pod is looked at when the taints of its node change; pods come and go without all this.
            let taints_changed = match change {
                Change::Updated { old, new } => old.spec.taints != new.spec.taints,
                _ => true,
            };
            if taints_changed {
                this.consider_pods_of(&key.name);
            }
            this.queue.add(key);
        });
        let this = self.clone();
        self.leases.on_change(move |change| {
            if let Change::Updated { new, .. } | Change::Added(new) = change {
                this.lease_changed(new);
            }
        });
        let this = self.clone();
        self.pods.on_change(move |change| match change {
            Change::Deleted(_) => {}
            Change::Updated { old, new }
                if old.spec.node_name == new.spec.node_name
                    && old.spec.tolerations == new.spec.tolerations
                    && new.metadata.uid == old.metadata.uid => {}
            Change::Updated { new: pod, .. } | Change::Added(pod) => this.consider(pod),
        });
    }

    /// A renewed lease only moves the deadline; a look is needed only when the node was not well.
    fn lease_changed(&self, lease: &Lease) {
        let key = ObjectKey::new("", &lease.metadata.name);
        let recovered = {
            let mut heard = self.heard.lock();
            heard.entry(key.clone()).or_default().note_lease(lease.spec.renew_time)
        };
        let unknown = || {
            self.nodes
                .store()
                .get(&key)
                .is_some_and(|node| node.condition("Ready").is_none_or(|ready| &*ready.status == "Unknown"))
        };
        if recovered && unknown() {
            self.queue.add(key);
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(node) = self.nodes.store().get(key) else { return Ok(()) };
        let (silent_for, known) = {
            let mut heard = self.heard.lock();
            let entry = heard.entry(key.clone()).or_default();
            entry.note_node(&node);
            (entry.at.elapsed(), entry.ever)
        };
        let grace = if known { self.grace } else { self.startup_grace };
        let silent = silent_for >= grace;
        if silent {
            if let Some(conditions) = health::silent_conditions(&node, Timestamp::now()) {
                self.write_conditions(key, conditions).await?;
                if node.condition("Ready").is_some_and(|ready| &*ready.status == "True") {
                    let name = &key.name;
                    let message = format!("Node {name} status is now: NodeNotReady");
                    self.tell(name, &node.metadata.uid, EventType::Normal, "NodeNotReady", message);
                }
            }
        } else {
            self.queue.add_after(key.clone(), grace - silent_for);
        }
        match (silent, node.condition("Ready")) {
            (true, _) => self.update_taints(key, &node, "Unknown").await?,
            (false, Some(ready)) => self.update_taints(key, &node, &ready.status).await?,
            // A node that has not reported yet keeps what it was registered with.
            (false, None) => {}
        }
        if silent {
            // Only for a node that cannot say so itself: a node that reports looks after its pods.
            self.mark_pods_not_ready(key).await?;
        }
        Ok(())
    }

    async fn write_conditions(&self, key: &ObjectKey, conditions: serde_json::Value) -> Result<(), Error> {
        let api: Api<ApiNode> = Api::all(self.client.clone());
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(source) => {
                Err(Error { operation: "updating the status of node", object: key.clone(), source })
            }
        }
    }

    async fn update_taints(&self, key: &ObjectKey, node: &Node, ready: &str) -> Result<(), Error> {
        let Some(taints) = taints::plan(node, ready, Timestamp::now()) else { return Ok(()) };
        // The version makes sure that nobody's taint is lost: the list is written as a whole.
        let patch = json!({"metadata": {"resourceVersion": &*node.metadata.resource_version},
            "spec": {"taints": taints}});
        let api: Api<ApiNode> = Api::all(self.client.clone());
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            // Our own status update came in between; the change it causes leads to the next look.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.queue.add_after(key.clone(), Duration::from_millis(20));
                Ok(())
            }
            Err(source) => {
                Err(Error { operation: "setting the taints of node", object: key.clone(), source })
            }
        }
    }

    async fn mark_pods_not_ready(&self, key: &ObjectKey) -> Result<(), Error> {
        for pod in self.pods.store().by(Index::Node, &key.name) {
            if !pod.is_ready() {
                continue;
            }
            let object = ObjectKey::of(&*pod);
            let patch = json!({"status": {"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": health::time(Timestamp::now())}]}});
            let api: Api<ApiPod> = Api::namespaced(self.client.clone(), &object.namespace);
            match api.patch_status(&object.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => {
                    let message = "Node is not ready".to_owned();
                    let about = eviction::reference(&pod);
                    self.recorder.event(about, EventType::Warning, "NodeNotReady", message);
                }
                Err(error) if is_not_found(&error) => {}
                Err(source) => {
                    return Err(Error { operation: "marking as not ready pod", object, source });
                }
            }
        }
        Ok(())
    }

    fn tell(&self, node: &str, uid: &str, type_: EventType, reason: &'static str, message: String) {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.recorder.event(about, type_, reason, message);
    }
}

/// Whether two taints are the same for all purposes but the time they were set.
fn same_taint(a: &Taint, b: &Taint) -> bool {
    a.key == b.key && a.effect == b.effect
}

/// Now, by the clock that deadlines use.
fn now() -> Instant {
    Instant::now()
}
