//! What a pod takes of its node (upstream's `PodRequests` with `UseStatusResources`). Of a pod that is resized the most
//! counts of what it asks for, what its node has allocated to it and what it still has; what it asks for does not where
//! its node will never give it.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodStatus};

use super::{Requests, Resources};

/// Containers run together, init containers one after the other before them, and sidecars from their turn on.
pub(super) fn of_pod(spec: &PodSpec, status: &PodStatus) -> Resources {
    let infeasible = infeasible(status);
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&effective(container, status.container_statuses.as_deref(), infeasible));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut now = if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&effective(container, status.init_container_statuses.as_deref(), infeasible));
            Resources::default()
        } else {
            parsed(asked(container))
        };
        now.add(&sidecars);
        peak.max(&now);
    }
    total.add(&sidecars);
    total.max(&peak);
    whole(spec, status, infeasible, &mut total);
    if let Some(overhead) = spec.overhead.as_ref() {
        total.add(&Resources::parse(overhead));
    }
    total
}

/// What is asked for the pod as a whole counts instead of the sum over its containers.
fn whole(spec: &PodSpec, status: &PodStatus, infeasible: bool, total: &mut Resources) {
    let Some(asked) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) else {
        return;
    };
    let amounts = match &status.resources {
        None => Resources::parse(asked),
        Some(has) => {
            most(Some(asked), status.allocated_resources.as_ref(), has.requests.as_ref(), infeasible)
        }
    };
    if asked.contains_key("cpu") {
        total.cpu = amounts.cpu;
    }
    if asked.contains_key("memory") {
        total.memory = amounts.memory;
    }
}

fn infeasible(status: &PodStatus) -> bool {
    let pending = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodResizePending");
    pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

fn asked(container: &Container) -> Option<&Requests> {
    container.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

fn parsed(list: Option<&Requests>) -> Resources {
    list.map(Resources::parse).unwrap_or_default()
}

fn most(
    asked: Option<&Requests>,
    allocated: Option<&Requests>,
    has: Option<&Requests>,
    infeasible: bool,
) -> Resources {
    let mut most = parsed(has);
    most.max(&parsed(allocated));
    if !infeasible {
        most.max(&parsed(asked));
    }
    most
}

fn effective(container: &Container, statuses: Option<&[ContainerStatus]>, infeasible: bool) -> Resources {
    let status = statuses.into_iter().flatten().find(|status| status.name == container.name);
    match status.and_then(|status| Some((status, status.resources.as_ref()?))) {
        None => parsed(asked(container)),
        Some((status, has)) => {
            most(asked(container), status.allocated_resources.as_ref(), has.requests.as_ref(), infeasible)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::pod::PodInfo;

    #[test]
    fn the_most_counts_while_a_pod_is_resized() {
        // asked for, allocated, there, reason, expected
        for (asked, allocated, has, reason, expected) in [
            ("1", "1", "1", "", 1000),
            ("3", "1", "1", "Deferred", 3000),
            ("1", "1", "3", "", 3000),
            ("1", "2", "1", "", 2000),
            ("3", "2", "1", "Infeasible", 2000),
        ] {
            let of = |cpu: &str| json!({"requests": {"cpu": cpu}});
            let status = json!([{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "allocatedResources": {"cpu": allocated}, "resources": of(has)}]);
            let pod = json!({
                "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c", "resources": of(asked)}]},
                "status": {
                    "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                    "containerStatuses": status,
                },
            });
            let sidecar = json!({
                "metadata": {"name": "p"},
                "spec": {"containers": [], "initContainers": [
                    {"name": "c", "resources": of(asked), "restartPolicy": "Always"}]},
                "status": {
                    "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                    "initContainerStatuses": status,
                },
            });
            for pod in [pod, sidecar] {
                let info = PodInfo::new(serde_json::from_value(pod).expect("a pod"));
                assert_eq!(info.requests.cpu, expected, "{asked} {allocated} {has} {reason}");
            }
        }
    }
}
