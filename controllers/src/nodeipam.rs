//! Gives every node a part of the cluster's pod network.
//!
//! Owns: `spec.podCIDR` and `spec.podCIDRs` of nodes.
//! Woken by: new nodes, and nodes that go away (their network is given out again).
//! Invariants: no network is given out twice; networks that nodes already have are taken before the first one is
//! given out; a node keeps its network for life.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node as ApiNode, ObjectReference};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    cache::{Change, Informer, ObjectKey, views::Node},
    context::Context,
    queue::WorkQueue,
    recorder::{EventType, Recorder},
};

/// Identity of all controllers that look after nodes.
pub(crate) const NAME: &str = "node-controller";

/// Why a node got no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// All networks are given out.
    #[error("no pod network is left for node {0}")]
    Exhausted(ObjectKey),
    /// The API server refused.
    #[error("setting the pod network of node {node}")]
    Api {
        /// Which node.
        node: ObjectKey,
        /// The answer.
        #[source]
        source: kube::Error,
    },
}

/// A network that is given out in parts of one size.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    base: u128,
    bits: u8,
    prefix: u8,
    mask: u8,
    taken: BTreeSet<u128>,
    /// Where the search for a free part goes on, so that a part is reused as late as possible.
    next: u128,
}

impl Network {
    /// Reads `10.244.0.0/16`, to be given out in parts with prefix length `mask_v4` or `mask_v6`.
    pub(crate) fn parse(text: &str, mask_v4: u8, mask_v6: u8) -> Result<Self, String> {
        let (address, prefix) = parse_cidr(text).ok_or_else(|| "not a network".to_owned())?;
        let (base, bits, mask) = match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32, mask_v4),
            IpAddr::V6(address) => (u128::from(address), 128, mask_v6),
        };
        if mask < prefix || mask > bits {
            return Err(format!("it cannot be divided into parts with prefix length {mask}"));
        }
        if mask - prefix > 16 {
            return Err("it has more than 65536 parts".to_owned());
        }
        let size = bits - prefix;
        let base = if size == 128 { 0 } else { base >> size << size };
        Ok(Network { base, bits, prefix, mask, taken: BTreeSet::new(), next: 0 })
    }

    fn parts(&self) -> u128 {
        1 << (self.mask - self.prefix)
    }

    fn part(&self, number: u128) -> String {
        let address = self.base + (number << (self.bits - self.mask));
        if self.bits == 32 {
            format!("{}/{}", Ipv4Addr::from(u32::try_from(address).unwrap_or(0)), self.mask)
        } else {
            format!("{}/{}", Ipv6Addr::from(address), self.mask)
        }
    }

    fn number(&self, part: &str) -> Option<u128> {
        let (address, _) = parse_cidr(part)?;
        let address = match (address, self.bits) {
            (IpAddr::V4(address), 32) => u128::from(u32::from(address)),
            (IpAddr::V6(address), 128) => u128::from(address),
            _ => return None,
        };
        let number = address.checked_sub(self.base)? >> (self.bits - self.mask);
        (number < self.parts()).then_some(number)
    }

    fn take(&mut self) -> Option<u128> {
        let parts = self.parts();
        let free = (0..parts).map(|step| (self.next + step) % parts).find(|n| !self.taken.contains(n))?;
        self.taken.insert(free);
        self.next = (free + 1) % parts;
        Some(free)
    }
}

fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
}

#[derive(Default)]
struct Allocator {
    networks: Vec<Network>,
    /// What was given to a node and may not be in the cache yet.
    given: HashMap<ObjectKey, Vec<String>>,
}

impl Allocator {
    fn occupy(&mut self, parts: &[Box<str>]) {
        for network in &mut self.networks {
            for number in parts.iter().filter_map(|part| network.number(part)).collect::<Vec<_>>() {
                network.taken.insert(number);
            }
        }
    }

    fn release(&mut self, key: &ObjectKey, parts: &[Box<str>]) {
        let given = self.given.remove(key).unwrap_or_default();
        for network in &mut self.networks {
            let parts = parts.iter().map(|part| &**part).chain(given.iter().map(String::as_str));
            for number in parts.filter_map(|part| network.number(part)).collect::<Vec<_>>() {
                network.taken.remove(&number);
            }
        }
    }

