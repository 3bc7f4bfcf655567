//! Tables for the status.

use super::*;
use crate::pod::state::ProbeResults;
use crate::runtime::SandboxRecord;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(serde_json::json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap()
}

fn host() -> Host {
    Host { ip: "192.0.2.1".into(), runtime: "containerd".into() }
}

fn record(name: &str, state: RunState, exit_code: i32, created: i64) -> ContainerRecord {
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
        image: "i:1".into(),
        image_id: "sha256:1".into(),
        hash: String::new(),
        termination_file: None,
        message_from_logs: false,
        log_path: String::new(),
        made_with: None,
        actual: crate::runtime::Actual::default(),
    }
}

fn state() -> PodState {
    PodState {
        sandbox: Some(SandboxRecord {
            id: "s".into(),
            attempt: 0,
            ready: true,
            created_at: at(0),
            ips: vec!["10.0.0.2".into()],
        }),
        ..PodState::default()
    }
}

fn find<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_).unwrap()
}

#[test]
fn a_new_pod_is_creating_its_containers() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a", "image": "i:1"}]}));
    let status = compute(&pod, &PodState::default(), &host(), at(0));
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let waiting = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
    assert_eq!(find(&status, "Ready").message.as_deref(), Some("containers with unready status: [a]"));
    assert_eq!(find(&status, "PodReadyToStartContainers").status, "False");
}

#[test]
fn a_running_pod_is_ready_once_its_probe_says_so() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a", "readinessProbe": {}}]}));
    let mut state = state();
    state.put(record("a", RunState::Running, 0, 1));
    let status = compute(&pod, &state, &host(), at(5));
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.2"));
    assert_eq!(find(&status, "Ready").reason.as_deref(), Some("ContainersNotReady"));
    state.probes.insert("a-1".into(), ProbeResults { ready: Some(true), ..ProbeResults::default() });
    assert_eq!(find(&compute(&pod, &state, &host(), at(5)), "Ready").status, "True");
}

#[test]
fn a_container_in_back_off_shows_how_it_ended_last() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a"}]}));
    let mut state = state();
    state.put(record("a", RunState::Exited, 3, 1));
    state.waiting.insert("a".into(), Waiting::new("CrashLoopBackOff", "back-off 10s"));
    let status = compute(&pod, &state, &host(), at(5));
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(
        container.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    let last = container.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
}

#[test]
fn phases_of_ended_pods() {
    for (policy, exit_code, terminal, phase) in [
        ("Never", 0, false, "Succeeded"),
        ("Never", 1, false, "Failed"),
        ("OnFailure", 0, false, "Succeeded"),
        ("OnFailure", 1, false, "Running"),
        ("Always", 0, false, "Running"),
        ("Always", 0, true, "Succeeded"),
        ("Always", 137, true, "Failed"),
    ] {
        let pod = pod(serde_json::json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let mut state = state();
        state.terminated = terminal;
        state.put(record("a", RunState::Exited, exit_code, 1));
        let status = compute(&pod, &state, &host(), at(5));
        assert_eq!(status.phase.as_deref(), Some(phase), "{policy} {exit_code} {terminal}");
    }
}

#[test]
fn pods_wait_for_their_init_containers() {
    let pod = pod(
        serde_json::json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}),
    );
    let mut state = state();
    state.put(record("i", RunState::Exited, 0, 1));
    state.put(record("j", RunState::Running, 0, 2));
    let status = compute(&pod, &state, &host(), at(5));
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(
        find(&status, "Initialized").message.as_deref(),
        Some("containers with incomplete status: [j]")
    );
    let waiting = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
}

#[test]
fn the_time_of_a_transition_stays_while_the_status_does() {
    let mut pod = pod(serde_json::json!({"containers": [{"name": "a"}]}));
    let mut state = state();
    pod.status = Some(compute(&pod, &state, &host(), at(5)));
    let again = compute(&pod, &state, &host(), at(9));
    assert_eq!(pod.status.as_ref(), Some(&again));
    state.put(record("a", RunState::Running, 0, 6));
    let ready = compute(&pod, &state, &host(), at(9));
    assert_eq!(find(&ready, "Ready").last_transition_time.as_ref().unwrap().0, at(9));
}

#[test]
fn a_pod_past_its_deadline_has_failed() {
    let pod = pod(serde_json::json!({"containers": [{"name": "a"}]}));
    let mut state = state();
    state.put(record("a", RunState::Exited, 137, 1));
    state.failure =
        Some(crate::pod::state::Failure { reason: "DeadlineExceeded".into(), message: "too long".into() });
    let status = compute(&pod, &state, &host(), at(5));
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}
