//! What one service needs of the ruleset: a pure function of the service, its endpoints and this node.
//!
//! Chains, sets and map elements have names made from the service alone, so that services are independent of each
//! other and a change of one touches nothing of another.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::cache::{Endpoint, Service, ServiceEntry, ServiceKey, ServicePort};

/// An address family and what nft calls things in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    pub(super) fn address_type(self) -> &'static str {
        match self {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        }
    }

    pub(super) fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

/// What of this node matters to rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub name: String,
    /// Networks of pods; traffic from elsewhere to a cluster address is masqueraded.
    pub cluster_cidrs: Vec<String>,
    /// Cluster addresses this node answers at itself.
    pub own_addresses: Vec<IpAddr>,
}

/// The part of the ruleset that belongs to one service in one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Rules by chain.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Sets of clients that stay with an endpoint, with the timeout in seconds.
    pub affinity_sets: BTreeMap<String, u32>,
    /// Elements: (set or map, key) to the value, empty for sets.
    pub elements: BTreeMap<(&'static str, String), String>,
    /// Addresses and ports at which UDP is served, with the endpoints: stale connections are forgotten by them.
    pub udp: BTreeMap<SocketAddr, BTreeSet<IpAddr>>,
    /// The same for ports of the node.
    pub udp_node_ports: BTreeMap<u16, BTreeSet<IpAddr>>,
}

/// Computes the part of `key`.
pub(super) fn rules(key: &ServiceKey, entry: &ServiceEntry, node: &Node, family: Family) -> Rules {
    let mut rules = Rules::default();
    let Some(service) = entry.service.as_deref() else { return rules };
    if service.headless || service.external_name.is_some() {
        return rules;
    }
    let in_family = |addresses: &[IpAddr]| -> Vec<IpAddr> {
        let ours = |address: &IpAddr| family.has(address) && !node.own_addresses.contains(address);
        addresses.iter().copied().filter(ours).collect()
    };
    let cluster = in_family(&service.cluster_ips);
    let external = in_family(&service.external_ips);
    if cluster.is_empty() && external.is_empty() {
        return rules;
    }
    for address in &cluster {
        rules.elements.insert(("cluster-ips", address.to_string()), String::new());
    }
    for port in &service.ports {
        Port { key, service, port, node, family, cluster: &cluster, external: &external }
            .add(entry, &mut rules);
    }
    rules
}

/// One port of a service.
struct Port<'a> {
    key: &'a ServiceKey,
    service: &'a Service,
    port: &'a ServicePort,
    node: &'a Node,
    family: Family,
    cluster: &'a [IpAddr],
    external: &'a [IpAddr],
}

/// An endpoint address and port.
type Target = (IpAddr, u16);

