//! Pods choose nodes by label: node selector, required and preferred node affinity.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::NodeSelectorRequirement;

use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, Rejection, Score, ScorePlugin, normalize_to_max},
    pod::{NodeTerm, PodInfo},
    snapshot::Snapshot,
};

/// Compares node labels with what a pod requires and prefers.
pub struct NodeAffinity;

struct Required<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
}

/// Whether a node has what the pod requires of nodes.
pub(super) fn matches_required(pod: &PodInfo, snapshot: &Snapshot, node: usize) -> bool {
    let labels = &snapshot.labels[node];
    if !pod.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let terms = pod.required_nodes.as_ref();
    terms.is_none_or(|terms| terms.iter().any(|term| term_matches(term, labels, &snapshot.names[node])))
}

fn term_matches(term: &NodeTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    // An empty term selects nothing.
    if term.labels.is_empty() && term.fields.is_empty() {
        return false;
    }
    let by_label = |requirement: &NodeSelectorRequirement| {
        requirement_holds(requirement, labels.get(&requirement.key).map(String::as_str))
    };
    let by_field = |requirement: &NodeSelectorRequirement| {
        requirement.key == "metadata.name" && requirement_holds(requirement, Some(name))
    };
    term.labels.iter().all(by_label) && term.fields.iter().all(by_field)
}

fn requirement_holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |actual: &str| values.iter().any(|value| value == actual);
    let numbers = || {
        let wanted: i64 = values.first()?.parse().ok()?;
        Some((actual?.parse::<i64>().ok()?, wanted))
    };
    match requirement.operator.as_str() {
        "In" => actual.is_some_and(listed),
        "NotIn" => !actual.is_some_and(listed),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(actual, wanted)| actual > wanted),
        "Lt" => numbers().is_some_and(|(actual, wanted)| actual < wanted),
        _ => false,
    }
}

impl FilterPlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        if pod.node_selector.is_empty() && pod.required_nodes.is_none() {
            return None;
        }
        Some(Box::new(Required { snapshot, pod }))
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        event.is_node(|change| change.labels)
    }
}

impl Filter for Required<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        if matches_required(self.pod, self.snapshot, node) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
}

impl ScorePlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        _feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        if pod.preferred_nodes.is_empty() {
            return None;
        }
        Some(Box::new(Required { snapshot, pod }))
    }
}

impl Score for Required<'_> {
    fn score(&self, node: usize) -> i64 {
        let (labels, name) = (&self.snapshot.labels[node], &self.snapshot.names[node]);
        let terms = self.pod.preferred_nodes.iter();
        terms.filter(|(_, term)| term_matches(term, labels, name)).map(|(weight, _)| weight).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_to_max(scores, false);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators() {
        let holds = |operator: &str, values: serde_json::Value, actual: Option<&str>| {
            let value = json!({"key": "k", "operator": operator, "values": values});
            requirement_holds(&serde_json::from_value(value).expect("a requirement"), actual)
        };
        assert!(holds("In", json!(["a", "b"]), Some("b")));
        assert!(!holds("In", json!(["a"]), None));
        assert!(holds("NotIn", json!(["a"]), None));
        assert!(!holds("NotIn", json!(["a"]), Some("a")));
        assert!(holds("Exists", json!(null), Some("")));
        assert!(holds("DoesNotExist", json!([]), None));
        assert!(holds("Gt", json!(["5"]), Some("6")));
        assert!(!holds("Lt", json!(["5"]), Some("x")));
    }
}
