//! Computes a pod's status from what is known of it. Pure; the texts are upstream's.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan;
use super::spec::{self, Kind, RestartPolicy};
use super::state::{PodState, Waiting};
use super::{resize, resources};
use crate::runtime::{ContainerRecord, RunState};

/// Facts about the node a status mentions.
#[derive(Debug, Clone)]
pub struct Host {
    /// The node's address.
    pub ip: String,
    /// Prefix of container ids, such as `containerd`.
    pub runtime: String,
}

/// The status of `pod`; what only others know (its scheduling, foreign conditions) is taken from its present one.
pub fn compute(pod: &Pod, state: &PodState, host: &Host, now: Timestamp) -> PodStatus {
    let spec = spec::spec(pod);
    let policy = spec::restart_policy(&spec);
    let empty = PodStatus::default();
    let old = pod.status.as_ref().unwrap_or(&empty);
    let initialized = plan::initialized(&spec, state) || (state.terminated && was_initialized(old));
    let has_init = spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
    let one = |kind: Kind, container: &Container, old: &[ContainerStatus]| {
        let known = old.iter().find(|status| status.name == container.name);
        container_status(kind, container, state, known, host, has_init)
    };
    let init: Vec<_> = spec::init_containers(&spec)
        .map(|(kind, container)| one(kind, container, old.init_container_statuses.as_deref().unwrap_or(&[])))
        .collect();
    let regular: Vec<_> = spec
        .containers
        .iter()
        .map(|container| one(Kind::Regular, container, old.container_statuses.as_deref().unwrap_or(&[])))
        .collect();
    let ephemeral: Vec<_> = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .filter_map(|container| spec::find_container(&spec, &container.name))
        .map(|(kind, container)| {
            one(kind, &container, old.ephemeral_container_statuses.as_deref().unwrap_or(&[]))
        })
        .collect();
    let phase = match &state.failure {
        Some(_) if state.terminated || !state.any_running() => "Failed",
        _ => phase(&spec, policy, &init, &regular, initialized, state.terminated),
    };
    let ips = pod_ips(pod, state, old, host);
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        host_ip: Some(host.ip.clone()),
        host_ips: Some(vec![HostIP { ip: host.ip.clone() }]),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        qos_class: Some(
            old.qos_class.clone().unwrap_or_else(|| resources::qos_class(&spec).as_str().to_owned()),
        ),
        start_time: old.start_time.clone().or_else(|| Some(Time(state.start_time.unwrap_or(now)))),
        reason: state.failure.as_ref().map(|failure| failure.reason.clone()),
        message: state.failure.as_ref().map(|failure| failure.message.clone()),
        observed_generation: pod.metadata.generation,
        nominated_node_name: old.nominated_node_name.clone(),
        resource_claim_statuses: old.resource_claim_statuses.clone(),
        ..PodStatus::default()
    };
    let conditions = conditions(pod, &spec, state, phase, &init, &regular);
    status.conditions = Some(merge_conditions(old.conditions.as_deref().unwrap_or(&[]), conditions, now));
    status.init_container_statuses = (!init.is_empty()).then_some(init);
    status.container_statuses = Some(regular);
    status.ephemeral_container_statuses = (!ephemeral.is_empty()).then_some(ephemeral);
    status
}

fn was_initialized(old: &PodStatus) -> bool {
    old.conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Initialized" && condition.status == "True")
}

fn pod_ips(pod: &Pod, state: &PodState, old: &PodStatus, host: &Host) -> Vec<String> {
    if spec::host_network(pod) {
        return if state.sandbox.is_some() { vec![host.ip.clone()] } else { Vec::new() };
    }
    let current = state.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    if current.is_empty() && state.terminated {
        return old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    current
}

fn terminated(record: &ContainerRecord, host: &Host) -> ContainerState {
    let reason = match record.reason.as_str() {
        "" if record.exit_code == 0 => "Completed",
        "" => "Error",
        reason => reason,
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(format!("{}://{}", host.runtime, record.id)),
            exit_code: record.exit_code,
            finished_at: Some(Time(whole_seconds(record.finished_at.unwrap_or_default()))),
            message: (!record.message.is_empty()).then(|| record.message.clone()),
            reason: Some(reason.to_owned()),
            signal: None,
            started_at: Some(Time(whole_seconds(record.started_at.unwrap_or_default()))),
        }),
        ..ContainerState::default()
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn waiting(waiting: &Waiting) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(waiting.reason.clone()),
            message: (!waiting.message.is_empty()).then(|| waiting.message.clone()),
        }),
        ..ContainerState::default()
    }
}

