//! Pods stay away from nodes with taints they do not tolerate, and prefer nodes without such taints.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, Rejection, Score, ScorePlugin, normalize_to_max},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Compares taints with tolerations.
pub struct TaintToleration;

/// Whether the taint does not matter to who has that toleration.
pub(super) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) =
        (toleration.key.as_deref().unwrap_or_default(), toleration.effect.as_deref().unwrap_or_default());
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => !key.is_empty() && text(&toleration.value) == text(&taint.value),
        Some(_) => false,
    }
}

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    tolerations: &'a [Toleration],
}

impl Prepared<'_> {
    fn untolerated(&self, node: usize, matters: impl Fn(&str) -> bool) -> usize {
        let taints = self.snapshot.taints[node].iter().filter(|taint| matters(&taint.effect));
        let bad = |taint: &&Taint| !self.tolerations.iter().any(|toleration| tolerates(toleration, taint));
        taints.filter(bad).count()
    }
}

impl FilterPlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Prepared { snapshot, tolerations: &pod.tolerations }))
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        event.is_node(|change| change.taints)
    }
}

impl Filter for Prepared<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        if self.untolerated(node, |effect| matches!(effect, "NoSchedule" | "NoExecute")) > 0 {
            return Err(Rejection::unresolvable("node(s) had untolerated taint(s)"));
        }
        Ok(())
    }
}

impl ScorePlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let any = feasible
            .iter()
            .any(|node| snapshot.taints[*node].iter().any(|taint| taint.effect == "PreferNoSchedule"));
        any.then(|| Box::new(Prepared { snapshot, tolerations: &pod.tolerations }) as Box<dyn Score>)
    }
}

impl Score for Prepared<'_> {
    fn score(&self, node: usize) -> i64 {
        let count = self.untolerated(node, |effect| effect == "PreferNoSchedule");
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_to_max(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators_keys_and_effects() {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"}))
            .expect("a taint");
        let cases = [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"key": "other", "operator": "Exists"}), false),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "x"}), false),
            (json!({"key": "k", "value": "v", "effect": "NoExecute"}), false),
            (json!({"value": "v"}), false),
        ];
        for (toleration, expected) in cases {
            let parsed: Toleration = serde_json::from_value(toleration.clone()).expect("a toleration");
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }
}
