//! What of a pod matters to services, for slices and for the older Endpoints alike.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::cache::{
    Change, Index, ObjectKey, Store,
    views::{Container, Pod, Service, ServicePort},
};

/// A port of a service as one pod offers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ResolvedPort {
    pub name: String,
    pub protocol: String,
    pub port: i32,
    pub app_protocol: Option<String>,
}

/// All ports of a service as one pod offers them, in a fixed order.
pub(crate) type PodPorts = Vec<ResolvedPort>;

/// Whether the pod can stand behind a service at all; `terminating` ones count while they run.
pub(crate) fn pod_counts(pod: &Pod, terminating: bool) -> bool {
    !pod.is_terminal()
        && !pod.status.pod_ip.is_empty()
        && (terminating || pod.metadata.deletion_timestamp.is_none())
}

/// The ports of `service` at `pod`; a named port that no container has is left out.
pub(crate) fn resolve_ports(service: &Service, pod: &Pod) -> PodPorts {
    let mut ports: PodPorts = service
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            Some(ResolvedPort {
                name: port.name.clone(),
                protocol: protocol(&port.protocol).to_owned(),
                port: target(port, pod)?,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "TCP" } else { text }
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let sidecars = pod.spec.init_containers.iter().filter(|container| &*container.restart_policy == "Always");
    let containers = pod.spec.containers.iter().chain(sidecars);
    let wanted = protocol(&port.protocol);
    containers
        .flat_map(|container: &Container| &container.ports)
        .find(|offered| &*offered.name == name.as_str() && protocol(&offered.protocol) == wanted)
        .map(|offered| offered.container_port)
}

/// Whether services have to look again: heartbeats and restarts of containers do not matter to them.
fn pod_change_matters(old: &Pod, new: &Pod) -> bool {
    old.metadata.labels != new.metadata.labels
        || old.status.pod_ip != new.status.pod_ip
        || old.status.pod_ips.len() != new.status.pod_ips.len()
        || old.is_ready() != new.is_ready()
        || old.is_terminal() != new.is_terminal()
        || old.metadata.deletion_timestamp.is_some() != new.metadata.deletion_timestamp.is_some()
        || old.spec.node_name != new.spec.node_name
        || (&old.spec.hostname, &old.spec.subdomain) != (&new.spec.hostname, &new.spec.subdomain)
}

/// The services a change of a pod concerns: those that select it now or did before.
pub(crate) fn services_of(services: &Store<Service>, change: &Change<Pod>) -> BTreeSet<ObjectKey> {
    let mut keys = BTreeSet::new();
    let mut add = |pod: &Pod| {
        for service in services.by(Index::Namespace, &pod.metadata.namespace) {
            let Some(selector) = service.spec.selector.as_ref().filter(|map| !map.is_empty()) else {
                continue;
            };
            if selector.iter().all(|(name, value)| pod.metadata.labels.get(name) == Some(value)) {
                keys.insert(ObjectKey::of(&*service));
            }
        }
    };
    match change {
        Change::Added(pod) | Change::Deleted(pod) => add(pod),
        Change::Updated { old, new } if pod_change_matters(old, new) => {
            add(new);
            if old.metadata.labels != new.metadata.labels {
                add(old);
            }
        }
        Change::Updated { .. } => {}
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_ports_are_looked_up_in_every_pod() {
        let service: Service = serde_json::from_value(json!({"spec": {"ports": [
            {"name": "web", "port": 80, "targetPort": "http"}, {"name": "plain", "port": 9}]}}))
        .expect("a service");
        let pod = |value| serde_json::from_value::<Pod>(value).expect("a pod");
        let with =
            pod(json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}}));
        let ports =
            |pod: &Pod| -> Vec<i32> { resolve_ports(&service, pod).iter().map(|port| port.port).collect() };
        assert_eq!(ports(&with), [9, 8080]);
        assert_eq!(ports(&pod(json!({}))), [9]);
        let udp = pod(json!({"spec": {"containers": [
            {"ports": [{"name": "http", "containerPort": 8080, "protocol": "UDP"}]}]}}));
        assert_eq!(ports(&udp), [9]);
    }
}
