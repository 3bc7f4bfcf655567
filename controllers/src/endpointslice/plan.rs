//! Which slices to make, change and remove: a pure function of the service, its pods and the slices there are.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use crate::{
    cache::{
        Object,
        views::{Node, Pod, Service},
    },
    pods::name_prefix,
};

use super::{HEADLESS, MANAGED_BY, MANAGER, PodPorts, SERVICE_NAME, pod_counts, resolve_ports};

/// Most endpoints in one slice.
const SLICE_SIZE: usize = 100;
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

#[derive(Debug, Default)]
pub(super) struct Actions {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<String>,
}

/// The zone of a node.
pub(super) fn zone(node: &Node) -> Option<String> {
    let labels = &node.metadata.labels;
    labels
        .get("topology.kubernetes.io/zone")
        .or_else(|| labels.get("failure-domain.beta.kubernetes.io/zone"))
        .cloned()
}

pub(super) fn delete_all(existing: &[Arc<EndpointSlice>]) -> Actions {
    let delete = existing.iter().map(|slice| slice.name().to_owned()).collect();
    Actions { delete, ..Actions::default() }
}

pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    zone: &dyn Fn(&str) -> Option<String>,
    existing: &[Arc<EndpointSlice>],
) -> Actions {
    let mut actions = Actions::default();
    let families = families(service);
    for slice in existing {
        if !families.contains(&slice.address_type.as_str()) {
            actions.delete.push(slice.name().to_owned());
        }
    }
    for family in families {
        let mut groups: BTreeMap<PodPorts, Vec<Endpoint>> = BTreeMap::new();
        for pod in pods {
            if let Some((ports, endpoint)) = endpoint(service, pod, family, zone) {
                groups.entry(ports).or_default().push(endpoint);
            }
        }
        let of_family: Vec<&Arc<EndpointSlice>> =
            existing.iter().filter(|slice| slice.address_type == family).collect();
        plan_family(service, family, groups, &of_family, &mut actions);
    }
    actions
}

fn families(service: &Service) -> Vec<&'static str> {
    let known = service.spec.ip_families.iter().filter_map(|family| match &**family {
        "IPv4" => Some("IPv4"),
        "IPv6" => Some("IPv6"),
        _ => None,
    });
    let known: Vec<&'static str> = known.collect();
    match known.is_empty() {
        false => known,
        true if service.spec.cluster_ip.contains(':') => vec!["IPv6"],
        true => vec!["IPv4"],
    }
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    family: &str,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Option<(PodPorts, Endpoint)> {
    if !pod_counts(pod, true) {
        return None;
    }
    let all = pod.status.pod_ips.iter().map(|pod_ip| &*pod_ip.ip).chain([&*pod.status.pod_ip]);
    let mut of_family = all
        .filter(|text| text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4() == (family == "IPv4")));
    let address = of_family.next()?.to_owned();
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = pod.is_ready();
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    let node = (!pod.spec.node_name.is_empty()).then(|| pod.spec.node_name.to_string());
    // A pod has a name in DNS only below the headless service its subdomain names.
    let named = !pod.spec.hostname.is_empty()
        && pod.spec.subdomain == service.metadata.name
        && pod.metadata.namespace == service.metadata.namespace;
    let endpoint = Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: named.then(|| pod.spec.hostname.to_string()),
        zone: node.as_deref().and_then(zone),
        node_name: node,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.metadata.namespace.to_string()),
            name: Some(pod.metadata.name.to_string()),
            uid: Some(pod.metadata.uid.to_string()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    };
    Some((resolve_ports(service, pod), endpoint))
}

fn plan_family(
    service: &Service,
    family: &str,
    groups: BTreeMap<PodPorts, Vec<Endpoint>>,
    existing: &[&Arc<EndpointSlice>],
    actions: &mut Actions,
) {
    let wanted_labels = labels(service);
    let mut by_ports: BTreeMap<PodPorts, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        by_ports.entry(ports_of(slice)).or_default().push(slice);
    }
    let mut spare: Vec<&Arc<EndpointSlice>> = Vec::new();
    for (ports, slices) in &by_ports {
        if !groups.contains_key(ports) {
            spare.extend(slices.iter().copied());
        }
    }
    let nothing = groups.is_empty();
    for (ports, endpoints) in groups {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        pack(service, family, &ports, endpoints, &slices, &wanted_labels, &mut spare, actions);
    }
    // A service without pods keeps one empty slice, so that its readers know that they know it.
    if nothing {
        match spare.pop() {
            Some(slice)
                if slice.endpoints.as_ref().is_none_or(Vec::is_empty)
                    && has_labels(slice, &wanted_labels) => {}
            Some(slice) => {
                actions.update.push(rewritten(slice, Vec::new(), &PodPorts::new(), &wanted_labels))
            }
            None => {
                actions.create.push(new_slice(service, family, &PodPorts::new(), Vec::new(), &wanted_labels))
            }
        }
    }
    actions.delete.extend(spare.iter().map(|slice| slice.name().to_owned()));
}

