//! Decides what has to be done for a pod. Pure: everything it looks at is in its arguments.
//!
//! Rules (upstream's): a pod whose work is over is finished; a pod without a live sandbox gets a new one, and its
//! init containers run again; init containers run one after the other, sidecars among them only have to have
//! started; regular containers start together once all that is done; whatever ended is started again as the
//! restart policy says, after its back-off; a container whose probe failed or whose image changed is killed first.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::backoff::Backoff;
use super::spec::{self, Kind, RestartPolicy};
use super::state::PodState;
use crate::runtime::{ContainerRecord, RunState};

/// A container to kill.
#[derive(Debug, Clone, PartialEq)]
pub struct Kill {
    /// Its name.
    pub name: String,
    /// Its runtime id.
    pub id: String,
    /// Message of the `Killing` event.
    pub message: String,
    /// Grace period when it is not the pod's.
    pub grace: Option<u64>,
}

/// Containers to start and to kill, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steps {
    /// A sandbox with this attempt number has to be made first; everything of the old one goes.
    pub sandbox: Option<u32>,
    /// Containers to kill.
    pub kill: Vec<Kill>,
    /// Containers to start, in order.
    pub start: Vec<String>,
    /// Containers waiting for their back-off, and until when.
    pub backing_off: Vec<(String, Timestamp)>,
    /// When to look again without any event.
    pub wake: Option<Timestamp>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// The pod's work is over (or it must end): stop what is left.
    Finish,
    /// Bring it where it should be.
    Run(Steps),
}

struct Planner<'a> {
    state: &'a PodState,
    policy: RestartPolicy,
    backoff: &'a Backoff,
    now: Timestamp,
    steps: Steps,
}

/// What has to be done for `pod`, given what is known of it.
pub fn plan(pod: &Pod, state: &PodState, backoff: &Backoff, now: Timestamp) -> Plan {
    let spec = spec::spec(pod);
    let policy = spec::restart_policy(&spec);
    if finished(&spec, state, policy) {
        return Plan::Finish;
    }
    let mut planner = Planner { state, policy, backoff, now, steps: Steps::default() };
    match &state.sandbox {
        Some(sandbox) if sandbox.ready => planner.containers(&spec),
        Some(sandbox) => planner.steps.sandbox = Some(sandbox.attempt + 1),
        None => planner.steps.sandbox = Some(0),
    }
    if planner.steps.sandbox.is_some() {
        planner.first_containers(&spec);
    }
    Plan::Run(planner.steps)
}

/// Whether the pod's work is over: every regular container has ended for good, or initialization has failed.
pub fn finished(spec: &PodSpec, state: &PodState, policy: RestartPolicy) -> bool {
    if state.failure.is_some() {
        return true;
    }
    let ended_for_good = |container: &Container| {
        state.latest(&container.name).is_some_and(|record| {
            record.state == RunState::Exited
                && !restarts(policy, Kind::Regular, record)
                && !state.resize.restarting.contains(&record.id)
        })
    };
    if !spec.containers.is_empty() && spec.containers.iter().all(ended_for_good) {
        return true;
    }
    policy == RestartPolicy::Never
        && !spec.containers.iter().any(|container| state.latest(&container.name).is_some())
        && spec::init_containers(spec).any(|(kind, container)| {
            kind == Kind::Init
                && state
                    .latest(&container.name)
                    .is_some_and(|record| record.state == RunState::Exited && record.exit_code != 0)
        })
}

fn restarts(policy: RestartPolicy, kind: Kind, record: &ContainerRecord) -> bool {
    match (kind, policy) {
        (Kind::Ephemeral, _) => false,
        (Kind::Sidecar, _) | (Kind::Regular, RestartPolicy::Always) => true,
        (Kind::Init, RestartPolicy::Always | RestartPolicy::OnFailure)
        | (Kind::Regular, RestartPolicy::OnFailure) => record.exit_code != 0,
        (_, RestartPolicy::Never) => false,
    }
}

/// Whether all init containers are through, so that regular containers may run.
pub fn initialized(spec: &PodSpec, state: &PodState) -> bool {
    if spec.containers.iter().any(|container| state.current(&container.name).is_some()) {
        return true;
    }
    spec::init_containers(spec).all(|(kind, container)| {
        state.current(&container.name).is_some_and(|record| match kind {
            Kind::Sidecar => state.started(record, container.startup_probe.is_some()),
            _ => record.state == RunState::Exited && record.exit_code == 0,
        })
    })
}

