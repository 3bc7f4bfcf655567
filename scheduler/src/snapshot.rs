//! What is known of nodes and of the pods on them, in columns.
//!
//! A node is a number; removing one moves the last node into its place. Pods whose node is not known (yet) wait
//! aside and are counted once it is. Invariants: a pod (by uid) is counted on at most one node; the columns always
//! have the same length; adding and removing a pod are exact inverses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{HostPort, PodInfo, Resources};

/// What of a node changed, as far as pods that wait may care.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// It was not known.
    pub added: bool,
    /// It can hold more.
    pub allocatable: bool,
    /// Its labels are others.
    pub labels: bool,
    /// Its taints are others.
    pub taints: bool,
    /// It became schedulable.
    pub schedulable: bool,
}

impl NodeChange {
    /// Whether anything changed.
    pub fn any(self) -> bool {
        self != NodeChange::default()
    }
}

/// Nodes and their pods.
#[derive(Default)]
pub struct Snapshot {
    index: HashMap<Arc<str>, usize>,
    /// Names.
    pub names: Vec<Arc<str>>,
    /// What each node can hold.
    pub allocatable: Vec<Resources>,
    /// How many pods each node can hold.
    pub max_pods: Vec<i64>,
    /// What the pods on each node ask for.
    pub used: Vec<Resources>,
    /// Processor time and memory the pods on each node count as asking for when pods are spread.
    pub spread_used: Vec<(i64, i64)>,
    /// Labels.
    pub labels: Vec<BTreeMap<String, String>>,
    /// Taints.
    pub taints: Vec<Vec<Taint>>,
    /// Whether new pods are kept away.
    pub unschedulable: Vec<bool>,
    /// Sizes of the images each node has.
    pub images: Vec<HashMap<Box<str>, i64>>,
    /// Pods by uid.
    pub pods: Vec<HashMap<Box<str>, Arc<PodInfo>>>,
    /// Ports of the machine that are taken.
    pub ports: Vec<Vec<HostPort>>,
    /// Where each pod is: the name of its node.
    places: HashMap<Box<str>, Arc<str>>,
    /// Pods of nodes that are not known.
    aside: HashMap<Arc<str>, HashMap<Box<str>, Arc<PodInfo>>>,
    /// Pods with required anti-affinity: they keep others away from where they are.
    repelling: HashMap<Box<str>, Arc<PodInfo>>,
    /// Labels of namespaces, for terms that select namespaces by label.
    pub namespaces: HashMap<Box<str>, BTreeMap<String, String>>,
}

impl Snapshot {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of that node.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Pods with required anti-affinity and the node each is on.
    pub fn repelling(&self) -> impl Iterator<Item = (usize, &Arc<PodInfo>)> {
        self.repelling.iter().filter_map(|(uid, pod)| {
            let node = self.places.get(uid)?;
            Some((self.node(node)?, pod))
        })
    }

