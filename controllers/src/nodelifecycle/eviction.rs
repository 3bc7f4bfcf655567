//! Deletes pods that do not tolerate a `NoExecute` taint of their node, after the time they tolerate it for.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod as ApiPod, Taint, Toleration};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    cache::{Index, ObjectKey, views::Pod},
    pods::{delete_exactly, is_not_found},
    recorder::EventType,
};

use super::{Controller, Error, health::time};

pub(super) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.metadata.name.to_string()),
        namespace: Some(pod.metadata.namespace.to_string()),
        uid: Some(pod.metadata.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// What a pod's tolerations make of the taints of its node.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Stay,
    Leave,
    /// Leave then, unless the taint is gone by then.
    LeaveAt(Timestamp),
}

/// Judges `tolerations` by the `NoExecute` taints among `taints`.
pub(super) fn judge(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Verdict {
    let mut deadline: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let used: Vec<&Toleration> =
            tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if used.is_empty() {
            return Verdict::Leave;
        }
        let seconds = used.iter().filter_map(|toleration| toleration.toleration_seconds).min();
        if let Some(seconds) = seconds {
            let from = taint.time_added.as_ref().map_or(now, |added| added.0);
            let at = from.saturating_add(jiff::SignedDuration::from_secs(seconds.max(0))).unwrap_or(from);
            deadline = Some(deadline.map_or(at, |known| known.min(at)));
        }
    }
    match deadline {
        None => Verdict::Stay,
        Some(at) if at <= now => Verdict::Leave,
        Some(at) => Verdict::LeaveAt(at),
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
    }
}

impl Controller {
    pub(super) fn consider_pods_of(&self, node: &str) {
        for pod in self.pods.store().by(Index::Node, node) {
            self.consider(&pod);
        }
    }

    /// Puts the pod on the list of pods to look at, now or when its toleration ends.
    pub(super) fn consider(&self, pod: &Pod) {
        if pod.spec.node_name.is_empty() {
            return;
        }
        let Some(node) = self.nodes.store().get(&ObjectKey::new("", &pod.spec.node_name)) else { return };
        if node.spec.taints.iter().any(|taint| taint.effect == "NoExecute") {
            self.evictions.add(ObjectKey::of(pod));
        }
    }

    pub(super) async fn evict(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(pod) = self.pods.store().get(key) else { return Ok(()) };
        if pod.metadata.deletion_timestamp.is_some() || pod.is_terminal() {
            return Ok(());
        }
        let Some(node) = self.nodes.store().get(&ObjectKey::new("", &pod.spec.node_name)) else {
            return Ok(());
        };
        let now = Timestamp::now();
        match judge(&node.spec.taints, &pod.spec.tolerations, now) {
            Verdict::Stay => return Ok(()),
            Verdict::LeaveAt(at) => {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                self.evictions.add_after(key.clone(), wait.max(Duration::from_millis(1)));
                return Ok(());
            }
            Verdict::Leave => {}
        }
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), &key.namespace);
        let condition = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True",
            "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": time(now)}]}});
        let failed = |operation| move |source| Error { operation, object: key.clone(), source };
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(condition)).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(failed("marking as disrupted pod")(error)),
        }
        let message = format!("Marking for deletion Pod {key}");
        self.taint_recorder.event(reference(&pod), EventType::Normal, "TaintManagerEviction", message);
        match api.delete(&key.name, &delete_exactly(&pod.metadata.uid)).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(failed("evicting pod")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str) -> Taint {
        serde_json::from_value(
            json!({"key": key, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}),
        )
        .expect("a taint")
    }

    fn tolerations(value: serde_json::Value) -> Vec<Toleration> {
        serde_json::from_value(value).expect("tolerations")
    }

    #[test]
    fn tolerations_decide_whether_and_when() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
        let taints = [taint("a")];
        let judge = |value| judge(&taints, &tolerations(value), now);
        assert_eq!(judge(json!([])), Verdict::Leave);
        assert_eq!(judge(json!([{"operator": "Exists"}])), Verdict::Stay);
        assert_eq!(judge(json!([{"key": "b", "operator": "Exists"}])), Verdict::Leave);
        assert_eq!(
            judge(json!([{"key": "a", "operator": "Exists", "effect": "NoSchedule"}])),
            Verdict::Leave
        );
        let at: Timestamp = "2026-01-01T00:05:00Z".parse().expect("a time");
        let five_minutes = json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 300}]);
        assert_eq!(judge(five_minutes), Verdict::LeaveAt(at));
        assert_eq!(
            judge(json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 30}])),
            Verdict::Leave
        );
    }
}