/// Keeps endpoints in the slice they are in, fills gaps of slices that change anyway, then others, then new ones.
#[expect(clippy::too_many_arguments, reason = "one call, and a struct for it would only move the names")]
fn pack(
    service: &Service,
    family: &str,
    ports: &PodPorts,
    endpoints: Vec<Endpoint>,
    slices: &[&Arc<EndpointSlice>],
    wanted_labels: &BTreeMap<String, String>,
    spare: &mut Vec<&Arc<EndpointSlice>>,
    actions: &mut Actions,
) {
    let mut left: BTreeMap<String, Endpoint> =
        endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>, bool)> = Vec::new();
    for slice in slices {
        let mut dirty = !has_labels(slice, wanted_labels);
        let mut members = Vec::new();
        for known in slice.endpoints.iter().flatten() {
            match left.remove(&identity(known)) {
                Some(endpoint) => {
                    dirty |= endpoint != *known;
                    members.push(endpoint);
                }
                None => dirty = true,
            }
        }
        kept.push(((*slice).clone(), members, dirty));
    }
    // Fullest first, and those that are written anyway before the others.
    kept.sort_by_key(|(_, members, dirty)| (!*dirty, std::cmp::Reverse(members.len())));
    let mut left = left.into_values();
    let mut rest = left.len();
    for (_, members, dirty) in &mut kept {
        if rest == 0 {
            break;
        }
        let room = SLICE_SIZE.saturating_sub(members.len()).min(rest);
        if room > 0 {
            members.extend(left.by_ref().take(room));
            rest -= room;
            *dirty = true;
        }
    }
    let mut emptied = HashSet::new();
    for (index, (_, members, _)) in kept.iter().enumerate() {
        if members.is_empty() {
            emptied.insert(index);
        }
    }
    for (index, (slice, members, dirty)) in kept.into_iter().enumerate() {
        if emptied.contains(&index) {
            actions.delete.push(slice.name().to_owned());
        } else if dirty {
            actions.update.push(rewritten(&slice, members, ports, wanted_labels));
        }
    }
    let rest: Vec<Endpoint> = left.collect();
    for chunk in rest.chunks(SLICE_SIZE) {
        // A slice with other ports is rewritten rather than deleted and made again.
        match spare.pop() {
            Some(slice) => actions.update.push(rewritten(slice, chunk.to_vec(), ports, wanted_labels)),
            None => actions.create.push(new_slice(service, family, ports, chunk.to_vec(), wanted_labels)),
        }
    }
}

fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{uid} {}", endpoint.addresses.first().map(String::as_str).unwrap_or_default())
}

