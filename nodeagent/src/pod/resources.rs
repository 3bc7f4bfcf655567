//! From requests and limits to QoS classes, cgroup values and CRI resources.

use std::collections::BTreeMap;

use api_types::quantity::Quantity;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::resize::amounts::Amounts;
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

/// An amount of a list in the units of [`request`].
pub fn amount_in(quantities: Option<&BTreeMap<String, ApiQuantity>>, name: &str) -> Option<i64> {
    amount(parse(quantities, name)?, name)
}

/// What is requested for the pod as a whole.
pub fn whole_request(spec: &PodSpec, name: &str) -> Option<i64> {
    amount_in(spec.resources.as_ref()?.requests.as_ref(), name)
}

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
    linux(Amounts::of(container), qos, memory_capacity)
}

/// CRI resources of these amounts.
pub fn linux(amounts: Amounts, qos: Qos, memory_capacity: i64) -> v1::LinuxContainerResources {
    let some = |amount: i64| (amount > 0).then_some(amount);
    v1::LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: some(amounts.cpu_limit).map(quota).unwrap_or_default(),
        cpu_shares: shares(amounts.cpu_request),
        memory_limit_in_bytes: amounts.memory_limit,
        oom_score_adj: oom_score_adj(qos, some(amounts.memory_request), memory_capacity),
        ..v1::LinuxContainerResources::default()
    }
}

/// CPU that CFS shares stand for, in thousandths; rounded up, so that [`shares`] and back is the same.
pub fn milli_of_shares(shares: i64) -> Option<i64> {
    (shares >= MIN_SHARES).then(|| shares.saturating_mul(1000).saturating_add(1023) / 1024)
}

/// CPU that a CFS quota stands for, in thousandths.
pub fn milli_of_quota(quota: i64, period: i64) -> Option<i64> {
    let milli = quota.saturating_mul(1000).checked_div(period)?;
    (milli > 0).then_some(milli)
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

/// An amount of all containers together, or of the largest init container where that is more; and whether all say it.
pub fn sum(spec: &PodSpec, read: &dyn Fn(&Container) -> Option<i64>) -> (i64, bool) {
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
}

/// Limits of the pod's cgroup.
pub fn pod_limits(spec: &PodSpec) -> PodLimits {
    let sum = |read: &dyn Fn(&Container) -> Option<i64>| sum(spec, read);
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
        for milli in [3, 100, 150, 333, 1000, 2500] {
            assert_eq!(milli_of_shares(shares(milli)), Some(milli));
            assert_eq!(milli_of_quota(quota(milli.max(10)), CPU_PERIOD), Some(milli.max(10)));
        }
        assert_eq!(
            (milli_of_quota(-1, CPU_PERIOD), milli_of_quota(1, 0), milli_of_shares(0)),
            (None, None, None)
        );
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
