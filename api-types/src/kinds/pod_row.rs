//! The table row of a pod: what people read first, so it follows upstream's `printPod` case by case.

use jiff::Timestamp;
use serde_json::Value;

use crate::meta::{self, str_at};
use crate::table;

/// The cells of a pod.
pub fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (ready, total, reason, restarts) = summary(pod, now);
    let ip = str_at(pod, &["status", "podIP"]);
    vec![
        meta::name(pod).into(),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        table::age(pod, now).into(),
        or_none(ip),
        or_none(str_at(pod, &["spec", "nodeName"])),
        or_none(str_at(pod, &["status", "nominatedNodeName"])),
        readiness_gates(pod).into(),
    ]
}

fn or_none(s: &str) -> Value {
    if s.is_empty() { "<none>".into() } else { s.into() }
}

fn list<'a>(pod: &'a Value, path: &[&str]) -> &'a [Value] {
    meta::at(pod, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    list(pod, &["status", "conditions"]).iter().find(|c| str_at(c, &["type"]) == name)
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = gates
        .iter()
        .filter(|g| {
            condition(pod, str_at(g, &["conditionType"])).is_some_and(|c| str_at(c, &["status"]) == "True")
        })
        .count();
    format!("{met}/{}", gates.len())
}

/// (ready containers, containers, status text, restarts text).
fn summary(pod: &Value, now: Timestamp) -> (usize, usize, String, String) {
    let sidecars: Vec<&str> = list(pod, &["spec", "initContainers"])
        .iter()
        .filter(|c| str_at(c, &["restartPolicy"]) == "Always")
        .map(|c| str_at(c, &["name"]))
        .collect();
    let mut total = list(pod, &["spec", "containers"]).len() + sidecars.len();
    let phase = str_at(pod, &["status", "phase"]);
    let mut reason = phase.to_owned();
    let status_reason = str_at(pod, &["status", "reason"]);
    if !status_reason.is_empty() {
        reason = status_reason.to_owned();
    }
    if let Some(c) = condition(pod, "PodScheduled")
        && str_at(c, &["reason"]) == "SchedulingGated"
    {
        reason = "SchedulingGated".into();
    }
    let mut ready = 0;
    let (mut restarts, mut sidecar_restarts) = (0, 0);
    let (mut last_restart, mut last_sidecar_restart) = (None, None);
    let mut initializing = false;
    let init = list(pod, &["status", "initContainerStatuses"]);
    let init_total = list(pod, &["spec", "initContainers"]).len();
    for (i, c) in init.iter().enumerate() {
        let n = c.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
        restarts += n;
        later(&mut last_restart, c);
        let sidecar = sidecars.contains(&str_at(c, &["name"]));
        if sidecar {
            sidecar_restarts += n;
            later(&mut last_sidecar_restart, c);
        }
        let terminated = meta::at(c, &["state", "terminated"]);
        let exit = terminated.and_then(|t| t.get("exitCode")).and_then(Value::as_i64);
        if exit == Some(0) {
            continue;
        }
        if sidecar && c.get("started").and_then(Value::as_bool) == Some(true) {
            if c.get("ready").and_then(Value::as_bool) == Some(true) {
                ready += 1;
            }
            continue;
        }
        let waiting = str_at(c, &["state", "waiting", "reason"]);
        reason = if let Some(t) = terminated {
            format!("Init:{}", terminated_reason(t))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{init_total}")
        };
        initializing = true;
        break;
    }
    if !initializing || condition(pod, "Initialized").is_some_and(|c| str_at(c, &["status"]) == "True") {
        restarts = sidecar_restarts;
        last_restart = last_sidecar_restart;
        let mut has_running = false;
        for c in list(pod, &["status", "containerStatuses"]).iter().rev() {
            restarts += c.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
            later(&mut last_restart, c);
            let waiting = str_at(c, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if let Some(t) = meta::at(c, &["state", "terminated"]) {
                reason = terminated_reason(t);
            } else if c.get("ready").and_then(Value::as_bool) == Some(true)
                && meta::at(c, &["state", "running"]).is_some()
            {
                has_running = true;
                ready += 1;
            }
        }
        // A container that has completed beside running ones does not make the pod look ended.
        if reason == "Completed" && has_running {
            let pod_ready = condition(pod, "Ready").is_some_and(|c| str_at(c, &["status"]) == "True");
            reason = if pod_ready { "Running".into() } else { "NotReady".into() };
        }
    }
    if meta::is_deleting(pod) {
        if status_reason == "NodeLost" {
            reason = "Unknown".into();
        } else if phase != "Succeeded" && phase != "Failed" {
            reason = "Terminating".into();
        }
    }
    total = total.max(ready);
    let text = match last_restart {
        Some(at) if restarts > 0 => format!("{restarts} ({} ago)", table::since(at, now)),
        _ => restarts.to_string(),
    };
    (ready, total, reason, text)
}

fn later<'a>(best: &mut Option<&'a str>, status: &'a Value) {
    let at = str_at(status, &["lastState", "terminated", "finishedAt"]);
    // RFC 3339 in UTC sorts as text.
    if !at.is_empty() && best.is_none_or(|b| b < at) {
        *best = Some(at);
    }
}

fn terminated_reason(t: &Value) -> String {
    let reason = str_at(t, &["reason"]);
    let number = |k: &str| t.get(k).and_then(Value::as_i64).unwrap_or(0);
    if !reason.is_empty() {
        reason.to_owned()
    } else if number("signal") != 0 {
        format!("Signal:{}", number("signal"))
    } else {
        format!("ExitCode:{}", number("exitCode"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cells(pod: Value) -> (String, String, String) {
        let r = row(&pod, "2026-01-01T00:10:00Z".parse().unwrap());
        (r[1].as_str().unwrap().into(), r[2].as_str().unwrap().into(), r[3].as_str().unwrap().into())
    }

    fn case(ready: &str, status: &str, restarts: &str) -> (String, String, String) {
        (ready.into(), status.into(), restarts.into())
    }

    #[test]
    fn statuses() {
        let spec = json!({"containers": [{"name": "a"}]});
        assert_eq!(cells(json!({"spec": spec, "status": {"phase": "Pending"}})), case("0/1", "Pending", "0"));
        let crash = json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [{"name": "a",
            "restartCount": 3, "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:09:00Z"}}}]}});
        assert_eq!(cells(crash.clone()), case("0/1", "CrashLoopBackOff", "3 (60s ago)"));
        let mut deleting = crash;
        deleting["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:09:00Z"});
        assert_eq!(cells(deleting).1, "Terminating");
        let init = json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}});
        assert_eq!(cells(init).1, "Init:1/2");
    }
}
