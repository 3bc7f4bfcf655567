//! The taints that follow from a node's conditions and from `spec.unschedulable`.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Taint, apimachinery::pkg::apis::meta::v1::Time};

use crate::cache::views::Node;

use super::same_taint;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The taints the node shall have, when they are others than it has. `ready` is the status of its Ready condition.
pub(super) fn plan(node: &Node, ready: &str, now: Timestamp) -> Option<Vec<Taint>> {
    let wanted = wanted(node, ready, now);
    let is_ours = |taint: &Taint| {
        let key = taint.key.as_str();
        match taint.effect.as_str() {
            "NoSchedule" => {
                [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key)
                    || PRESSURES.iter().any(|(_, pressure)| *pressure == key)
            }
            "NoExecute" => [NOT_READY, UNREACHABLE].contains(&key),
            _ => false,
        }
    };
    let current = &node.spec.taints;
    let keep = current.iter().filter(|taint| !is_ours(taint) || wanted.iter().any(|w| same_taint(w, taint)));
    let mut result: Vec<Taint> = keep.cloned().collect();
    let missing = wanted.iter().filter(|taint| !current.iter().any(|c| same_taint(c, taint)));
    result.extend(missing.cloned());
    (result.len() != current.len() || !result.iter().zip(current).all(|(a, b)| same_taint(a, b)))
        .then_some(result)
}

fn wanted(node: &Node, ready: &str, now: Timestamp) -> Vec<Taint> {
    let taint = |key: &str, effect: &str| Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        time_added: (effect == "NoExecute").then_some(Time(now)),
        value: None,
    };
    let mut wanted = Vec::new();
    match ready {
        "True" => {}
        "False" => wanted.extend([taint(NOT_READY, "NoSchedule"), taint(NOT_READY, "NoExecute")]),
        _ => wanted.extend([taint(UNREACHABLE, "NoSchedule"), taint(UNREACHABLE, "NoExecute")]),
    }
    for (type_, key) in PRESSURES {
        if node.condition(type_).is_some_and(|condition| &*condition.status == "True") {
            wanted.push(taint(key, "NoSchedule"));
        }
    }
    if node.spec.unschedulable {
        wanted.push(taint(UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(node: serde_json::Value, ready: &str) -> Option<Vec<String>> {
        let node: Node = serde_json::from_value(node).expect("a node");
        let taints = plan(&node, ready, Timestamp::UNIX_EPOCH)?;
        let name = |taint: &Taint| {
            format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)
        };
        Some(taints.iter().map(name).collect())
    }

    fn some(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn conditions_become_taints() {
        assert_eq!(keys(json!({}), "True"), None);
        assert_eq!(keys(json!({}), "False"), some(&["not-ready:NoSchedule", "not-ready:NoExecute"]));
        assert_eq!(keys(json!({}), "Unknown"), some(&["unreachable:NoSchedule", "unreachable:NoExecute"]));
        let pressed = json!({"spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "DiskPressure", "status": "True"}]}});
        assert_eq!(keys(pressed, "True"), some(&["disk-pressure:NoSchedule", "unschedulable:NoSchedule"]));
    }

    #[test]
    fn taints_of_others_stay_and_own_ones_go() {
        let node = |ready: &str| {
            json!({"spec": {"taints": [{"key": "mine", "effect": "NoSchedule"},
                {"key": format!("node.kubernetes.io/{ready}"), "effect": "NoSchedule"},
                {"key": format!("node.kubernetes.io/{ready}"), "effect": "NoExecute"}]}})
        };
        assert_eq!(keys(node("not-ready"), "True"), some(&["mine:NoSchedule"]));
        assert_eq!(keys(node("not-ready"), "False"), None);
        let swapped = some(&["mine:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"]);
        assert_eq!(keys(node("not-ready"), "Unknown"), swapped);
    }
}
