//! Tables for the planner.

use std::time::Duration;

use super::*;
use crate::pod::state::{ProbeFailure, ProbeResults};
use crate::runtime::SandboxRecord;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn pod(yaml: serde_json::Value) -> Pod {
    serde_json::from_value(serde_json::json!({"metadata": {"name": "p", "uid": "u"}, "spec": yaml})).unwrap()
}

fn record(pod: &Pod, name: &str, state: RunState, exit_code: i32, created: i64) -> ContainerRecord {
    let spec = spec::spec(pod);
    let (_, container) = spec::find_container(&spec, name).unwrap();
    ContainerRecord {
        id: format!("{name}-{created}"),
        name: name.into(),
        attempt: 0,
        state,
        created_at: at(created),
        started_at: Some(at(created)),
        finished_at: (state == RunState::Exited).then(|| at(created + 1)),
        exit_code,
        reason: String::new(),
        message: String::new(),
        image: "i".into(),
        image_id: "i".into(),
        hash: spec::container_hash(&container),
        termination_file: None,
        message_from_logs: false,
        log_path: String::new(),
        made_with: None,
        actual: crate::runtime::Actual::default(),
    }
}

fn with_sandbox(ready: bool) -> PodState {
    let sandbox =
        SandboxRecord { id: "s".into(), attempt: 0, ready, created_at: at(0), ips: vec!["10.0.0.2".into()] };
    PodState { sandbox: Some(sandbox), ..PodState::default() }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(10), Duration::from_secs(300))
}

fn steps(plan: Plan) -> Steps {
    match plan {
        Plan::Run(steps) => steps,
        Plan::Finish => panic!("finished"),
    }
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_regular_containers_at_once() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let steps = steps(plan(&pod, &PodState::default(), &backoff(), at(1)));
    assert_eq!((steps.sandbox, steps.start), (Some(0), vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn init_containers_go_one_by_one_and_sidecars_only_have_to_have_started() {
    let pod = pod(serde_json::json!({
        "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always", "startupProbe": {}}, {"name": "j"}],
        "containers": [{"name": "a"}],
    }));
    let mut state = with_sandbox(true);
    let next = |state: &PodState| steps(plan(&pod, state, &backoff(), at(50))).start;
    assert_eq!(next(&state), ["i"]);
    state.put(record(&pod, "i", RunState::Running, 0, 1));
    assert!(next(&state).is_empty());
    state.put(record(&pod, "i", RunState::Exited, 0, 1));
    assert_eq!(next(&state), ["s"]);
    state.put(record(&pod, "s", RunState::Running, 0, 3));
    assert!(next(&state).is_empty());
    state.probes.insert("s-3".into(), ProbeResults { started: true, ..ProbeResults::default() });
    assert_eq!(next(&state), ["j"]);
    state.put(record(&pod, "j", RunState::Exited, 0, 4));
    assert_eq!(next(&state), ["a"]);
    state.put(record(&pod, "a", RunState::Running, 0, 5));
    assert!(next(&state).is_empty());
    state.put(record(&pod, "s", RunState::Exited, 0, 3));
    assert_eq!(next(&state), ["s"]);
}

#[test]
fn restart_policies() {
    for (policy, exit_code, finished) in [
        ("Always", 0, false),
        ("Always", 1, false),
        ("OnFailure", 0, true),
        ("OnFailure", 1, false),
        ("Never", 0, true),
        ("Never", 1, true),
    ] {
        let pod = pod(serde_json::json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let mut state = with_sandbox(true);
        state.put(record(&pod, "a", RunState::Exited, exit_code, 1));
        match plan(&pod, &state, &backoff(), at(50)) {
            Plan::Finish => assert!(finished, "{policy} {exit_code}"),
            Plan::Run(steps) => {
                assert!(!finished, "{policy} {exit_code}");
                assert_eq!(steps.start, ["a"]);
            }
        }
    }
}

#[test]
fn a_failed_init_container_ends_a_pod_that_is_never_restarted() {
    let spec = |policy: &str| {
        pod(
            serde_json::json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
        )
    };
    let mut state = with_sandbox(true);
    state.put(record(&spec("Never"), "i", RunState::Exited, 3, 1));
    assert_eq!(plan(&spec("Never"), &state, &backoff(), at(50)), Plan::Finish);
    assert_eq!(steps(plan(&spec("OnFailure"), &state, &backoff(), at(50))).start, ["i"]);
}

#[test]
fn a_crashing_container_waits_for_its_back_off() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a"}]}));
    let mut state = with_sandbox(true);
    state.put(record(&pod, "a", RunState::Exited, 1, 1));
    let mut backoff = backoff();
    backoff.next("a", at(1));
    let early = steps(plan(&pod, &state, &backoff, at(3)));
    assert_eq!(early.backing_off, [("a".to_owned(), at(12))]);
    assert_eq!((early.wake, early.start.len()), (Some(at(12)), 0));
    assert_eq!(steps(plan(&pod, &state, &backoff, at(12))).start, ["a"]);
}

#[test]
fn a_failed_probe_or_a_new_image_kills_the_container() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a", "image": "x"}]}));
    let mut state = with_sandbox(true);
    state.put(record(&pod, "a", RunState::Running, 0, 1));
    let failed = ProbeFailure { probe: "liveness", grace: Some(3) };
    state.probes.insert("a-1".into(), ProbeResults { failed: Some(failed), ..ProbeResults::default() });
    let kill = steps(plan(&pod, &state, &backoff(), at(3))).kill;
    assert_eq!(kill[0].message, "Container a failed liveness probe, will be restarted");
    assert_eq!(kill[0].grace, Some(3));
    state.probes.clear();
    let mut other = record(&pod, "a", RunState::Running, 0, 1);
    other.hash = "other".into();
    state.put(other);
    assert_eq!(steps(plan(&pod, &state, &backoff(), at(3))).kill.len(), 1);
}

#[test]
fn a_dead_sandbox_is_replaced_and_initialization_starts_over() {
    let pod = pod(serde_json::json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let mut state = with_sandbox(false);
    state.put(record(&pod, "i", RunState::Exited, 0, 1));
    state.put(record(&pod, "a", RunState::Exited, 137, 2));
    let steps = steps(plan(&pod, &state, &backoff(), at(50)));
    assert_eq!((steps.sandbox, steps.start), (Some(1), vec!["i".to_owned()]));
}
