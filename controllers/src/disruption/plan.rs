//! What the status of a disruption budget becomes (`pkg/controller/disruption/disruption.go`).

use std::sync::Arc;

use api_types::{intstr::scaled_value, meta};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cache::views::Pod;

/// How long an evicted pod may take to begin to go.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);

/// How a budget is given.
#[derive(Debug, PartialEq)]
pub(super) enum Bound {
    /// That many pods may be missing of those their controllers want.
    MaxUnavailable(IntOrString),
    /// That share of the pods their controllers want must be there.
    MinShare(IntOrString),
    /// That many pods must be there, whoever runs them.
    MinAvailable(i32),
    /// Nothing is asked for.
    Nothing,
}

impl Bound {
    pub(super) fn of(budget: &Value) -> Self {
        let read = |field: &str| {
            let value = meta::at(budget, &["spec", field]).filter(|value| !value.is_null())?;
            IntOrString::deserialize(value).ok()
        };
        match (read("maxUnavailable"), read("minAvailable")) {
            (Some(most), _) => Bound::MaxUnavailable(most),
            (None, Some(IntOrString::Int(least))) => Bound::MinAvailable(least),
            (None, Some(share)) => Bound::MinShare(share),
            (None, None) => Bound::Nothing,
        }
    }

    /// Whether it takes to know how many pods the controllers want.
    pub(super) fn asks_for_scale(&self) -> bool {
        matches!(self, Bound::MaxUnavailable(_) | Bound::MinShare(_))
    }

    /// (expected, desired healthy) of `pods` pods whose controllers want `scale`.
    pub(super) fn counts(&self, pods: usize, scale: i32) -> Result<(i32, i32), String> {
        let scaled = |value| scaled_value(value, scale, true).map_err(|error| error.to_string());
        Ok(match self {
            Bound::MaxUnavailable(most) => (scale, (scale - scaled(most)?).max(0)),
            Bound::MinShare(share) => (scale, scaled(share)?),
            Bound::MinAvailable(least) => (i32::try_from(pods).unwrap_or(i32::MAX), *least),
            Bound::Nothing => (0, 0),
        })
    }
}

/// What is known of evictions that were granted.
pub(super) struct Disrupted {
    /// Pods that are still to go, and since when.
    pub waiting: Map<String, Value>,
    /// Pods that should have gone.
    pub overdue: Vec<Arc<Pod>>,
    /// When the next of them is overdue.
    pub recheck: Option<Timestamp>,
}

pub(super) fn disrupted(budget: &Value, pods: &[Arc<Pod>], now: Timestamp) -> Disrupted {
    let mut out = Disrupted { waiting: Map::new(), overdue: Vec::new(), recheck: None };
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = &*pod.metadata.name;
        let Some(since) = meta::at(budget, &["status", "disruptedPods", name]) else { continue };
        let begun = since.as_str().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or(now);
        let end = begun.saturating_add(DELETION_TIMEOUT).unwrap_or(begun);
        if end < now {
            out.overdue.push(pod.clone());
        } else {
            out.waiting.insert(name.to_owned(), since.clone());
            out.recheck = Some(out.recheck.map_or(end, |known| known.min(end)));
        }
    }
    out
}

/// How many pods serve, without those that are going or about to.
pub(super) fn healthy(pods: &[Arc<Pod>], waiting: &Map<String, Value>) -> i32 {
    let serves = |pod: &&Arc<Pod>| {
        pod.metadata.deletion_timestamp.is_none()
            && !waiting.contains_key(&*pod.metadata.name)
            && pod.is_ready()
    };
    i32::try_from(pods.iter().filter(serves).count()).unwrap_or(i32::MAX)
}

