//! How many pods to make, or which to delete: a pure function of what is there.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    sync::Arc,
};

use jiff::Timestamp;

use crate::cache::views::Pod;

/// Most pods that are made or deleted in one go.
pub(super) const BURST: usize = 500;

/// What to do about the number of pods.
#[derive(Debug)]
pub(super) enum Action {
    /// The number is right.
    Nothing,
    /// Make this many.
    Create(usize),
    /// Delete these.
    Delete(Vec<Arc<Pod>>),
}

/// Compares `active` with `wanted`. `related` are the pods of all sets of the same owner; they are only asked for
/// when some pods must go.
pub(super) fn plan(wanted: i32, active: &[Arc<Pod>], related: impl FnOnce() -> Vec<Arc<Pod>>) -> Action {
    let wanted = usize::try_from(wanted).unwrap_or(0);
    match active.len().cmp(&wanted) {
        Ordering::Equal => Action::Nothing,
        Ordering::Less => Action::Create((wanted - active.len()).min(BURST)),
        Ordering::Greater => {
            let excess = (active.len() - wanted).min(BURST);
            Action::Delete(first_to_go(active, excess, related))
        }
    }
}

fn first_to_go(active: &[Arc<Pod>], excess: usize, related: impl FnOnce() -> Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
    if excess == active.len() {
        return active.to_vec();
    }
    let mut crowd: HashMap<Box<str>, usize> = HashMap::new();
    for pod in related().iter().filter(|pod| !pod.spec.node_name.is_empty()) {
        *crowd.entry(pod.spec.node_name.clone()).or_default() += 1;
    }
    let mut pods = active.to_vec();
    pods.sort_by(|a, b| {
        rank(a).cmp(&rank(b)).then_with(|| by_crowd(&crowd, a, b)).then_with(|| by_age(a, b))
    });
    pods.truncate(excess);
    pods
}

/// Lower goes first: not assigned, then pending, then unknown, then not ready, then cheap.
fn rank(pod: &Pod) -> (bool, u8, bool, i32) {
    let phase = match &*pod.status.phase {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    (!pod.spec.node_name.is_empty(), phase, pod.is_ready(), pod.deletion_cost())
}

/// The pod on the node with more pods of the same owner goes first.
fn by_crowd(crowd: &HashMap<Box<str>, usize>, a: &Pod, b: &Pod) -> Ordering {
    let of = |pod: &Pod| Reverse(crowd.get(&pod.spec.node_name).copied().unwrap_or(0));
    of(a).cmp(&of(b))
}

/// Shorter ready goes first, then more restarts, then younger. Ages are compared by magnitude, so that pods of
/// about the same age are chosen from by uid and not always from the same place.
fn by_age(a: &Pod, b: &Pod) -> Ordering {
    let ready = (a.is_ready() && b.is_ready()).then(|| younger(a.ready_since(), b.ready_since(), a, b));
    if let Some(order) = ready.filter(|order| order.is_ne()) {
        return order;
    }
    b.restarts().cmp(&a.restarts()).then_with(|| {
        younger(a.metadata.creation_timestamp, b.metadata.creation_timestamp, a, b)
            .then_with(|| a.metadata.name.cmp(&b.metadata.name))
    })
}

fn younger(a: Option<Timestamp>, b: Option<Timestamp>, pod_a: &Pod, pod_b: &Pod) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => {
            let now = Timestamp::now();
            let magnitude = |at: Timestamp| now.duration_since(at).as_secs().max(1).ilog2();
            magnitude(a).cmp(&magnitude(b)).then_with(|| pod_a.metadata.uid.cmp(&pod_b.metadata.uid))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn pod(name: &str, json: serde_json::Value) -> Arc<Pod> {
        let mut pod: Pod = serde_json::from_value(json).expect("a pod");
        pod.metadata.name = name.into();
        pod.metadata.uid = name.into();
        Arc::new(pod)
    }

    fn names(action: Action) -> Vec<String> {
        let Action::Delete(pods) = action else { panic!("{action:?}") };
        pods.iter().map(|pod| pod.metadata.name.to_string()).collect()
    }

    #[test]
    fn too_few_are_made_in_bursts() {
        assert!(matches!(plan(3, &[], Vec::new), Action::Create(3)));
        assert!(matches!(plan(2000, &[], Vec::new), Action::Create(BURST)));
        assert!(matches!(plan(0, &[], Vec::new), Action::Nothing));
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        use serde_json::json;
        let ready = |since: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        let old = "2020-01-01T00:00:00Z";
        let pods = [
            pod(
                "ready",
                json!({"metadata": {"creationTimestamp": old}, "spec": {"nodeName": "n1"},
                "status": {"phase": "Running", "conditions": ready(old)}}),
            ),
            pod(
                "crowded",
                json!({"metadata": {"creationTimestamp": old}, "spec": {"nodeName": "n2"},
                "status": {"phase": "Running", "conditions": ready(old)}}),
            ),
            pod(
                "cheap",
                json!({"metadata": {"creationTimestamp": old,
                    "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}, "spec": {"nodeName": "n1"},
                "status": {"phase": "Running", "conditions": ready(old)}}),
            ),
            pod("unready", json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})),
            pod("pending", json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}})),
            pod("unassigned", json!({"status": {"phase": "Pending"}})),
            pod(
                "fresh",
                json!({"metadata": {"creationTimestamp": old}, "spec": {"nodeName": "n1"},
                "status": {"phase": "Running", "conditions": ready(&Timestamp::now().to_string())}}),
            ),
        ];
        let related: Vec<_> = pods
            .iter()
            .cloned()
            .chain((0..9).map(|i| pod(&format!("other{i}"), json!({"spec": {"nodeName": "n2"}}))))
            .collect();
        let order = names(plan(1, &pods, || related));
        assert_eq!(order, ["unassigned", "pending", "unready", "cheap", "crowded", "fresh"]);
    }
}