fn ports_of(slice: &EndpointSlice) -> PodPorts {
    let mut ports: PodPorts = slice
        .ports
        .iter()
        .flatten()
        .map(|port| super::pods::ResolvedPort {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.port.unwrap_or(0),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    ports
}

fn slice_ports(ports: &PodPorts) -> Option<Vec<EndpointPort>> {
    let ports: Vec<EndpointPort> = ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(port.protocol.clone()),
            port: Some(port.port),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    (!ports.is_empty()).then_some(ports)
}

/// The service's own labels and those by which readers find slices.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.to_string());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if &*service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn has_labels(slice: &EndpointSlice, wanted: &BTreeMap<String, String>) -> bool {
    slice.metadata.labels.as_ref() == Some(wanted)
}

fn rewritten(
    slice: &EndpointSlice,
    endpoints: Vec<Endpoint>,
    ports: &PodPorts,
    labels: &BTreeMap<String, String>,
) -> EndpointSlice {
    let mut slice = slice.clone();
    slice.endpoints = Some(endpoints);
    slice.ports = slice_ports(ports);
    slice.metadata.labels = Some(labels.clone());
    slice.metadata.annotations.get_or_insert_default().insert(TRIGGER_TIME.to_owned(), now());
    slice
}

fn new_slice(
    service: &Service,
    family: &str,
    ports: &PodPorts,
    endpoints: Vec<Endpoint>,
    labels: &BTreeMap<String, String>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(&service.metadata.name)),
            namespace: Some(service.metadata.namespace.to_string()),
            labels: Some(labels.clone()),
            annotations: Some([(TRIGGER_TIME.to_owned(), now())].into()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: service.metadata.name.to_string(),
                uid: service.metadata.uid.to_string(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: slice_ports(ports),
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns", "uid": "s"},
            "spec": {"selector": {"a": "b"}, "clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}))
        .expect("a service")
    }

    fn pod(number: usize, ready: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let value = json!({"metadata": {"name": format!("p{number}"), "uid": format!("u{number:04}"), "namespace": "ns"},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", number / 250, number % 250),
            "conditions": [{"type": "Ready", "status": status}]}});
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn no_zone(_: &str) -> Option<String> {
        None
    }

    fn stored(slices: Vec<EndpointSlice>) -> Vec<Arc<EndpointSlice>> {
        let name = |(index, mut slice): (usize, EndpointSlice)| {
            slice.metadata.name.get_or_insert(format!("web-{index}"));
            Arc::new(slice)
        };
        slices.into_iter().enumerate().map(name).collect()
    }

    #[test]
    fn endpoints_are_packed_by_hundreds_and_stay_where_they_are() {
        let service = service();
        let pods: Vec<_> = (0..250).map(|number| pod(number, true)).collect();
        let first = plan(&service, &pods, &no_zone, &[]);
        let sizes: Vec<usize> =
            first.create.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let slices = stored(first.create);
        let again = plan(&service, &pods, &no_zone, &slices);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());

        let mut changed = pods.clone();
        changed[120] = pod(120, false);
        let one = plan(&service, &changed, &no_zone, &slices);
        assert_eq!((one.create.len(), one.update.len(), one.delete.len()), (0, 1, 0));

        let few = plan(&service, &pods[..3], &no_zone, &slices);
        assert_eq!((few.create.len(), few.update.len(), few.delete.len()), (0, 1, 2));
    }

    #[test]
    fn readiness_and_termination_are_told_apart() {
        let mut terminating = (*pod(1, true)).clone();
        terminating.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
        let mut ended = (*pod(2, true)).clone();
        ended.status.phase = "Succeeded".into();
        let pods = [Arc::new(terminating), Arc::new(ended), pod(3, false)];
        let slices = plan(&service(), &pods, &no_zone, &[]).create;
        let conditions: Vec<_> = slices[0]
            .endpoints
            .iter()
            .flatten()
            .filter_map(|endpoint| endpoint.conditions.as_ref())
            .map(|c| (c.ready, c.serving, c.terminating))
            .collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(conditions, [(no, yes, yes), (no, no, no)]);

        let mut publishing = service();
        publishing.spec.publish_not_ready_addresses = true;
        let slices = plan(&publishing, &[pod(3, false)], &no_zone, &[]).create;
        let conditions = slices[0].endpoints.as_ref().and_then(|all| all[0].conditions.clone());
        assert_eq!(conditions.and_then(|conditions| conditions.ready), yes);
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let first = plan(&service(), &[], &no_zone, &[]);
        assert_eq!(first.create.len(), 1);
        let slices = stored(first.create);
        let again = plan(&service(), &[], &no_zone, &slices);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
        let filled = plan(&service(), &[pod(1, true)], &no_zone, &slices);
        assert_eq!((filled.create.len(), filled.update.len(), filled.delete.len()), (0, 1, 0));
        let filled = stored(filled.update);
        let emptied = plan(&service(), &[], &no_zone, &filled);
        assert_eq!((emptied.create.len(), emptied.update.len(), emptied.delete.len()), (0, 1, 0));
    }

    #[test]
    fn slices_of_another_family_go_away_and_headless_is_marked() {
        let mut service = service();
        service.spec.cluster_ip = "None".into();
        service.spec.ip_families = vec!["IPv6".into()];
        let mut other = EndpointSlice { address_type: "IPv4".to_owned(), ..EndpointSlice::default() };
        other.metadata.name = Some("old".to_owned());
        let actions = plan(&service, &[pod(1, true)], &no_zone, &[Arc::new(other)]);
        assert_eq!(actions.delete, ["old"]);
        assert_eq!(actions.create.len(), 1);
        let labels = actions.create[0].metadata.labels.as_ref();
        assert_eq!(labels.and_then(|labels| labels.get(HEADLESS)).map(String::as_str), Some(""));
        assert!(
            actions.create[0].endpoints.as_ref().is_some_and(Vec::is_empty),
            "the pod has no IPv6 address"
        );
    }
}