impl Planner<'_> {
    /// With a sandbox yet to be made: the first init container, or all regular ones.
    fn first_containers(&mut self, spec: &PodSpec) {
        match spec::init_containers(spec).next() {
            Some((_, container)) => self.start(container, None),
            None => {
                for container in &spec.containers {
                    let ended = self.state.latest(&container.name).filter(|r| r.state == RunState::Exited);
                    if ended.is_none_or(|record| restarts(self.policy, Kind::Regular, record)) {
                        self.start(container, ended);
                    }
                }
            }
        }
    }

    fn containers(&mut self, spec: &PodSpec) {
        let main_started = spec.containers.iter().any(|c| self.state.current(&c.name).is_some());
        for (kind, container) in spec::init_containers(spec) {
            let through = self.init_container(kind, container, main_started);
            if !through && !main_started {
                self.ephemeral(spec);
                return;
            }
        }
        for container in &spec.containers {
            self.running_or_start(Kind::Regular, container);
        }
        self.ephemeral(spec);
    }

    fn ephemeral(&mut self, spec: &PodSpec) {
        for container in spec.ephemeral_containers.iter().flatten() {
            if self.state.latest(&container.name).is_none()
                && let Some((_, container)) = spec::find_container(spec, &container.name)
            {
                self.start(&container, None);
            }
        }
    }

    /// Handles one init container; says whether the next one may go on.
    fn init_container(&mut self, kind: Kind, container: &Container, main_started: bool) -> bool {
        if kind == Kind::Sidecar {
            self.running_or_start(kind, container);
            return self
                .state
                .current(&container.name)
                .is_some_and(|record| self.state.started(record, container.startup_probe.is_some()));
        }
        if main_started {
            return true;
        }
        match self.state.current(&container.name) {
            None => {
                self.start(container, None);
                false
            }
            Some(record) => match record.state {
                RunState::Exited if record.exit_code == 0 => true,
                RunState::Exited | RunState::Unknown => {
                    if restarts(self.policy, kind, record) {
                        self.start(container, Some(record));
                    }
                    false
                }
                RunState::Created => {
                    self.start(container, Some(record));
                    false
                }
                RunState::Running => false,
            },
        }
    }

    fn running_or_start(&mut self, kind: Kind, container: &Container) {
        let Some(record) = self.state.current(&container.name) else {
            let previous = self.state.latest(&container.name).filter(|r| r.state == RunState::Exited);
            if previous.is_none_or(|record| self.restarts(kind, record)) {
                self.start(container, previous);
            }
            return;
        };
        match record.state {
            RunState::Running => self.keep_or_kill(container, record),
            RunState::Created => self.start(container, Some(record)),
            RunState::Exited | RunState::Unknown => {
                if self.restarts(kind, record) {
                    self.start(container, Some(record));
                }
            }
        }
    }

    /// Whether a container that has ended runs again: what was ended to be resized does under every policy.
    fn restarts(&self, kind: Kind, record: &ContainerRecord) -> bool {
        restarts(self.policy, kind, record) || self.state.resize.restarting.contains(&record.id)
    }

    fn keep_or_kill(&mut self, container: &Container, record: &ContainerRecord) {
        let failure = self.state.probes.get(&record.id).and_then(|probes| probes.failed.as_ref());
        let (message, grace) = if let Some(failure) = failure {
            (format!("Container {} failed {} probe", container.name, failure.probe), failure.grace)
        } else if record.hash != spec::container_hash(container) {
            (format!("Container {} definition changed", container.name), None)
        } else {
            return;
        };
        let message = if self.policy == RestartPolicy::Never {
            message
        } else {
            format!("{message}, will be restarted")
        };
        self.steps.kill.push(Kill { name: container.name.clone(), id: record.id.clone(), message, grace });
    }

    fn start(&mut self, container: &Container, previous: Option<&ContainerRecord>) {
        let name = &container.name;
        if let Some(at) = self.state.retry_at.get(name)
            && *at > self.now
        {
            self.wake(*at);
            return;
        }
        if let Some(record) = previous
            && record.state == RunState::Exited
        {
            let since = record.finished_at.unwrap_or(record.created_at);
            if let Some(until) = self.backoff.until(name, since, self.now) {
                self.steps.backing_off.push((name.clone(), until));
                self.wake(until);
                return;
            }
        }
        self.steps.start.push(name.clone());
    }

    fn wake(&mut self, at: Timestamp) {
        self.steps.wake = Some(self.steps.wake.map_or(at, |known| known.min(at)));
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
