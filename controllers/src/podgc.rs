//! Removes pods that nobody else will remove.
//!
//! Owns: the deletion of pods whose node is gone, of pods being deleted that were never bound, and of the oldest
//! ended pods beyond a threshold.
//! Woken by: nodes that go away, pods bound to unknown nodes, pods being deleted, and (only in a cluster with more
//! pods than the threshold) pods that ended.
//! Invariants: a node must be unknown for 40 seconds and absent from the server itself before its pods go; pods are
//! marked failed before they are removed, so that their controllers and owners can see why.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node as ApiNode, Pod as ApiPod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    cache::{
        Change, Index, Informer, ObjectKey,
        views::{Node, Pod},
    },
    context::Context,
    pods::{delete_exactly, is_not_found},
    queue::WorkQueue,
};

const NAME: &str = "pod-garbage-collector";
const QUARANTINE: Duration = Duration::from_secs(40);
/// How long changes are gathered before ended pods are counted.
const GATHER: Duration = Duration::from_secs(20);

/// A pod could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: ObjectKey,
    source: kube::Error,
}

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Work {
    /// The pods of a node that may be gone.
    Node(Arc<str>),
    /// A pod that is being deleted and is bound to no node.
    Unbound(ObjectKey),
    /// The number of ended pods.
    Ended,
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Node(name) => write!(out, "node {name}"),
            Work::Unbound(key) => write!(out, "pod {key}"),
            Work::Ended => out.write_str("ended pods"),
        }
    }
}

struct Controller {
    client: Client,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    threshold: usize,
}

pub(crate) fn start(context: &Context) {
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        pods: context.informers.pods.clone(),
        nodes: context.informers.nodes.clone(),
        threshold: context.config.terminated_pod_threshold,
    });
    let queue = WorkQueue::new(context.metrics.queue("pod_gc"));
    let wake = queue.clone();
    controller.nodes.on_change(move |change| {
        if let Change::Deleted(node) = change {
            wake.add_after(Work::Node((&*node.metadata.name).into()), QUARANTINE);
        }
    });
    let (wake, this) = (queue.clone(), controller.clone());
    controller.pods.on_change(move |change| {
        let (Change::Added(pod) | Change::Updated { new: pod, .. }) = change else { return };
        let node: &str = &pod.spec.node_name;
        let was_bound = matches!(change, Change::Updated { old, .. } if !old.spec.node_name.is_empty());
        if node.is_empty() {
            if pod.metadata.deletion_timestamp.is_some() {
                wake.add(Work::Unbound(ObjectKey::of(&**pod)));
            }
        } else if !was_bound && this.nodes.store().get(&ObjectKey::new("", node)).is_none() {
            wake.add_after(Work::Node(node.into()), QUARANTINE);
        }
        if pod.is_terminal() && this.threshold > 0 && this.pods.store().len() > this.threshold {
            wake.add_after(Work::Ended, GATHER);
        }
    });
    let (tasks, token) = (context.tasks.clone(), context.token.clone());
    context.spawn(async move {
        tokio::join!(controller.pods.synced(), controller.nodes.synced());
        queue.spawn_workers("pod-garbage-collector", 1, &tasks, &token, move |work| {
            let controller = controller.clone();
            async move { controller.collect(work).await }
        });
    });
}

impl Controller {
    async fn collect(&self, work: Work) -> Result<(), Error> {
        match work {
            Work::Node(name) => self.collect_node(&name).await,
            Work::Unbound(key) => {
                let Some(pod) = self.pods.store().get(&key) else { return Ok(()) };
                if pod.metadata.deletion_timestamp.is_none() || !pod.spec.node_name.is_empty() {
                    return Ok(());
                }
                self.remove(&pod, None).await
            }
            Work::Ended => {
                for pod in oldest_ended(self.pods.store().all(), self.threshold) {
                    self.remove(&pod, None).await?;
                }
                Ok(())
            }
        }
    }

    async fn collect_node(&self, name: &Arc<str>) -> Result<(), Error> {
        let pods = self.pods.store().by(Index::Node, name);
        let key = ObjectKey::new("", name);
        if pods.is_empty() || self.nodes.store().get(&key).is_some() {
            return Ok(());
        }
        // The cache may be behind: ask the server itself.
        let nodes: Api<ApiNode> = Api::all(self.client.clone());
        let live = nodes.get_opt(name).await;
        if live.map_err(|source| Error { operation: "reading node", object: key, source })?.is_some() {
            return Ok(());
        }
        for pod in pods {
            self.remove(&pod, Some(("DeletionByPodGC", "PodGC: node no longer exists"))).await?;
        }
        Ok(())
    }

    async fn remove(&self, pod: &Pod, disruption: Option<(&str, &str)>) -> Result<(), Error> {
        let object = ObjectKey::of(pod);
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), &object.namespace);
        let failed = |operation| {
            let object = object.clone();
            move |source| Error { operation, object, source }
        };
        if !pod.is_terminal() {
            let mut status = json!({"phase": "Failed"});
            if let Some((reason, message)) = disruption {
                status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True", "reason": reason,
                    "message": message, "lastTransitionTime": Time(Timestamp::now())}]);
            }
            let patch = Patch::Strategic(json!({"status": status}));
            match api.patch_status(&object.name, &PatchParams::default(), &patch).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) => return Ok(()),
                Err(error) => return Err(failed("marking as failed pod")(error)),
            }
        }
        let parameters = delete_exactly(&pod.metadata.uid).grace_period(0);
        match api.delete(&object.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(failed("removing pod")(error)),
        }
    }
}

/// The oldest ended pods beyond `threshold`.
fn oldest_ended(mut pods: Vec<Arc<Pod>>, threshold: usize) -> Vec<Arc<Pod>> {
    pods.retain(|pod| pod.is_terminal());
    pods.sort_by(|a, b| {
        let key = |pod: &Pod| (pod.metadata.creation_timestamp, pod.metadata.name.clone());
        key(a).cmp(&key(b))
    });
    pods.truncate(pods.len().saturating_sub(threshold));
    pods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ended_pods_go_first() {
        let pod = |name: &str, phase: &str, created: &str| {
            let value =
                json!({"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": phase}});
            Arc::new(serde_json::from_value::<Pod>(value).expect("a pod"))
        };
        let pods = vec![
            pod("new", "Failed", "2026-01-03T00:00:00Z"),
            pod("old", "Succeeded", "2026-01-01T00:00:00Z"),
            pod("running", "Running", "2025-01-01T00:00:00Z"),
            pod("middle", "Failed", "2026-01-02T00:00:00Z"),
        ];
        let names: Vec<String> =
            oldest_ended(pods, 1).iter().map(|pod| pod.metadata.name.to_string()).collect();
        assert_eq!(names, ["old", "middle"]);
    }
}
