//! The resources a container's status tells: what is allocated, and what it has as the runtime reports it.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::amounts::{Amounts, cpu, memory};
use crate::runtime::{ContainerRecord, RunState};

/// Below this the kernel's smallest quota is more: what is allocated is told.
const MIN_LIMIT: i64 = 10;
/// The same of shares.
const MIN_REQUEST: i64 = 2;

/// Adds them to the status of `container`, whose resources are those allocated; `given` is what it was given.
pub fn add(
    status: &mut ContainerStatus,
    container: &Container,
    record: Option<&ContainerRecord>,
    given: Option<Amounts>,
    old: Option<&ContainerStatus>,
) {
    let Some(record) = record else {
        status.resources = old.and_then(|old| old.resources.clone());
        status.allocated_resources = old.and_then(|old| old.allocated_resources.clone());
        return;
    };
    let mut resources = container.resources.clone().unwrap_or_default();
    resources.claims = None;
    status.allocated_resources = resources.requests.clone();
    if record.state == RunState::Running {
        actual(&mut resources, Amounts::of(container), record, given);
    }
    status.resources = Some(resources);
}

fn actual(
    resources: &mut ResourceRequirements,
    allocated: Amounts,
    record: &ContainerRecord,
    given: Option<Amounts>,
) {
    let actual = &record.actual;
    let quantity = |quantity: api_types::quantity::Quantity| ApiQuantity(quantity.to_string());
    if let Some(limits) = &mut resources.limits {
        if let Some(milli) = actual.cpu_limit.filter(|milli| (*milli).max(allocated.cpu_limit) > MIN_LIMIT) {
            limits.extend(cpu(milli).map(|amount| ("cpu".to_owned(), quantity(amount))));
        }
        if let Some(bytes) = actual.memory_limit.filter(|bytes| *bytes != allocated.memory_limit) {
            limits.extend(memory(bytes).map(|amount| ("memory".to_owned(), quantity(amount))));
        }
    }
    if let Some(requests) = &mut resources.requests {
        let shown = |milli: &i64| (*milli).max(allocated.cpu_request) > MIN_REQUEST;
        if let Some(milli) = actual.cpu_request.filter(shown) {
            requests.extend(cpu(milli).map(|amount| ("cpu".to_owned(), quantity(amount))));
        }
        if let Some(given) = given.filter(|given| given.memory_request != allocated.memory_request) {
            requests
                .extend(memory(given.memory_request).map(|amount| ("memory".to_owned(), quantity(amount))));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod::resize::plan::tests::running;
    use crate::runtime::Actual;

    #[test]
    fn running_containers_tell_what_they_have() {
        let requirements = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}});
        let actual = |cpu: i64, memory: i64| Actual {
            cpu_request: Some(cpu),
            cpu_limit: Some(cpu),
            memory_limit: Some(memory),
        };
        let given = |memory| Some(Amounts { memory_request: memory, ..Amounts::default() });
        for (allocated, actual, given, expected) in [
            (
                requirements("500m", "64M"),
                actual(500, 64_000_000),
                given(64_000_000),
                requirements("500m", "64M"),
            ),
            (
                requirements("1", "1Gi"),
                actual(500, 512 << 20),
                given(512 << 20),
                requirements("500m", "512Mi"),
            ),
            (requirements("1m", "1Gi"), actual(2, 1 << 30), None, requirements("1m", "1Gi")),
            (requirements("1", "1Gi"), Actual::default(), None, requirements("1", "1Gi")),
            (json!({}), actual(2, 0), given(0), json!({})),
            (json!({"requests": {"cpu": "1"}}), actual(250, 0), None, json!({"requests": {"cpu": "250m"}})),
        ] {
            let pod = serde_json::from_value(
                json!({"spec": {"containers": [{"name": "a", "resources": allocated}]}}),
            );
            let pod: k8s_openapi::api::core::v1::Pod = pod.unwrap();
            let mut record = running(&pod).latest("a").unwrap().clone();
            record.actual = actual;
            let mut status = ContainerStatus::default();
            let container = &pod.spec.as_ref().unwrap().containers[0];
            add(&mut status, container, Some(&record), given, None);
            let told: Value = serde_json::to_value(status.resources.unwrap()).unwrap();
            assert_eq!(told, expected, "{allocated}");
            let promised = serde_json::to_value(status.allocated_resources).unwrap();
            assert_eq!(promised, allocated.get("requests").cloned().unwrap_or_default());
            record.state = RunState::Exited;
            let mut status = ContainerStatus::default();
            add(&mut status, container, Some(&record), given, None);
            assert_eq!(
                serde_json::to_value(status.resources).unwrap(),
                allocated,
                "what does not run tells what it will get"
            );
        }
    }
}