impl Port<'_> {
    fn add(&self, entry: &ServiceEntry, rules: &mut Rules) {
        let all = self.targets(entry, |_| true);
        let local = self.targets(entry, |endpoint| endpoint.node.as_deref() == Some(self.node.name.as_str()));
        let for_cluster = if self.service.internal_local { &local } else { &all };
        for target in all.iter().chain(&local) {
            self.add_endpoint(target, rules);
        }
        let in_use = !self.external.is_empty() || self.port.node_port.is_some();
        // The chain for all endpoints is also what pods use to reach an outside address of the service.
        let cluster_chain = self.name("service");
        if !all.is_empty() && (!self.service.internal_local || in_use) {
            rules.chains.insert(cluster_chain.clone(), self.service_chain(&all));
        }
        let internal_chain = if self.service.internal_local {
            self.name("service-local-internal")
        } else {
            cluster_chain.clone()
        };
        if self.service.internal_local && !local.is_empty() {
            rules.chains.insert(internal_chain.clone(), self.service_chain(&local));
        }
        for address in self.cluster {
            self.point(
                rules,
                "service-ips",
                "no-endpoint-services",
                address,
                &internal_chain,
                for_cluster,
                &all,
            );
        }
        if !in_use {
            return;
        }
        let external_chain = self.name("external");
        // Pods of this cluster reach all endpoints also where outside traffic does not.
        if !all.is_empty() {
            rules.chains.insert(external_chain.clone(), self.external_chain(&cluster_chain, &local));
        }
        for address in self.external {
            self.point(rules, "service-ips", "no-endpoint-services", address, &external_chain, &all, &all);
        }
        if let Some(node_port) = self.port.node_port {
            let key = format!("{} . {node_port}", self.port.protocol);
            let (map, verdict) = if all.is_empty() {
                ("no-endpoint-nodeports", "goto reject-chain".to_owned())
            } else {
                ("service-nodeports", format!("goto {external_chain}"))
            };
            rules.elements.insert((map, key), verdict);
            if self.port.protocol == "udp" {
                rules.udp_node_ports.insert(node_port, all.iter().map(|(address, _)| *address).collect());
            }
        }
    }

    /// Sends an address of the service to `chain`, or tells clients that nobody is there.
    #[expect(clippy::too_many_arguments, reason = "two maps and two lists that only make sense together")]
    fn point(
        &self,
        rules: &mut Rules,
        map: &'static str,
        empty_map: &'static str,
        address: &IpAddr,
        chain: &str,
        targets: &[Target],
        all: &[Target],
    ) {
        let key = format!("{address} . {} . {}", self.port.protocol, self.port.port);
        if targets.is_empty() {
            // Endpoints elsewhere only: the policy says to be silent. None at all: refuse.
            let verdict = if all.is_empty() { "goto reject-chain" } else { "drop" };
            rules.elements.insert((empty_map, key), verdict.to_owned());
        } else {
            rules.elements.insert((map, key), format!("goto {chain}"));
        }
        if self.port.protocol == "udp" {
            let at = SocketAddr::new(*address, self.port.port);
            rules.udp.insert(at, targets.iter().map(|(address, _)| *address).collect());
        }
    }

    /// The endpoints that take traffic: the ready ones, or those that still serve while they go away if there is
    /// no ready one.
    fn targets(&self, entry: &ServiceEntry, counts: impl Fn(&Endpoint) -> bool) -> Vec<Target> {
        let mut ready = BTreeSet::new();
        let mut leaving = BTreeSet::new();
        for slice in entry.slices.values() {
            let port = slice
                .ports
                .iter()
                .find(|port| port.name == self.port.name && port.protocol == self.port.protocol);
            let Some(port) = port else { continue };
            let endpoints = slice.endpoints.iter();
            for endpoint in endpoints.filter(|e| self.family.has(&e.address) && counts(e)) {
                if endpoint.ready {
                    ready.insert((endpoint.address, port.port));
                } else if endpoint.serving && endpoint.terminating {
                    leaving.insert((endpoint.address, port.port));
                }
            }
        }
        if ready.is_empty() { leaving } else { ready }.into_iter().collect()
    }

    /// A name for a chain or set of this port: a hash keeps it unique, the rest makes it readable.
    fn name(&self, kind: &str) -> String {
        let ServiceKey { namespace, name } = self.key;
        let (protocol, port) = (self.port.protocol, &self.port.name);
        let id = hash(&format!("{namespace}/{name}:{port}:{protocol}"));
        let mut text = format!("{kind}-{id:08x}-{namespace}/{name}/{protocol}/{port}");
        text.truncate(120);
        text
    }

    fn endpoint_name(&self, (address, port): &Target) -> String {
        let address = address.to_string().replace(':', ".");
        let mut text = format!("{}__{address}/{port}", self.name("endpoint"));
        if text.len() > 200 {
            text.truncate(200);
        }
        text
    }

    fn affinity_name(&self, target: &Target) -> String {
        self.endpoint_name(target).replacen("endpoint", "affinity", 1)
    }

    fn add_endpoint(&self, target: &Target, rules: &mut Rules) {
        let (address, port) = target;
        let family = self.family.name();
        let mut chain = vec![format!("{family} saddr {address} jump mark-for-masquerade")];
        if let Some(seconds) = self.service.affinity {
            let set = self.affinity_name(target);
            chain.push(format!("update @{set} {{ {family} saddr }}"));
            rules.affinity_sets.insert(set, seconds);
        }
        let to = SocketAddr::new(*address, *port);
        chain.push(format!("meta l4proto {} dnat to {to}", self.port.protocol));
        rules.chains.insert(self.endpoint_name(target), chain);
    }

    fn service_chain(&self, targets: &[Target]) -> Vec<String> {
        let family = self.family.name();
        let mut chain = Vec::new();
        let pods = self.pod_networks();
        if let Some(pods) = &pods {
            for address in self.cluster {
                chain.push(format!(
                    "{family} daddr {address} {family} saddr != {pods} jump mark-for-masquerade"
                ));
            }
        }
        self.balance(targets, &mut chain);
        chain
    }

    fn balance(&self, targets: &[Target], chain: &mut Vec<String>) {
        if self.service.affinity.is_some() {
            for target in targets {
                chain.push(format!(
                    "{} saddr @{} goto {}",
                    self.family.name(),
                    self.affinity_name(target),
                    self.endpoint_name(target)
                ));
            }
        }
        let choices: Vec<String> = targets
            .iter()
            .enumerate()
            .map(|(number, target)| format!("{number} : goto {}", self.endpoint_name(target)))
            .collect();
        chain.push(format!("numgen random mod {} vmap {{ {} }}", targets.len(), choices.join(", ")));
    }

    /// For traffic to an address of the service outside the cluster.
    fn external_chain(&self, cluster_chain: &str, local: &[Target]) -> Vec<String> {
        let mut chain = Vec::new();
        if !self.service.external_local {
            chain.push("jump mark-for-masquerade".to_owned());
            chain.push(format!("goto {cluster_chain}"));
            return chain;
        }
        // From inside the cluster every endpoint is as good: there is no client address to preserve for.
        if let Some(pods) = self.pod_networks() {
            chain.push(format!("{} saddr {pods} goto {cluster_chain}", self.family.name()));
        }
        chain.push("fib saddr type local jump mark-for-masquerade".to_owned());
        chain.push(format!("fib saddr type local goto {cluster_chain}"));
        if local.is_empty() {
            // Silence, not a refusal: a load balancer shall look for another node.
            chain.push("drop".to_owned());
        } else {
            self.balance(local, &mut chain);
        }
        chain
    }

    fn pod_networks(&self) -> Option<String> {
        let v4 = self.family == Family::V4;
        let networks: Vec<&str> = self
            .node
            .cluster_cidrs
            .iter()
            .filter(|cidr| cidr.contains(':') != v4)
            .map(String::as_str)
            .collect();
        match networks.as_slice() {
            [] => None,
            [one] => Some((*one).to_owned()),
            several => Some(format!("{{ {} }}", several.join(", "))),
        }
    }
}

fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |state: u32, byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::{super::cache::Slice, *};

    pub(crate) fn endpoint(address: &str, node: &str, ready: bool, terminating: bool) -> Endpoint {
        Endpoint {
            address: address.parse().expect("an address"),
            ready,
            serving: ready || terminating,
            terminating,
            hostname: None,
            node: Some(node.into()),
        }
    }

    pub(crate) fn entry(service: Service, endpoints: Vec<Endpoint>) -> ServiceEntry {
        let ports = service.ports.iter().map(|port| super::super::cache::SlicePort {
            name: port.name.clone(),
            protocol: port.protocol,
            port: 8080,
        });
        let slice = Slice { ports: ports.collect(), endpoints };
        ServiceEntry { service: Some(Arc::new(service)), slices: [("s".into(), Arc::new(slice))].into() }
    }

    pub(crate) fn service() -> Service {
        Service {
            cluster_ips: vec!["10.96.0.9".parse().expect("an address")],
            ports: vec![ServicePort { name: "http".into(), protocol: "tcp", port: 80, node_port: None }],
            ..Service::default()
        }
    }

    pub(crate) fn here() -> Node {
        Node {
            name: "here".to_owned(),
            cluster_cidrs: vec!["10.244.0.0/16".to_owned()],
            own_addresses: Vec::new(),
        }
    }

    fn compute(service: Service, endpoints: Vec<Endpoint>) -> Rules {
        rules(&ServiceKey::new("ns", "web"), &entry(service, endpoints), &here(), Family::V4)
    }

    fn verdict<'a>(rules: &'a Rules, map: &'static str, key: &str) -> Option<&'a str> {
        rules.elements.get(&(map, key.to_owned())).map(String::as_str)
    }

    fn chain<'a>(rules: &'a Rules, kind: &str) -> &'a [String] {
        let mut found = rules.chains.iter().filter(|(name, _)| name.starts_with(&format!("{kind}-")));
        found.next().map(|(_, rules)| rules.as_slice()).unwrap_or_default()
    }

    #[test]
    fn a_cluster_address_is_balanced_over_ready_endpoints() {
        let endpoints = vec![
            endpoint("10.244.0.5", "here", true, false),
            endpoint("10.244.1.6", "there", true, false),
            endpoint("10.244.1.7", "there", false, false),
        ];
        let rules = compute(service(), endpoints);
        let verdict = verdict(&rules, "service-ips", "10.96.0.9 . tcp . 80").expect("an element");
        assert!(verdict.starts_with("goto service-"), "{verdict}");
        let chain = chain(&rules, "service");
        assert_eq!(chain[0], "ip daddr 10.96.0.9 ip saddr != 10.244.0.0/16 jump mark-for-masquerade");
        assert!(chain[1].starts_with("numgen random mod 2 vmap { 0 : goto endpoint-"), "{}", chain[1]);
        assert_eq!(rules.chains.len(), 3);
        let endpoint = rules.chains.iter().find(|(name, _)| name.contains("10.244.0.5")).expect("a chain").1;
        assert_eq!(endpoint[0], "ip saddr 10.244.0.5 jump mark-for-masquerade");
        assert_eq!(endpoint[1], "meta l4proto tcp dnat to 10.244.0.5:8080");
    }

    #[test]
    fn nobody_there_is_refused_and_elsewhere_only_is_silent() {
        let empty = compute(service(), Vec::new());
        assert_eq!(
            verdict(&empty, "no-endpoint-services", "10.96.0.9 . tcp . 80"),
            Some("goto reject-chain")
        );
        assert!(empty.chains.is_empty());
        let mut local = service();
        local.internal_local = true;
        let elsewhere = compute(local.clone(), vec![endpoint("10.244.1.6", "there", true, false)]);
        assert_eq!(verdict(&elsewhere, "no-endpoint-services", "10.96.0.9 . tcp . 80"), Some("drop"));
        let both =
            vec![endpoint("10.244.0.5", "here", true, false), endpoint("10.244.1.6", "there", true, false)];
        let rules = compute(local, both);
        assert!(chain(&rules, "service-local-internal").last().is_some_and(|rule| rule.contains("mod 1")));
    }

    #[test]
    fn terminating_endpoints_serve_when_nobody_else_does() {
        let leaving = endpoint("10.244.0.5", "here", false, true);
        let rules = compute(service(), vec![leaving.clone()]);
        assert!(verdict(&rules, "service-ips", "10.96.0.9 . tcp . 80").is_some());
        let rules = compute(service(), vec![leaving, endpoint("10.244.0.6", "here", true, false)]);
        assert!(chain(&rules, "service").iter().any(|rule| rule.contains("mod 1")));
    }

    #[test]
    fn node_ports_and_outside_addresses_follow_their_policy() {
        let mut service = service();
        service.ports[0].node_port = Some(30080);
        service.external_ips = vec!["192.0.2.7".parse().expect("an address")];
        let there = vec![endpoint("10.244.1.6", "there", true, false)];
        let rules = compute(service.clone(), there.clone());
        assert!(
            verdict(&rules, "service-nodeports", "tcp . 30080")
                .is_some_and(|v| v.starts_with("goto external-"))
        );
        assert!(
            verdict(&rules, "service-ips", "192.0.2.7 . tcp . 80")
                .is_some_and(|v| v.starts_with("goto external-"))
        );
        assert_eq!(chain(&rules, "external")[0], "jump mark-for-masquerade");
        service.external_local = true;
        let rules = compute(service, there);
        let external = chain(&rules, "external");
        assert!(external[0].starts_with("ip saddr 10.244.0.0/16 goto service-"), "{}", external[0]);
        assert_eq!(external.last().map(String::as_str), Some("drop"));
    }

    #[test]
    fn clients_stay_with_their_endpoint() {
        let mut service = service();
        service.affinity = Some(600);
        let rules = compute(service, vec![endpoint("10.244.0.5", "here", true, false)]);
        assert_eq!(rules.affinity_sets.values().copied().collect::<Vec<_>>(), [600]);
        assert!(chain(&rules, "service")[1].starts_with("ip saddr @affinity-"));
        assert!(chain(&rules, "endpoint")[1].starts_with("update @affinity-"));
    }

    #[test]
    fn headless_and_other_families_need_nothing() {
        let mut headless = service();
        headless.headless = true;
        headless.cluster_ips.clear();
        assert_eq!(compute(headless, vec![endpoint("10.244.0.5", "here", true, false)]), Rules::default());
        let six = rules(&ServiceKey::new("ns", "web"), &entry(service(), Vec::new()), &here(), Family::V6);
        assert_eq!(six, Rules::default());
    }
}
