//! The node's conditions, with upstream's reasons and messages. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What the conditions are computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why the runtime is not usable; empty when it is.
    pub runtime: String,
    /// Why the pod network is not usable; empty when it is.
    pub network: String,
    /// Too little memory is left.
    pub memory_pressure: bool,
    /// Too little disk space is left.
    pub disk_pressure: bool,
    /// Too few process ids are left.
    pub pid_pressure: bool,
}

impl Health {
    /// Nothing is wrong.
    pub fn good() -> Health {
        Health {
            runtime: String::new(),
            network: String::new(),
            memory_pressure: false,
            disk_pressure: false,
            pid_pressure: false,
        }
    }

    /// Whether pods can run.
    pub fn ready(&self) -> bool {
        self.runtime.is_empty() && self.network.is_empty()
    }
}

/// The conditions; the time of the last transition stays where the status did.
pub fn conditions(health: &Health, old: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let pressure = |type_: &str, on: bool, bad: (&str, &str), good: (&str, &str)| {
        let (reason, message) = if on { bad } else { good };
        condition(type_, on, reason, message.to_owned(), old, now)
    };
    let ready = if health.ready() {
        condition("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned(), old, now)
    } else {
        let problems: Vec<&str> = [&health.runtime, &health.network]
            .into_iter()
            .map(String::as_str)
            .filter(|p| !p.is_empty())
            .collect();
        condition("Ready", false, "KubeletNotReady", format!("[{}]", problems.join(", ")), old, now)
    };
    vec![
        pressure(
            "MemoryPressure",
            health.memory_pressure,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            health.disk_pressure,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            health.pid_pressure,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        ready,
    ]
}

fn condition(
    type_: &str,
    on: bool,
    reason: &str,
    message: String,
    old: &[NodeCondition],
    now: Timestamp,
) -> NodeCondition {
    let status = if on { "True" } else { "False" };
    let known = old.iter().find(|known| known.type_ == type_ && known.status == status);
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: known.and_then(|known| known.last_transition_time.clone()).or(Some(Time(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_runtime_and_network_are() {
        let then = Timestamp::from_second(1).unwrap();
        let now = Timestamp::from_second(2).unwrap();
        let good = conditions(&Health::good(), &[], then);
        assert_eq!(good.len(), 4);
        let ready = good.iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("True", Some("KubeletReady")));
        let again = conditions(&Health::good(), &good, now);
        assert_eq!(again[3].last_transition_time, good[3].last_transition_time);
        let health = Health { network: "no network".into(), ..Health::good() };
        let bad = conditions(&health, &good, now);
        assert_eq!((bad[3].status.as_str(), bad[3].message.as_deref()), ("False", Some("[no network]")));
        assert_eq!(bad[3].last_transition_time, Some(Time(now)));
    }
}
