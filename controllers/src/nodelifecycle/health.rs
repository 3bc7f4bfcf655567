//! When a node was heard of, and what its conditions become when it falls silent.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cache::views::{Condition, Node};

/// The last sign of life of a node.
pub(super) struct Heard {
    /// When it was seen, by the clock of this process.
    pub at: Instant,
    /// Whether there ever was one.
    pub ever: bool,
    lease: Option<Timestamp>,
    heartbeat: Option<Timestamp>,
}

impl Default for Heard {
    fn default() -> Self {
        Heard { at: super::now(), ever: false, lease: None, heartbeat: None }
    }
}

impl Heard {
    /// Notes the renewal of the lease; whether it is a new one.
    pub(super) fn note_lease(&mut self, renewed: Option<Timestamp>) -> bool {
        if renewed.is_none() || renewed <= self.lease {
            return false;
        }
        self.lease = renewed;
        self.alive();
        true
    }

    /// Notes the heartbeat in the node's own status.
    pub(super) fn note_node(&mut self, node: &Node) {
        let Some(ready) = node.condition("Ready") else { return };
        // What this controller wrote itself is no sign of life.
        if &*ready.reason == "NodeStatusUnknown" || ready.last_heartbeat_time.is_none() {
            self.ever = true;
            return;
        }
        if ready.last_heartbeat_time > self.heartbeat {
            self.heartbeat = ready.last_heartbeat_time;
            self.alive();
        }
    }

    fn alive(&mut self) {
        self.at = super::now();
        self.ever = true;
    }
}

/// A time as conditions have it: whole seconds.
pub(super) fn time(at: Timestamp) -> Value {
    json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at))
}

/// The conditions of a node that fell silent, for a strategic merge; `None` when they already say so.
pub(super) fn silent_conditions(node: &Node, now: Timestamp) -> Option<Value> {
    let types = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    let changed: Vec<Value> = types
        .iter()
        .filter_map(|type_| match node.condition(type_) {
            None => Some(json!({"type": type_, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.", "lastTransitionTime": time(now),
                "lastHeartbeatTime": Value::Null})),
            Some(condition) => unknown(condition, now),
        })
        .collect();
    (!changed.is_empty()).then_some(Value::Array(changed))
}

fn unknown(condition: &Condition, now: Timestamp) -> Option<Value> {
    if &*condition.status == "Unknown" {
        return None;
    }
    Some(json!({"type": &*condition.type_, "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.", "lastTransitionTime": time(now)}))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value(value).expect("a node")
    }

    #[tokio::test(start_paused = true)]
    async fn only_new_renewals_are_signs_of_life() {
        let mut heard = Heard::default();
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        assert!(heard.note_lease(Some(first)));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(!heard.note_lease(Some(first)));
        assert_eq!(heard.at.elapsed(), Duration::from_secs(30));
        assert!(heard.note_lease(Some(first + jiff::SignedDuration::from_secs(10))));
        assert_eq!(heard.at.elapsed(), Duration::ZERO);
    }

    #[test]
    fn silence_makes_all_conditions_unknown_once() {
        let now = Timestamp::UNIX_EPOCH;
        let silent = silent_conditions(
            &node(json!({"status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}})),
            now,
        )
        .expect("conditions");
        let list = silent.as_array().expect("a list");
        assert_eq!(list.len(), 4);
        assert_eq!(list[0]["reason"], "NodeStatusUnknown");
        assert_eq!(list[0]["message"], "Kubelet stopped posting node status.");
        assert_eq!(list[1]["reason"], "NodeStatusNeverUpdated");
        let conditions: Vec<Value> = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
            .iter()
            .map(|type_| json!({"type": type_, "status": "Unknown"}))
            .collect();
        assert!(silent_conditions(&node(json!({"status": {"conditions": conditions}})), now).is_none());
    }
}
