//! Tables for the planner of resizes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::runtime::{ContainerRecord, SandboxRecord};

/// A pod with one container `a`.
pub fn pod(cpu: &str, memory: &str) -> Pod {
    of(json!([{"name": "a", "resources": {
        "requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}}]))
}

fn of(containers: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers}}))
        .unwrap()
}

/// All containers of a pod run, with the resources it has now.
pub fn running(pod: &Pod) -> PodState {
    let at = |second| Timestamp::from_second(second).unwrap();
    let sandbox =
        SandboxRecord { id: "s".into(), attempt: 0, ready: true, created_at: at(1), ips: Vec::new() };
    let mut state = PodState { sandbox: Some(sandbox), ..PodState::default() };
    for (_, container) in spec::all_containers(&spec::spec(pod)) {
        state.put(ContainerRecord {
            id: format!("id-{}", container.name),
            name: container.name.clone(),
            attempt: 0,
            state: RunState::Running,
            created_at: at(2),
            started_at: Some(at(2)),
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_id: String::new(),
            hash: String::new(),
            termination_file: None,
            message_from_logs: false,
            log_path: String::new(),
            made_with: Some(Amounts::of(&container)),
            actual: crate::runtime::Actual::default(),
        });
    }
    state
}

fn names(updates: &[Update]) -> Vec<&str> {
    updates.iter().map(|update| update.name.as_str()).collect()
}

#[test]
fn nothing_changes_where_all_is_as_allocated() {
    let actions = plan(&pod("1", "1Gi"), &running(&pod("1", "1Gi")));
    assert!(!actions.in_progress());
    assert_eq!(actions.before, actions.after);
}

#[test]
fn each_resource_is_updated_where_it_changed() {
    // cpu and memory before and after, cpu and memory updated
    for (before, after, cpu, memory) in [
        (("1", "1Gi"), ("2", "1Gi"), true, false),
        (("1", "1Gi"), ("1", "2Gi"), false, true),
        (("1", "1Gi"), ("2", "512Mi"), true, true),
    ] {
        let actions = plan(&pod(after.0, after.1), &running(&pod(before.0, before.1)));
        assert_eq!((actions.cpu.len(), actions.memory.len()), (usize::from(cpu), usize::from(memory)));
        assert!(actions.in_progress() && actions.restart.is_empty());
    }
    let request = |cpu: &str| of(json!([{"name": "a", "resources": {"requests": {"cpu": cpu}}}]));
    assert_eq!(plan(&request("2"), &running(&request("1"))).cpu.len(), 1);
}

#[test]
fn decreases_come_first_and_the_pod_is_limited_by_the_sum() {
    let three = |a: &str, b: &str, c: &str| {
        let one = |name, cpu| json!({"name": name, "resources": {"limits": {"cpu": cpu, "memory": "1Gi"}}});
        of(json!([one("a", a), one("b", b), one("c", c)]))
    };
    let actions = plan(&three("3", "1", "5"), &running(&three("2", "3", "4")));
    assert_eq!(names(&actions.cpu), ["b", "a", "c"]);
    assert_eq!((actions.before.quota, actions.after.quota), (Some(900_000), Some(900_000)));
    assert_eq!(actions.cpu[0].from.cpu_limit, 3000);
    assert_eq!(actions.cpu[0].to.cpu_limit, 1000);
}

#[test]
fn a_container_restarts_where_its_policy_wants_it() {
    let with = |cpu: &str, memory: &str| {
        of(json!([{"name": "a", "resources": {"limits": {"cpu": cpu, "memory": memory}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": "RestartContainer"}]}]))
    };
    let state = running(&with("1", "1Gi"));
    assert!(plan(&with("2", "1Gi"), &state).restart.is_empty());
    let actions = plan(&with("2", "2Gi"), &state);
    assert_eq!(actions.restart[0].message, "Container a resize requires restart");
    assert!(actions.in_progress() && !actions.updates());
}

#[test]
fn what_does_not_run_or_is_not_known_is_left() {
    let new = pod("2", "1Gi");
    let mut state = running(&pod("1", "1Gi"));
    state.resize.given.insert("id-a".into(), Amounts::of(&spec::spec(&new).containers[0]));
    assert!(!plan(&new, &state).in_progress(), "it was given that already");
    let mut state = running(&pod("1", "1Gi"));
    state.containers.get_mut("a").unwrap()[0].state = RunState::Exited;
    assert!(!plan(&new, &state).in_progress());
    let mut state = running(&pod("1", "1Gi"));
    state.containers.get_mut("a").unwrap()[0].made_with = None;
    assert!(!plan(&new, &state).in_progress());
}