fn container_status(
    kind: Kind,
    container: &Container,
    state: &PodState,
    old: Option<&ContainerStatus>,
    host: &Host,
    has_init: bool,
) -> ContainerStatus {
    let records = state.containers.get(&container.name).map(Vec::as_slice).unwrap_or_default();
    let latest = records.first();
    let reason = state.waiting.get(&container.name);
    let default_reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
    let mut last = records.get(1).filter(|record| record.state == RunState::Exited);
    let current = match (latest, reason) {
        (Some(record), _) if record.state == RunState::Running => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: record.started_at.map(whole_seconds).map(Time),
            }),
            ..ContainerState::default()
        },
        (Some(record), Some(reason)) => {
            if record.state == RunState::Exited {
                last = Some(record);
            }
            waiting(reason)
        }
        (Some(record), None) if record.state == RunState::Exited => terminated(record, host),
        (None, None) if old.is_some_and(is_terminated) => {
            old.and_then(|old| old.state.clone()).unwrap_or_default()
        }
        (_, Some(reason)) => waiting(reason),
        (_, None) => waiting(&Waiting::new(default_reason, "")),
    };
    let started = latest.is_some_and(|record| state.started(record, container.startup_probe.is_some()));
    let ready = match (kind, latest) {
        (Kind::Init, Some(record)) => {
            record.state == RunState::Exited && record.exit_code == 0 && reason.is_none()
        }
        (Kind::Init, None) => old.is_some_and(|old| old.ready),
        (Kind::Ephemeral, _) => false,
        (_, Some(record)) => {
            started
                && (container.readiness_probe.is_none()
                    || state.probes.get(&record.id).is_some_and(|probes| probes.ready == Some(true)))
        }
        (_, None) => false,
    };
    let last_state = last.map(|record| terminated(record, host)).or_else(|| {
        old.filter(|_| records.len() < 2).and_then(|old| match latest {
            None => old.last_state.clone().filter(|state| state.terminated.is_some()),
            Some(record) => {
                old.last_state.clone().filter(|state| state.terminated.is_some() && record.attempt > 0)
            }
        })
    });
    let count = latest.map_or_else(
        || old.map_or(0, |old| old.restart_count),
        |record| i32::try_from(record.attempt).unwrap_or(i32::MAX),
    );
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: latest
            .map(|record| record.image.clone())
            .filter(|image| !image.is_empty() && !image.starts_with("sha256:"))
            .unwrap_or_else(|| container.image.clone().unwrap_or_default()),
        image_id: latest
            .map(|record| record.image_id.clone())
            .or_else(|| old.map(|old| old.image_id.clone()))
            .unwrap_or_default(),
        container_id: latest
            .map(|record| format!("{}://{}", host.runtime, record.id))
            .or_else(|| old.and_then(|old| old.container_id.clone())),
        ready,
        started: Some(started),
        restart_count: count,
        state: Some(current),
        last_state: Some(last_state.unwrap_or_default()),
        ..ContainerStatus::default()
    };
    let given = latest.and_then(|record| state.resize.given(record));
    resize::status::add(&mut status, container, latest, given, old);
    status
}

fn is_terminated(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn phase(
    spec: &PodSpec,
    policy: RestartPolicy,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
    initialized: bool,
    terminal: bool,
) -> &'static str {
    let exit = |status: &ContainerStatus| {
        let current = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        current.map(|terminated| terminated.exit_code)
    };
    let failed_init = spec::init_containers(spec)
        .zip(init)
        .any(|((kind, _), status)| kind == Kind::Init && exit(status).is_some_and(|code| code != 0));
    if failed_init && policy == RestartPolicy::Never {
        return "Failed";
    }
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for status in regular {
        let current = status.state.clone().unwrap_or_default();
        let ended_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
        match (current.running, exit(status)) {
            (Some(_), _) => running += 1,
            (None, Some(code)) => {
                stopped += 1;
                succeeded += i32::from(code == 0);
            }
            (None, None) if ended_before => stopped += 1,
            (None, None) => waiting += 1,
        }
    }
    if !initialized && terminal {
        "Failed"
    } else if !initialized || waiting > 0 {
        if terminal { "Failed" } else { "Pending" }
    } else if running > 0 {
        "Running"
    } else if stopped > 0 {
        if terminal {
            return if stopped == succeeded { "Succeeded" } else { "Failed" };
        }
        match policy {
            RestartPolicy::Always => "Running",
            _ if stopped == succeeded => "Succeeded",
            RestartPolicy::Never => "Failed",
            RestartPolicy::OnFailure => "Running",
        }
    } else {
        "Pending"
    }
}