/// The status of a budget that could be judged, when it is another than it has.
pub(super) fn status(
    budget: &Value,
    (expected, desired): (i32, i32),
    healthy: i32,
    waiting: Map<String, Value>,
    now: Timestamp,
) -> Option<Value> {
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let generation = meta::generation(budget);
    let (state, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut status = json!({"currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed,
        "expectedPods": expected, "observedGeneration": generation,
        "conditions": conditions(budget, state, reason, "", now)});
    if !waiting.is_empty() {
        status["disruptedPods"] = waiting.into();
    }
    (budget.get("status") != Some(&status)).then_some(status)
}

/// The status of a budget that cannot be judged: nothing may go.
pub(super) fn failed(budget: &Value, why: &str, now: Timestamp) -> Option<Value> {
    let before = budget.get("status").cloned().unwrap_or_else(|| json!({}));
    let mut status = before.clone();
    status["disruptionsAllowed"] = 0.into();
    // Upstream leaves the generation as it was last observed.
    for field in ["currentHealthy", "desiredHealthy", "expectedPods"] {
        if status.get(field).is_none() {
            status[field] = 0.into();
        }
    }
    status["conditions"] = conditions(budget, "False", "SyncFailed", why, now);
    (status != before).then_some(status)
}

fn conditions(budget: &Value, state: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let before = meta::at(budget, &["status", "conditions"]).and_then(Value::as_array);
    let mut all = before.cloned().unwrap_or_default();
    let is_ours = |condition: &Value| meta::str_at(condition, &["type"]) == "DisruptionAllowed";
    let same = all.iter().find(|condition| is_ours(condition) && condition["status"] == state);
    let since = same.and_then(|condition| condition.get("lastTransitionTime")).cloned();
    let condition = json!({"type": "DisruptionAllowed", "status": state, "reason": reason, "message": message,
        "observedGeneration": meta::generation(budget),
        "lastTransitionTime": since.unwrap_or_else(|| meta::rfc3339(now).into())});
    match all.iter_mut().find(|condition| is_ours(condition)) {
        Some(slot) => *slot = condition,
        None => all.push(condition),
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ready: &str, going: bool) -> Arc<Pod> {
        let deleted = going.then_some("2026-01-01T00:00:00Z");
        let pod = json!({"metadata": {"name": name, "deletionTimestamp": deleted},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn bounds_say_how_many_must_be_there() {
        for (spec, pods, scale, counts) in [
            (json!({"maxUnavailable": 1}), 3, 4, (4, 3)),
            (json!({"maxUnavailable": 9}), 3, 4, (4, 0)),
            (json!({"maxUnavailable": "30%"}), 3, 4, (4, 2)),
            (json!({"minAvailable": 2}), 3, 0, (3, 2)),
            (json!({"minAvailable": "50%"}), 3, 5, (5, 3)),
            (json!({}), 3, 5, (0, 0)),
        ] {
            assert_eq!(Bound::of(&json!({"spec": spec})).counts(pods, scale), Ok(counts), "{spec}");
        }
    }

    #[test]
    fn evicted_pods_do_not_count_until_they_are_overdue() {
        let now: Timestamp = "2026-01-01T00:03:00Z".parse().expect("a time");
        let budget = json!({"status": {"disruptedPods": {"late": "2026-01-01T00:00:30Z",
            "fresh": "2026-01-01T00:02:30Z", "going": "2026-01-01T00:02:30Z", "gone": "2026-01-01T00:02:30Z"}}});
        let pods = [
            pod("late", "True", false),
            pod("fresh", "True", false),
            pod("going", "True", true),
            pod("other", "True", false),
            pod("sick", "False", false),
        ];
        let found = disrupted(&budget, &pods, now);
        assert_eq!(Value::from(found.waiting.clone()), json!({"fresh": "2026-01-01T00:02:30Z"}));
        assert_eq!(found.overdue.iter().map(|pod| &*pod.metadata.name).collect::<Vec<_>>(), ["late"]);
        assert_eq!(found.recheck, Some("2026-01-01T00:04:30Z".parse().expect("a time")));
        assert_eq!(healthy(&pods, &found.waiting), 2);
    }

    #[test]
    fn a_status_is_written_only_when_it_differs() {
        let now: Timestamp = "2026-01-01T00:03:00Z".parse().expect("a time");
        let mut budget = json!({"metadata": {"generation": 2}});
        let first = status(&budget, (3, 2), 3, Map::new(), now).expect("a status");
        assert_eq!(
            first,
            json!({"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1, "expectedPods": 3,
                "observedGeneration": 2, "conditions": [{"type": "DisruptionAllowed", "status": "True",
                "reason": "SufficientPods", "message": "", "observedGeneration": 2,
                "lastTransitionTime": "2026-01-01T00:03:00Z"}]})
        );
        budget["status"] = first;
        let later: Timestamp = "2026-01-01T00:05:00Z".parse().expect("a time");
        assert_eq!(status(&budget, (3, 2), 3, Map::new(), later), None);
        let less = status(&budget, (3, 2), 2, Map::new(), later).expect("a status");
        assert_eq!(
            (&less["disruptionsAllowed"], &less["conditions"][0]["reason"]),
            (&json!(0), &json!("InsufficientPods"))
        );
        assert_eq!(less["conditions"][0]["lastTransitionTime"], "2026-01-01T00:05:00Z");
        assert_eq!(status(&budget, (0, 0), 0, Map::new(), later).expect("a status")["disruptionsAllowed"], 0);
        let broken = failed(&budget, "found no controllers for pod \"a\"", later).expect("a status");
        assert_eq!((&broken["disruptionsAllowed"], &broken["currentHealthy"]), (&json!(0), &json!(3)));
        assert_eq!(broken["conditions"][0]["reason"], "SyncFailed");
    }
}
