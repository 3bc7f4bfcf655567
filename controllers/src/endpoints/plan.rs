//! The Endpoints a service shall have: a pure function of the service and its pods.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    cache::views::{Pod, Service},
    endpointslice::{HEADLESS, PodPorts, pod_counts, resolve_ports},
};

/// Most addresses in one object.
const CAPACITY: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// Whether this controller wrote the object.
pub(super) fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str) == Some(MANAGER)
        || endpoints.metadata.annotations.as_ref().is_some_and(|map| map.contains_key(TRIGGER_TIME))
}

/// The object to write, or nothing when `existing` is already right.
pub(super) fn plan(service: &Service, pods: &[Arc<Pod>], existing: Option<&Endpoints>) -> Option<Endpoints> {
    let v6 =
        service.spec.ip_families.first().map_or(service.spec.cluster_ip.contains(':'), |f| &**f == "IPv6");
    let mut entries: Vec<(PodPorts, bool, EndpointAddress)> = Vec::new();
    for pod in pods {
        let terminating = service.spec.publish_not_ready_addresses;
        if !pod_counts(pod, terminating) {
            continue;
        }
        let Some(address) = address(service, pod, v6) else { continue };
        let ports = resolve_ports(service, pod);
        if ports.is_empty() && &*service.spec.cluster_ip != "None" {
            continue;
        }
        let ready = service.spec.publish_not_ready_addresses || pod.is_ready();
        entries.push((ports, ready, address));
    }
    // Ready ones first: they are the last to be cut off.
    entries.sort_by(|a, b| (!a.1, &a.2.ip).cmp(&(!b.1, &b.2.ip)));
    let over_capacity = entries.len() > CAPACITY;
    entries.truncate(CAPACITY);
    let subsets = subsets(entries);
    let labels = labels(service);
    if let Some(existing) = existing
        && existing.subsets.clone().unwrap_or_default() == subsets
        && existing.metadata.labels.as_ref() == Some(&labels)
        && has_over_capacity(existing) == over_capacity
    {
        return None;
    }
    let mut metadata = existing.map(|existing| existing.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: Some(service.metadata.name.to_string()),
        namespace: Some(service.metadata.namespace.to_string()),
        ..ObjectMeta::default()
    });
    metadata.labels = Some(labels);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(TRIGGER_TIME.to_owned(), jiff::Timestamp::now().to_string());
    if over_capacity {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    Some(Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) })
}

fn has_over_capacity(endpoints: &Endpoints) -> bool {
    endpoints.metadata.annotations.as_ref().is_some_and(|map| map.contains_key(OVER_CAPACITY))
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if &*service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn address(service: &Service, pod: &Pod, v6: bool) -> Option<EndpointAddress> {
    let all = pod.status.pod_ips.iter().map(|pod_ip| &*pod_ip.ip).chain([&*pod.status.pod_ip]);
    let ip = all.into_iter().find(|ip| ip.contains(':') == v6)?;
    let named = !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name;
    Some(EndpointAddress {
        ip: ip.to_owned(),
        hostname: named.then(|| pod.spec.hostname.to_string()),
        node_name: (!pod.spec.node_name.is_empty()).then(|| pod.spec.node_name.to_string()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.metadata.namespace.to_string()),
            name: Some(pod.metadata.name.to_string()),
            uid: Some(pod.metadata.uid.to_string()),
            ..ObjectReference::default()
        }),
    })
}

/// Addresses with the same ports share a subset.
fn subsets(entries: Vec<(PodPorts, bool, EndpointAddress)>) -> Vec<EndpointSubset> {
    let mut groups: BTreeMap<PodPorts, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    for (ports, ready, address) in entries {
        let (ready_ones, others) = groups.entry(ports).or_default();
        if ready { ready_ones.push(address) } else { others.push(address) }
    }
    let some = |list: Vec<EndpointAddress>| (!list.is_empty()).then_some(list);
    groups
        .into_iter()
        .map(|(ports, (ready, not_ready))| EndpointSubset {
            addresses: some(ready),
            not_ready_addresses: some(not_ready),
            ports: (!ports.is_empty()).then(|| {
                ports
                    .into_iter()
                    .map(|port| EndpointPort {
                        name: (!port.name.is_empty()).then_some(port.name),
                        port: port.port,
                        protocol: Some(port.protocol),
                        app_protocol: port.app_protocol,
                    })
                    .collect()
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"},
            "spec": {"selector": {"a": "b"}, "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}}))
        .expect("a service")
    }

    fn pod(number: usize, ready: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let value = json!({"metadata": {"name": format!("p{number}")},
            "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", number / 250, number % 250),
            "conditions": [{"type": "Ready", "status": status}]}});
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    #[test]
    fn ready_and_not_ready_share_a_subset() {
        let wanted = plan(&service(), &[pod(1, true), pod(2, false)], None).expect("something to write");
        let subsets = wanted.subsets.clone().unwrap_or_default();
        assert_eq!(subsets.len(), 1);
        assert_eq!(subsets[0].addresses.as_ref().map(Vec::len), Some(1));
        assert_eq!(subsets[0].not_ready_addresses.as_ref().map(Vec::len), Some(1));
        assert!(plan(&service(), &[pod(2, false), pod(1, true)], Some(&wanted)).is_none());
    }

    #[test]
    fn too_many_are_cut_off_and_that_is_said() {
        let pods: Vec<_> = (0..1200).map(|number| pod(number, number >= 300)).collect();
        let wanted = plan(&service(), &pods, None).expect("something to write");
        let subset = &wanted.subsets.as_ref().expect("subsets")[0];
        assert_eq!(subset.addresses.as_ref().map(Vec::len), Some(900));
        assert_eq!(subset.not_ready_addresses.as_ref().map(Vec::len), Some(100));
        assert!(has_over_capacity(&wanted));
        let fewer = plan(&service(), &pods[..500], Some(&wanted)).expect("something to write");
        assert!(!has_over_capacity(&fewer));
    }
}
