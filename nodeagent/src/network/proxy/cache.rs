//! Services and their endpoints, trimmed to what routing and name service need. Shared by both.
//!
//! Readers take an `Arc` of a service's entry; a change replaces the entry. Which services changed is remembered
//! until the proxy asks.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::{core::v1, discovery::v1::EndpointSlice};
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

/// Namespace and name of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// Key of the service of that name.
    pub fn new(namespace: &str, name: &str) -> Self {
        ServiceKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Name, may be empty.
    pub name: Box<str>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// Number.
    pub port: u16,
    /// Number at the nodes.
    pub node_port: Option<u16>,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// Cluster addresses; none for a headless service.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether it is headless: its name stands for its endpoints.
    pub headless: bool,
    /// The name it stands for, when it is of type ExternalName.
    pub external_name: Option<Box<str>>,
    /// Further addresses it is reached at: external and load balancer addresses.
    pub external_ips: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// How many seconds a client stays with its endpoint.
    pub affinity: Option<u32>,
    /// Traffic from the cluster goes to endpoints of the same node only.
    pub internal_local: bool,
    /// Traffic from outside goes to endpoints of the same node only.
    pub external_local: bool,
    /// Endpoints that are not ready count too.
    pub publish_not_ready: bool,
}

/// A port of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// Name of the service's port.
    pub name: Box<str>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// Number at the endpoints.
    pub port: u16,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Whether it takes new connections.
    pub ready: bool,
    /// Whether it answers, be it terminating or not.
    pub serving: bool,
    /// Whether it is going away.
    pub terminating: bool,
    /// Its host name below the service.
    pub hostname: Option<Box<str>>,
    /// Node it is on.
    pub node: Option<Box<str>>,
}

/// A slice of endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// Ports.
    pub ports: Vec<SlicePort>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A service with all its slices; either may be missing.
#[derive(Debug, Clone, Default)]
pub struct ServiceEntry {
    /// The service.
    pub service: Option<Arc<Service>>,
    /// Its slices by name.
    pub slices: BTreeMap<Arc<str>, Arc<Slice>>,
}

impl ServiceEntry {
    /// All endpoints of all slices.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.slices.values().flat_map(|slice| &slice.endpoints)
    }
}

#[derive(Default)]
struct Inner {
    services: HashMap<ServiceKey, Arc<ServiceEntry>>,
    /// Which service a slice belongs to, by `namespace/name` of the slice.
    slices: HashMap<(Arc<str>, Arc<str>), ServiceKey>,
    /// How many services a namespace has.
    namespaces: HashMap<Arc<str>, usize>,
    /// Which services an address stands for.
    addresses: HashMap<IpAddr, HashSet<ServiceKey>>,
    changed: HashSet<ServiceKey>,
}

/// All services.
pub struct ServiceCache {
    inner: RwLock<Inner>,
    pub(super) wake: Notify,
    pub(super) synced: watch::Sender<(bool, bool)>,
}

impl ServiceCache {
    /// An empty cache; [`ServiceCache::run`] fills it.
    pub fn new() -> Arc<Self> {
        Arc::new(ServiceCache {
            inner: RwLock::default(),
            wake: Notify::new(),
            synced: watch::Sender::new((false, false)),
        })
    }

    /// Returns once services and slices were listed.
    pub async fn synced(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.synced.subscribe().wait_for(|(services, slices)| *services && *slices).await;
    }

    /// The service of that name with its slices.
    pub fn get(&self, key: &ServiceKey) -> Option<Arc<ServiceEntry>> {
        self.inner.read().services.get(key).cloned()
    }

    /// Whether that namespace has services.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.inner.read().namespaces.contains_key(namespace)
    }

    /// Services that have `address` as cluster address or among their endpoints.
    pub fn by_address(&self, address: IpAddr) -> Vec<(ServiceKey, Arc<ServiceEntry>)> {
        let inner = self.inner.read();
        let keys = inner.addresses.get(&address).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), inner.services.get(key)?.clone()))).collect()
    }

    /// The services that changed since the last call.
    pub(super) fn take_changed(&self) -> HashSet<ServiceKey> {
        std::mem::take(&mut self.inner.write().changed)
    }

    /// All services there are.
    pub(super) fn all(&self) -> Vec<(ServiceKey, Arc<ServiceEntry>)> {
        self.inner.read().services.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    /// Takes over a service; `None` when it is gone.
    pub(crate) fn set_service(&self, key: ServiceKey, service: Option<Service>) {
        self.change(key, |entry| entry.service = service.map(Arc::new));
    }

    /// Takes over a slice; `None` when it is gone.
    pub(crate) fn set_slice(&self, namespace: &str, name: &str, slice: Option<(ServiceKey, Slice)>) {
        let id: (Arc<str>, Arc<str>) = (namespace.into(), name.into());
        let before = self.inner.read().slices.get(&id).cloned();
        let after = slice.as_ref().map(|(key, _)| key.clone());
        if let Some(before) = before.filter(|before| Some(before) != after.as_ref()) {
            self.inner.write().slices.remove(&id);
            self.change(before, |entry| drop(entry.slices.remove(&id.1)));
        }
        if let Some((key, slice)) = slice {
            self.inner.write().slices.insert(id.clone(), key.clone());
            self.change(key, |entry| drop(entry.slices.insert(id.1, Arc::new(slice))));
        }
    }

    /// Services and slices that are known, to find what a new list does not name any more.
    pub(super) fn known_services(&self) -> Vec<ServiceKey> {
        let inner = self.inner.read();
        inner
            .services
            .iter()
            .filter(|(_, entry)| entry.service.is_some())
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub(super) fn known_slices(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.inner.read().slices.keys().cloned().collect()
    }

    fn change(&self, key: ServiceKey, change: impl FnOnce(&mut ServiceEntry)) {
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        let before = inner.services.get(&key).cloned().unwrap_or_default();
        let mut after = (*before).clone();
        change(&mut after);
        if before.service == after.service && before.slices == after.slices {
            return;
        }
        for address in addresses(&before) {
            if let Some(keys) = inner.addresses.get_mut(&address) {
                keys.remove(&key);
                if keys.is_empty() {
                    inner.addresses.remove(&address);
                }
            }
        }
        for address in addresses(&after) {
            inner.addresses.entry(address).or_default().insert(key.clone());
        }
        match (before.service.is_some(), after.service.is_some()) {
            (false, true) => *inner.namespaces.entry(key.namespace.clone()).or_default() += 1,
            (true, false) => {
                let count = inner.namespaces.entry(key.namespace.clone()).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    inner.namespaces.remove(&key.namespace);
                }
            }
            _ => {}
        }
        if after.service.is_none() && after.slices.is_empty() {
            inner.services.remove(&key);
        } else {
            inner.services.insert(key.clone(), Arc::new(after));
        }
        inner.changed.insert(key);
        self.wake.notify_one();
    }
}

