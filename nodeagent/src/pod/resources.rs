//! From requests and limits to QoS classes, cgroup values and CRI resources.

use std::collections::BTreeMap;

use api_types::quantity::Quantity;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::spec::{self, Kind};

/// Quality of service of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Requests equal limits for every container.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// As the API shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }

    /// Name of the cgroup between the root and the pod; guaranteed pods have none.
    pub fn cgroup(self) -> Option<&'static str> {
        match self {
            Qos::Guaranteed => None,
            Qos::Burstable => Some("burstable"),
            Qos::BestEffort => Some("besteffort"),
        }
    }
}

/// CFS period in microseconds.
pub const CPU_PERIOD: i64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA: i64 = 1000;

fn parse(quantities: Option<&BTreeMap<String, ApiQuantity>>, name: &str) -> Option<Quantity> {
    quantities?.get(name)?.0.parse().ok()
}

/// A request in the unit the kernel wants: thousandths of a CPU, bytes of memory.
pub fn request(resources: Option<&ResourceRequirements>, name: &str) -> Option<i64> {
    amount(
        parse(resources?.requests.as_ref(), name).or_else(|| parse(resources?.limits.as_ref(), name))?,
        name,
    )
}

/// A limit in the same units.
pub fn limit(resources: Option<&ResourceRequirements>, name: &str) -> Option<i64> {
    amount(parse(resources?.limits.as_ref(), name)?, name)
}

fn amount(quantity: Quantity, name: &str) -> Option<i64> {
    let amount = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
    (amount > 0).then_some(amount)
}

/// The QoS class of a pod.
pub fn qos_class(spec: &PodSpec) -> Qos {
    let containers: Vec<&Container> =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let mut any = false;
    let mut guaranteed = true;
    for container in &containers {
        let resources = container.resources.as_ref();
        for name in ["cpu", "memory"] {
            let (request, limit) = (request(resources, name), limit(resources, name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// CPU shares of thousandths of a CPU.
pub fn shares(milli: i64) -> i64 {
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// CFS quota of thousandths of a CPU.
pub fn quota(milli: i64) -> i64 {
    (milli.saturating_mul(CPU_PERIOD) / 1000).max(MIN_QUOTA)
}

/// `oom_score_adj` of a container.
pub fn oom_score_adj(qos: Qos, memory_request: Option<i64>, memory_capacity: i64) -> i64 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = memory_request.unwrap_or(0);
            (1000 - request.saturating_mul(1000) / memory_capacity.max(1)).clamp(3, 999)
        }
    }
}

/// CRI resources of a container.
pub fn container_resources(
    container: &Container,
    qos: Qos,
    memory_capacity: i64,
) -> v1::LinuxContainerResources {
    let resources = container.resources.as_ref();
    let cpu = request(resources, "cpu");
    let cpu_limit = limit(resources, "cpu");
    v1::LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: cpu_limit.map(quota).unwrap_or_default(),
        cpu_shares: cpu.map_or(MIN_SHARES, shares),
        memory_limit_in_bytes: limit(resources, "memory").unwrap_or_default(),
        oom_score_adj: oom_score_adj(qos, request(resources, "memory"), memory_capacity),
        ..v1::LinuxContainerResources::default()
    }
}

/// What the pod's own cgroup is limited to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// CPU shares.
    pub shares: i64,
    /// CFS quota, if every container has a limit.
    pub quota: Option<i64>,
    /// Memory, if every container has a limit.
    pub memory: Option<i64>,
}

/// Limits of the pod's cgroup: the sum of its containers', or the largest init container where that is more.
pub fn pod_limits(spec: &PodSpec) -> PodLimits {
    let sum = |read: &dyn Fn(&Container) -> Option<i64>| -> (i64, bool) {
        let mut total = 0i64;
        let mut complete = true;
        let mut largest = 0i64;
        for container in &spec.containers {
            let value = read(container);
            complete &= value.is_some();
            total = total.saturating_add(value.unwrap_or(0));
        }
        let mut sidecars = 0i64;
        for (kind, container) in spec::init_containers(spec) {
            let value = read(container);
            complete &= value.is_some();
            match kind {
                Kind::Sidecar => sidecars = sidecars.saturating_add(value.unwrap_or(0)),
                _ => largest = largest.max(sidecars.saturating_add(value.unwrap_or(0))),
            }
        }
        (total.saturating_add(sidecars).max(largest), complete)
    };
    let (cpu, _) = sum(&|container| request(container.resources.as_ref(), "cpu"));
    let (cpu_limit, cpu_complete) = sum(&|container| limit(container.resources.as_ref(), "cpu"));
    let (memory, memory_complete) = sum(&|container| limit(container.resources.as_ref(), "memory"));
    PodLimits {
        shares: if cpu > 0 { shares(cpu) } else { MIN_SHARES },
        quota: (cpu_complete && cpu_limit > 0).then(|| quota(cpu_limit)),
        memory: (memory_complete && memory > 0).then_some(memory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn qos_classes() {
        for (resources, qos) in [
            (serde_json::json!({}), Qos::BestEffort),
            (serde_json::json!({"requests": {"cpu": "1"}}), Qos::Burstable),
            (serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}}), Qos::Guaranteed),
            (
                serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
                Qos::Burstable,
            ),
        ] {
            let spec = spec(serde_json::json!({"containers": [{"name": "a", "resources": resources}]}));
            assert_eq!(qos_class(&spec), qos, "{resources}");
        }
    }

    #[test]
    fn cgroup_values() {
        assert_eq!((shares(100), shares(1), quota(250), quota(1)), (102, 2, 25_000, 1000));
        assert_eq!(oom_score_adj(Qos::Burstable, Some(500), 1000), 500);
        assert_eq!(oom_score_adj(Qos::Burstable, None, 1000), 999);
    }

    #[test]
    fn a_pod_is_limited_only_when_all_its_containers_are() {
        let one = serde_json::json!({"name": "a", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}});
        let both = spec(serde_json::json!({"containers": [one, one]}));
        assert_eq!(
            pod_limits(&both),
            PodLimits { shares: 2048, quota: Some(200_000), memory: Some(128 << 20) }
        );
        let half = spec(serde_json::json!({"containers": [one, {"name": "b"}]}));
        assert_eq!(pod_limits(&half), PodLimits { shares: 1024, quota: None, memory: None });
    }
}
