//! Which containers have to be given other resources than they have, and how. Pure.
//!
//! Decreases come before increases, so that the sum never exceeds what is allocated; a container whose policy wants it
//! is restarted instead, with what is allocated then.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::amounts::Amounts;
use crate::pod::plan::Kill;
use crate::pod::resources::{self, PodLimits};
use crate::pod::spec::{self, Kind};
use crate::pod::state::PodState;
use crate::runtime::RunState;

/// A container to be given other resources while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Its name.
    pub name: String,
    /// Its runtime id.
    pub id: String,
    /// What it has.
    pub from: Amounts,
    /// What it shall have.
    pub to: Amounts,
}

/// What a pod's resize takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions {
    /// Containers to restart.
    pub restart: Vec<Kill>,
    /// Containers whose memory changes, in order.
    pub memory: Vec<Update>,
    /// Containers whose CPU changes, in order.
    pub cpu: Vec<Update>,
    /// Limits of the pod's cgroup as they are.
    pub before: PodLimits,
    /// As they shall be.
    pub after: PodLimits,
}

impl Actions {
    /// Whether running containers have other resources than are allocated.
    pub fn in_progress(&self) -> bool {
        self.updates() || !self.restart.is_empty()
    }

    /// Whether containers are to be updated in place.
    pub fn updates(&self) -> bool {
        !self.memory.is_empty() || !self.cpu.is_empty()
    }
}

/// What `pod`, with its allocated resources, still needs.
pub fn plan(pod: &Pod, state: &PodState) -> Actions {
    let spec = spec::spec(pod);
    let mut actions = Actions::default();
    for (kind, container) in spec::all_containers(&spec) {
        let Some((id, from)) = given(state, kind, &container) else { continue };
        let to = Amounts::of(&container);
        let memory = change((from.memory_limit, to.memory_limit), (from.memory_request, to.memory_request));
        let cpu = change((from.cpu_limit, to.cpu_limit), (from.cpu_request, to.cpu_request));
        let restarts = |resource: &str, change: Option<bool>| {
            change.is_some() && kind != Kind::Init && restarts(&container, resource)
        };
        let name = container.name.clone();
        if restarts("cpu", cpu) || restarts("memory", memory) {
            let message = format!("Container {name} resize requires restart");
            actions.restart.push(Kill { name, id, message, grace: None });
            continue;
        }
        let update = Update { name, id, from, to };
        for (grows, list) in [(memory, &mut actions.memory), (cpu, &mut actions.cpu)] {
            match grows {
                Some(true) => list.push(update.clone()),
                Some(false) => list.insert(0, update.clone()),
                None => {}
            }
        }
    }
    if actions.updates() {
        actions.before = resources::pod_limits(&given_spec(&spec, state));
        actions.after = resources::pod_limits(&spec);
    }
    actions
}

/// Whether a running container has other resources than its specification says.
pub fn differs(spec: &PodSpec, state: &PodState) -> bool {
    spec::all_containers(spec).any(|(kind, container)| {
        given(state, kind, &container).is_some_and(|(_, given)| given != Amounts::of(&container))
    })
}

/// Limits for the pod's cgroup that neither what its containers have nor what is allocated exceeds.
pub fn safe_limits(spec: &PodSpec, state: &PodState) -> PodLimits {
    let (given, allocated) = (resources::pod_limits(&given_spec(spec, state)), resources::pod_limits(spec));
    let larger = |a: Option<i64>, b: Option<i64>| Some(a?.max(b?));
    PodLimits {
        shares: given.shares.max(allocated.shares),
        quota: larger(given.quota, allocated.quota),
        memory: larger(given.memory, allocated.memory),
    }
}

/// The specification with what running containers were given.
pub fn given_spec(spec: &PodSpec, state: &PodState) -> PodSpec {
    let mut spec = spec.clone();
    let PodSpec { containers, init_containers, .. } = &mut spec;
    for container in containers.iter_mut().chain(init_containers.iter_mut().flatten()) {
        if let Some((_, amounts)) = given(state, Kind::Regular, container) {
            amounts.write(container.resources.get_or_insert_default());
        }
    }
    spec
}

/// Id and resources of a running container that can be resized, where they are known.
fn given(state: &PodState, kind: Kind, container: &Container) -> Option<(String, Amounts)> {
    let record = state.current(&container.name).filter(|record| record.state == RunState::Running)?;
    (kind != Kind::Ephemeral).then_some(())?;
    Some((record.id.clone(), state.resize.given(record)?))
}

/// Whether something grows (`true`), shrinks or stays: the limit decides, then the request.
fn change(limit: (i64, i64), request: (i64, i64)) -> Option<bool> {
    let grows = |(from, to): (i64, i64)| (from != to).then_some(to > from);
    grows(limit).or_else(|| grows(request))
}

fn restarts(container: &Container, resource: &str) -> bool {
    let mut policies = container.resize_policy.iter().flatten();
    policies
        .find(|policy| policy.resource_name == resource)
        .is_some_and(|policy| policy.restart_policy == "RestartContainer")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub mod tests;