fn addresses(entry: &ServiceEntry) -> HashSet<IpAddr> {
    let cluster = entry.service.iter().flat_map(|service| service.cluster_ips.iter().copied());
    cluster.chain(entry.endpoints().map(|endpoint| endpoint.address)).collect()
}

fn protocol(name: Option<&str>) -> &'static str {
    match name {
        Some("UDP") => "udp",
        Some("SCTP") => "sctp",
        _ => "tcp",
    }
}

impl From<v1::Service> for Service {
    fn from(object: v1::Service) -> Self {
        let spec = object.spec.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let mut ips = spec.cluster_ips.unwrap_or_default();
        if ips.is_empty() {
            ips.extend(spec.cluster_ip);
        }
        let headless = ips.first().is_some_and(|ip| ip == "None");
        let external = spec.external_ips.into_iter().flatten();
        let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).into_iter().flatten();
        // In `Proxy` mode the load balancer wants to see the traffic itself.
        let ingress = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
        let external = external.chain(ingress.filter_map(|ingress| ingress.ip));
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let configured = spec.session_affinity_config.and_then(|config| config.client_ip);
            configured
                .and_then(|client| client.timeout_seconds)
                .and_then(|s| u32::try_from(s).ok())
                .unwrap_or(10_800)
        });
        Service {
            cluster_ips: ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            headless,
            external_name: spec
                .external_name
                .filter(|_| spec.type_.as_deref() == Some("ExternalName"))
                .map(String::into_boxed_str),
            external_ips: external.filter_map(|ip| ip.parse().ok()).collect(),
            ports: spec
                .ports
                .into_iter()
                .flatten()
                .filter_map(|port| {
                    Some(ServicePort {
                        name: port.name.unwrap_or_default().into(),
                        protocol: protocol(port.protocol.as_deref()),
                        port: u16::try_from(port.port).ok()?,
                        node_port: port
                            .node_port
                            .and_then(|port| u16::try_from(port).ok())
                            .filter(|port| *port > 0),
                    })
                })
                .collect(),
            affinity,
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        }
    }
}

impl From<EndpointSlice> for Slice {
    fn from(object: EndpointSlice) -> Self {
        let ports = object.ports.into_iter().flatten().filter_map(|port| {
            Some(SlicePort {
                name: port.name.unwrap_or_default().into(),
                protocol: protocol(port.protocol.as_deref()),
                port: u16::try_from(port.port?).ok()?,
            })
        });
        let endpoints = object.endpoints.into_iter().flatten().filter_map(|endpoint| {
            let conditions = endpoint.conditions.unwrap_or_default();
            // What is not said counts as good.
            let ready = conditions.ready.unwrap_or(true);
            Some(Endpoint {
                address: endpoint.addresses.first()?.parse().ok()?,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                hostname: endpoint.hostname.map(String::into_boxed_str),
                node: endpoint.node_name.map(String::into_boxed_str),
            })
        });
        Slice { ports: ports.collect(), endpoints: endpoints.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(address: &str) -> Slice {
        let endpoint = Endpoint {
            address: address.parse().expect("an address"),
            ready: true,
            serving: true,
            terminating: false,
            hostname: None,
            node: None,
        };
        Slice { ports: Vec::new(), endpoints: vec![endpoint] }
    }

    #[test]
    fn indexes_follow_changes() {
        let cache = ServiceCache::new();
        let key = ServiceKey::new("ns", "web");
        let service =
            Service { cluster_ips: vec!["10.96.0.9".parse().expect("an address")], ..Service::default() };
        cache.set_service(key.clone(), Some(service.clone()));
        cache.set_slice("ns", "web-1", Some((key.clone(), slice("10.0.0.1"))));
        assert_eq!(cache.take_changed().len(), 1);
        cache.set_service(key.clone(), Some(service));
        assert!(cache.take_changed().is_empty(), "nothing changed");
        let found = |address: &str| cache.by_address(address.parse().expect("an address")).len();
        assert_eq!((found("10.96.0.9"), found("10.0.0.1"), found("10.0.0.2")), (1, 1, 0));
        assert!(cache.has_namespace("ns"));
        cache.set_slice("ns", "web-1", Some((key.clone(), slice("10.0.0.2"))));
        assert_eq!((found("10.0.0.1"), found("10.0.0.2")), (0, 1));
        cache.set_slice("ns", "web-1", None);
        cache.set_service(key.clone(), None);
        assert!(cache.get(&key).is_none() && !cache.has_namespace("ns"));
        assert_eq!(found("10.0.0.2"), 0);
    }
}