    /// The pod of that uid, if it is on a node.
    pub fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        let place = self.places.get(uid)?;
        match self.index.get(place) {
            Some(node) => self.pods[*node].get(uid),
            None => self.aside.get(place)?.get(uid),
        }
    }

    /// Uids of all pods on nodes.
    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(|uid| &**uid)
    }

    /// Adds the node or takes over its changes.
    pub fn set_node(&mut self, node: Node) -> NodeChange {
        let name: Arc<str> = node.metadata.name.unwrap_or_default().into();
        let spec = node.spec.unwrap_or_default();
        let status = node.status.unwrap_or_default();
        let list = status.allocatable.unwrap_or_default();
        let allocatable = Resources::parse(&list);
        let max_pods = list.get("pods").and_then(|text| text.0.parse::<api_types::quantity::Quantity>().ok());
        let max_pods = max_pods.map_or(0, |amount| amount.value());
        let labels = node.metadata.labels.unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        let unschedulable = spec.unschedulable.unwrap_or(false);
        let images = status.images.into_iter().flatten().flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.into_iter().flatten().map(move |name| (name.into_boxed_str(), size))
        });
        let images: HashMap<Box<str>, i64> = images.collect();
        let Some(at) = self.node(&name) else {
            self.index.insert(name.clone(), self.names.len());
            self.names.push(name.clone());
            self.allocatable.push(allocatable);
            self.max_pods.push(max_pods);
            self.used.push(Resources::default());
            self.spread_used.push((0, 0));
            self.labels.push(labels);
            self.taints.push(taints);
            self.unschedulable.push(unschedulable);
            self.images.push(images);
            self.pods.push(HashMap::new());
            self.ports.push(Vec::new());
            for pod in self.aside.remove(&name).into_iter().flatten() {
                self.count(self.names.len() - 1, pod.1);
            }
            return NodeChange { added: true, ..NodeChange::default() };
        };
        let change = NodeChange {
            added: false,
            allocatable: self.allocatable[at] != allocatable || self.max_pods[at] != max_pods,
            labels: self.labels[at] != labels,
            taints: self.taints[at] != taints,
            schedulable: self.unschedulable[at] && !unschedulable,
        };
        self.allocatable[at] = allocatable;
        self.max_pods[at] = max_pods;
        self.labels[at] = labels;
        self.taints[at] = taints;
        self.unschedulable[at] = unschedulable;
        self.images[at] = images;
        change
    }

    /// Forgets the node; its pods wait for it to come back or for their own end.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.index.remove(name) else { return };
        let name = self.names.swap_remove(at);
        self.allocatable.swap_remove(at);
        self.max_pods.swap_remove(at);
        self.used.swap_remove(at);
        self.spread_used.swap_remove(at);
        self.labels.swap_remove(at);
        self.taints.swap_remove(at);
        self.unschedulable.swap_remove(at);
        self.images.swap_remove(at);
        self.ports.swap_remove(at);
        let pods = self.pods.swap_remove(at);
        if !pods.is_empty() {
            self.aside.insert(name, pods);
        }
        if let Some(moved) = self.names.get(at) {
            self.index.insert(moved.clone(), at);
        }
    }

    /// Counts `pod` on `node`, instead of where it was counted before.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.uid);
        if !pod.pod_anti_affinity.is_empty() {
            self.repelling.insert(pod.uid.clone(), pod.clone());
        }
        match self.index.get_key_value(node).map(|(name, at)| (name.clone(), *at)) {
            Some((name, at)) => {
                self.places.insert(pod.uid.clone(), name);
                self.count(at, pod);
            }
            None => {
                let name: Arc<str> = node.into();
                self.places.insert(pod.uid.clone(), name.clone());
                self.aside.entry(name).or_default().insert(pod.uid.clone(), pod);
            }
        }
    }

    fn count(&mut self, at: usize, pod: Arc<PodInfo>) {
        self.used[at].add(&pod.requests);
        self.spread_used[at].0 += pod.spread_requests.0;
        self.spread_used[at].1 += pod.spread_requests.1;
        self.ports[at].extend(pod.host_ports.iter().cloned());
        self.pods[at].insert(pod.uid.clone(), pod);
    }

    /// Takes the pod off its node.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let place = self.places.remove(uid)?;
        self.repelling.remove(uid);
        let Some(at) = self.node(&place) else {
            let pods = self.aside.get_mut(&place)?;
            let pod = pods.remove(uid);
            if pods.is_empty() {
                self.aside.remove(&place);
            }
            return pod;
        };
        let pod = self.pods[at].remove(uid)?;
        self.used[at].sub(&pod.requests);
        self.spread_used[at].0 -= pod.spread_requests.0;
        self.spread_used[at].1 -= pod.spread_requests.1;
        for port in &pod.host_ports {
            if let Some(found) = self.ports[at].iter().position(|known| known == port) {
                self.ports[at].swap_remove(found);
            }
        }
        Some(pod)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn node(name: &str, cpu: &str, extra: Value) -> Node {
        let mut value = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}}});
        merge(&mut value, extra);
        serde_json::from_value(value).expect("a node")
    }

    pub(crate) fn pod(name: &str, cpu: &str, extra: Value) -> Arc<PodInfo> {
        let mut value = json!({"metadata": {"name": name, "uid": name, "namespace": "ns"}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        merge(&mut value, extra);
        Arc::new(PodInfo::new(serde_json::from_value(value).expect("a pod")))
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    #[test]
    fn pods_follow_their_nodes_and_are_counted_once() {
        let mut snapshot = Snapshot::default();
        snapshot.add_pod(pod("early", "1", json!({})), "n1");
        assert!(snapshot.set_node(node("n1", "4", json!({}))).added);
        snapshot.set_node(node("n2", "4", json!({})));
        let one = snapshot.node("n1").expect("a node");
        assert_eq!(snapshot.used[one].cpu, 1000);
        let ports = json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}],
            "resources": {"requests": {"cpu": "2"}}}]}});
        snapshot.add_pod(pod("p", "2", ports.clone()), "n1");
        snapshot.add_pod(pod("p", "2", ports), "n2");
        assert_eq!(snapshot.used[one].cpu, 1000);
        let two = snapshot.node("n2").expect("a node");
        assert_eq!((snapshot.used[two].cpu, snapshot.ports[two].len()), (2000, 1));
        snapshot.remove_node("n1");
        assert_eq!(snapshot.node("n2"), Some(0));
        assert_eq!(snapshot.used[0].cpu, 2000);
        assert!(snapshot.pod("early").is_some());
        snapshot.remove_pod("p");
        assert_eq!(snapshot.used[0], Resources::default());
        assert!(snapshot.ports[0].is_empty());
        snapshot.set_node(node("n1", "4", json!({})));
        assert_eq!(snapshot.used[1].cpu, 1000);
    }

    #[test]
    fn changes_of_a_node_are_told_apart() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n", "4", json!({"spec": {"unschedulable": true}})));
        let change = snapshot.set_node(node("n", "4", json!({})));
        assert_eq!(change, NodeChange { schedulable: true, ..NodeChange::default() });
        assert!(snapshot.set_node(node("n", "8", json!({}))).allocatable);
        assert!(!snapshot.set_node(node("n", "8", json!({}))).any());
    }
}
