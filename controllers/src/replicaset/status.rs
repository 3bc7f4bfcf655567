//! The status of a set, computed from its pods.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{cache::views::Pod, queue::error_chain};

use super::act::ManageError;

const FAILURE: &str = "ReplicaFailure";

/// The status of `set` that owns `owned`, after managing its pods ended with `failure`.
pub(super) fn status(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    failure: Option<&super::Error>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let template_labels: BTreeMap<String, String> =
        spec.template.and_then(|template| template.metadata).and_then(|meta| meta.labels).unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let old = set.status.clone().unwrap_or_default();
    let (mut replicas, mut labeled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
    for pod in owned {
        if !pod.is_active() {
            terminating += i32::from(!pod.is_terminal());
            continue;
        }
        replicas += 1;
        let has_all = template_labels.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value));
        labeled += i32::from(has_all);
        if pod.is_ready() {
            ready += 1;
            available += i32::from(pod.is_available(min_ready, now));
        }
    }
    let count = |number: i32| (number != 0).then_some(number);
    ReplicaSetStatus {
        replicas,
        fully_labeled_replicas: count(labeled),
        ready_replicas: count(ready),
        available_replicas: count(available),
        terminating_replicas: Some(terminating),
        observed_generation: set.metadata.generation,
        conditions: conditions(old.conditions.unwrap_or_default(), failure, spec.replicas, replicas, now),
    }
}

fn conditions(
    mut conditions: Vec<ReplicaSetCondition>,
    failure: Option<&super::Error>,
    wanted: Option<i32>,
    replicas: i32,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let known = conditions.iter().any(|condition| condition.type_ == FAILURE);
    match failure {
        Some(error) if !known => {
            let reason = if wanted.unwrap_or(1) > replicas { "FailedCreate" } else { "FailedDelete" };
            conditions.push(ReplicaSetCondition {
                type_: FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(ManageError::message(error)),
                last_transition_time: Some(Time(now)),
            });
        }
        None => conditions.retain(|condition| condition.type_ != FAILURE),
        Some(_) => {}
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// When the next pod that is ready becomes available.
pub(super) fn next_availability(active: &[Arc<Pod>], min_ready: i32, now: Timestamp) -> Option<Duration> {
    if min_ready <= 0 {
        return None;
    }
    let waits = active.iter().filter_map(|pod| {
        let ready_for = now.duration_since(pod.ready_since()?);
        let rest = jiff::SignedDuration::from_secs(i64::from(min_ready)) - ready_for;
        Duration::try_from(rest).ok().filter(|rest| !rest.is_zero())
    });
    waits.min()
}

impl ManageError {
    /// What the condition says: the answer of the server without the project's own words.
    fn message(error: &super::Error) -> String {
        match error {
            super::Error::Api { source: kube::Error::Api(status), .. } => status.message.clone(),
            other => error_chain(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::plan::tests::pod, *};

    fn set(json: serde_json::Value) -> ReplicaSet {
        serde_json::from_value(json).expect("a replica set")
    }

    #[test]
    fn counts_by_kind_of_pod() {
        let set = set(json!({"metadata": {"generation": 4}, "spec": {"replicas": 3, "minReadySeconds": 10,
            "selector": {}, "template": {"metadata": {"labels": {"a": "b"}}}}}));
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().expect("a time");
        let ready = |at: &str| {
            json!({"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}]}})
        };
        let pods = [
            pod("available", ready("2026-01-01T00:00:00Z")),
            pod("ready", ready("2026-01-01T00:00:15Z")),
            pod("pending", json!({"status": {"phase": "Pending"}})),
            pod("terminating", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            pod("ended", json!({"status": {"phase": "Failed"}})),
        ];
        let status = status(&set, &pods, None, now);
        assert_eq!(status.replicas, 3);
        assert_eq!(status.fully_labeled_replicas, Some(2));
        assert_eq!(status.ready_replicas, Some(2));
        assert_eq!(status.available_replicas, Some(1));
        assert_eq!(status.terminating_replicas, Some(1));
        assert_eq!(status.observed_generation, Some(4));
        assert_eq!(next_availability(&pods, 10, now), Some(Duration::from_secs(5)));
    }
}