fn condition(type_: &str, status: bool, reason: &str, message: String) -> PodCondition {
    PodCondition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: (!message.is_empty()).then_some(message),
        ..PodCondition::default()
    }
}

fn conditions(
    pod: &Pod,
    spec: &PodSpec,
    state: &PodState,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> Vec<PodCondition> {
    let sandbox_ready = state
        .sandbox
        .as_ref()
        .is_some_and(|sandbox| sandbox.ready && (!sandbox.ips.is_empty() || spec.host_network == Some(true)));
    let mut conditions =
        vec![condition("PodReadyToStartContainers", sandbox_ready && !state.terminated, "", String::new())];
    conditions.push(initialized_condition(spec, state, phase, init, regular));
    let ready = ready_condition("ContainersReady", spec, phase, init, regular);
    let gates = readiness_gates(pod, spec);
    conditions.push(match gates {
        Some(message) if ready.status == "True" => {
            condition("Ready", false, "ReadinessGatesNotReady", message)
        }
        _ => PodCondition { type_: "Ready".to_owned(), ..ready.clone() },
    });
    conditions.push(ready);
    conditions.push(condition("PodScheduled", true, "", String::new()));
    for condition in &mut conditions {
        condition.observed_generation = pod.metadata.generation;
    }
    conditions.extend(state.resize.conditions());
    conditions
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

fn initialized_condition(
    spec: &PodSpec,
    state: &PodState,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> PodCondition {
    if phase == "Succeeded" {
        return condition("Initialized", true, "PodCompleted", String::new());
    }
    let main_started = regular.iter().any(|status| {
        let seen = |state: &Option<ContainerState>| {
            state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        };
        seen(&status.state) || seen(&status.last_state)
    });
    if main_started || plan::initialized(spec, state) {
        return condition("Initialized", true, "", String::new());
    }
    let incomplete = spec::init_containers(spec)
        .zip(init)
        .filter(|((kind, _), status)| match kind {
            Kind::Sidecar => status.started != Some(true),
            _ => !status.ready,
        })
        .map(|(_, status)| status.name.as_str());
    let message = format!("containers with incomplete status: [{}]", names(incomplete));
    condition("Initialized", false, "ContainersNotInitialized", message)
}

fn ready_condition(
    type_: &str,
    spec: &PodSpec,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> PodCondition {
    match phase {
        "Succeeded" => return condition(type_, false, "PodCompleted", String::new()),
        "Failed" => return condition(type_, false, "PodFailed", String::new()),
        _ => {}
    }
    let sidecars = spec::init_containers(spec)
        .zip(init)
        .filter(|((kind, _), _)| *kind == Kind::Sidecar)
        .map(|(_, status)| status);
    let unready: Vec<&str> =
        sidecars.chain(regular).filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    if unready.is_empty() {
        return condition(type_, true, "", String::new());
    }
    let message = format!("containers with unready status: [{}]", names(unready.into_iter()));
    condition(type_, false, "ContainersNotReady", message)
}

fn readiness_gates(pod: &Pod, spec: &PodSpec) -> Option<String> {
    let known = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
    let problems: Vec<String> = spec
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let name = &gate.condition_type;
            match known.iter().find(|condition| &condition.type_ == name) {
                None => {
                    Some(format!("corresponding condition of pod readiness gate \"{name}\" does not exist."))
                }
                Some(condition) if condition.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{name}\" is not \"True\", but {}",
                    condition.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    (!problems.is_empty()).then(|| problems.join(", "))
}

/// Ours over the present ones; the time of the last transition stays where the status did.
fn merge_conditions(old: &[PodCondition], ours: Vec<PodCondition>, now: Timestamp) -> Vec<PodCondition> {
    let mut merged: Vec<PodCondition> = Vec::with_capacity(ours.len());
    for mut condition in ours {
        let known = old.iter().find(|known| known.type_ == condition.type_);
        condition.last_transition_time = match known {
            _ if condition.last_transition_time.is_some() => condition.last_transition_time,
            Some(known) if known.status == condition.status => {
                known.last_transition_time.clone().or(Some(Time(now)))
            }
            _ => Some(Time(now)),
        };
        merged.push(condition);
    }
    // Those of a resize are ours alone: they are gone when we do not tell them.
    let resize = [resize::condition::PENDING, resize::condition::IN_PROGRESS];
    let foreign = old.iter().filter(|known| !merged.iter().any(|ours| ours.type_ == known.type_));
    let foreign = foreign.filter(|known| !resize.contains(&known.type_.as_str()));
    let foreign: Vec<_> = foreign.cloned().collect();
    merged.extend(foreign);
    merged
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