    /// The networks for a node: one of each family, the same again when asked again.
    fn give(&mut self, key: &ObjectKey) -> Option<Vec<String>> {
        if let Some(given) = self.given.get(key) {
            return Some(given.clone());
        }
        let mut parts = Vec::with_capacity(self.networks.len());
        for index in 0..self.networks.len() {
            match self.networks[index].take() {
                Some(number) => parts.push(self.networks[index].part(number)),
                None => {
                    let taken: Vec<Box<str>> = parts.iter().map(|part| part.as_str().into()).collect();
                    self.release(key, &taken);
                    return None;
                }
            }
        }
        self.given.insert(key.clone(), parts.clone());
        Some(parts)
    }
}

struct Controller {
    client: Client,
    nodes: Arc<Informer<Node>>,
    allocator: Mutex<Allocator>,
    recorder: Recorder,
}

pub(crate) fn start(context: &Context, networks: Vec<Network>) {
    if networks.is_empty() {
        return;
    }
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        nodes: context.informers.nodes.clone(),
        allocator: Mutex::new(Allocator { networks, given: HashMap::new() }),
        recorder: context.recorder(NAME, "cidrAllocator"),
    });
    let queue = WorkQueue::new(context.metrics.queue("node_ipam"));
    let (wake, this) = (queue.clone(), controller.clone());
    controller.nodes.on_change(move |change| match change {
        Change::Added(node) | Change::Updated { new: node, .. } => {
            if node.spec.pod_cidrs.is_empty() {
                wake.add(ObjectKey::of(&**node));
            } else {
                this.allocator.lock().occupy(&node.spec.pod_cidrs);
            }
        }
        Change::Deleted(node) => this.allocator.lock().release(&ObjectKey::of(&**node), &node.spec.pod_cidrs),
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        // Not before the list is complete: what nodes already have must be known first.
        controller.nodes.synced().await;
        queue.spawn_workers("node_ipam", workers, &tasks, &token, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        });
    });
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(node) = self.nodes.store().get(key) else { return Ok(()) };
        if !node.spec.pod_cidrs.is_empty() || node.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let Some(parts) = self.allocator.lock().give(key) else {
            let about = ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(key.name.to_string()),
                uid: Some(key.name.to_string()),
                ..ObjectReference::default()
            };
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.event(about, EventType::Normal, "CIDRNotAvailable", message);
            return Err(Error::Exhausted(key.clone()));
        };
        let patch = json!({"metadata": {"uid": &*node.metadata.uid},
            "spec": {"podCIDR": parts.first(), "podCIDRs": parts}});
        let api: Api<ApiNode> = Api::all(self.client.clone());
        match api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(Error::Api { node: key.clone(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("", name)
    }

    #[test]
    fn parts_are_given_once_and_again_after_release() {
        let networks = vec![Network::parse("10.244.0.0/23", 24, 64).expect("a network")];
        let mut allocator = Allocator { networks, ..Allocator::default() };
        assert_eq!(allocator.give(&key("a")), Some(vec!["10.244.0.0/24".to_owned()]));
        assert_eq!(allocator.give(&key("a")), Some(vec!["10.244.0.0/24".to_owned()]));
        assert_eq!(allocator.give(&key("b")), Some(vec!["10.244.1.0/24".to_owned()]));
        assert_eq!(allocator.give(&key("c")), None);
        allocator.release(&key("a"), &["10.244.0.0/24".into()]);
        assert_eq!(allocator.give(&key("c")), Some(vec!["10.244.0.0/24".to_owned()]));
    }

    #[test]
    fn what_nodes_have_is_not_given_again_also_with_two_families() {
        let parse = |text| Network::parse(text, 24, 64).expect("a network");
        let networks = vec![parse("10.0.0.0/16"), parse("fd00::/56")];
        let mut allocator = Allocator { networks, ..Allocator::default() };
        allocator.occupy(&["10.0.0.0/24".into(), "fd00::/64".into()]);
        let expected = vec!["10.0.1.0/24".to_owned(), "fd00:0:0:1::/64".to_owned()];
        assert_eq!(allocator.give(&key("a")), Some(expected));
    }

    #[test]
    fn networks_that_cannot_be_divided_are_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/28", "1.0.0.0/2", "x/8"] {
            assert!(Network::parse(text, 24, 64).is_err(), "{text}");
        }
    }
}
