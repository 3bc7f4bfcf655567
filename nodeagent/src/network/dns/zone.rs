//! What the name server knows itself: a pure function of a question and the services there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT},
};

use crate::network::proxy::{Endpoint, ServiceCache, ServiceEntry, ServiceKey};

/// How long an answer about a service may be kept.
const TTL: u32 = 5;
/// How long what never changes may be kept.
const LONG_TTL: u32 = 30;
/// Version of the schema.
const SCHEMA: &str = "1.1.0";

/// The cluster's part of the name space.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    /// `cluster.local`, without dots at the ends, lower case.
    pub domain: String,
    /// Networks whose reverse names are ours: first address and prefix length.
    pub reverse: Vec<(IpAddr, u8)>,
}

/// What is known about a question.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// These records, and these additional ones.
    Found(Vec<Record>, Vec<Record>),
    /// The name is there, but has no such records.
    NoData,
    /// There is no such name.
    NoName,
    /// The name stands for another one, that somebody else may know.
    Alias(Box<Record>, Name),
    /// Not ours: ask elsewhere.
    NotOurs,
}

impl Zone {
    /// The record that says how long a negative answer may be kept.
    pub(super) fn soa(&self) -> Option<Record> {
        let name = Name::from_ascii(format!("{}.", self.domain)).ok()?;
        let server = Name::from_ascii(format!("ns.dns.{}.", self.domain)).ok()?;
        let contact = Name::from_ascii(format!("hostmaster.{}.", self.domain)).ok()?;
        // The zone has no copies anywhere: its serial number means nothing.
        let soa = SOA::new(server, contact, 1, 7200, 1800, 86_400, TTL);
        Some(Record::from_rdata(name, LONG_TTL, RData::SOA(soa)))
    }

    /// Answers a question.
    pub(super) fn answer(&self, services: &ServiceCache, name: &Name, type_: RecordType) -> Answer {
        let text = name.to_lowercase().to_ascii();
        let text = text.trim_end_matches('.');
        if let Some(address) = reverse_address(text) {
            return self.reverse(services, name, address, type_);
        }
        let Some(rest) = text.strip_suffix(&self.domain) else { return Answer::NotOurs };
        let Some(rest) = rest.strip_suffix('.').or(rest.is_empty().then_some("")) else {
            return Answer::NotOurs;
        };
        let mut labels: Vec<&str> = rest.split('.').filter(|label| !label.is_empty()).collect();
        labels.reverse();
        let query = Query { zone: self, name, type_ };
        match labels.as_slice() {
            [] => match (type_, self.soa()) {
                (RecordType::SOA, Some(soa)) => Answer::Found(vec![soa], Vec::new()),
                _ => Answer::NoData,
            },
            ["dns-version"] => match type_ {
                RecordType::TXT | RecordType::ANY => {
                    let text = RData::TXT(TXT::new(vec![SCHEMA.to_owned()]));
                    Answer::Found(vec![Record::from_rdata(name.clone(), LONG_TTL, text)], Vec::new())
                }
                _ => Answer::NoData,
            },
            ["svc" | "pod"] => Answer::NoData,
            ["svc" | "pod", namespace] if services.has_namespace(namespace) => Answer::NoData,
            ["pod", _, address] => query.pod(address),
            ["svc", namespace, service, rest @ ..] => {
                let key = ServiceKey::new(namespace, service);
                let Some(entry) = services.get(&key).filter(|entry| entry.service.is_some()) else {
                    return Answer::NoName;
                };
                match rest {
                    [] => query.service(&key, &entry),
                    [endpoint] if !endpoint.starts_with('_') => query.endpoint(&entry, endpoint),
                    // The protocol alone is a name without records of its own.
                    [_protocol] => Answer::NoData,
                    [protocol, port] => query.port(&key, &entry, protocol, port),
                    _ => Answer::NoName,
                }
            }
            _ => Answer::NoName,
        }
    }

    fn reverse(&self, services: &ServiceCache, name: &Name, address: IpAddr, type_: RecordType) -> Answer {
        let found: Vec<String> = services
            .by_address(address)
            .into_iter()
            .filter_map(|(key, entry)| {
                let service = entry.service.as_ref()?;
                if service.cluster_ips.contains(&address) {
                    return Some(service_name(&key, &self.domain));
                }
                let endpoint = entry.endpoints().find(|endpoint| endpoint.address == address)?;
                let named = service.headless || endpoint.hostname.is_some();
                named.then(|| format!("{}.{}", host(endpoint), service_name(&key, &self.domain)))
            })
            .collect();
        if found.is_empty() {
            let ours = self.reverse.iter().any(|(network, length)| contains(*network, *length, address));
            return if ours { Answer::NoName } else { Answer::NotOurs };
        }
        if !matches!(type_, RecordType::PTR | RecordType::ANY) {
            return Answer::NoData;
        }
        let targets = found.iter().filter_map(|text| Name::from_ascii(text).ok());
        let records = targets.map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))));
        Answer::Found(records.collect(), Vec::new())
    }
}

/// One question.
struct Query<'a> {
    zone: &'a Zone,
    name: &'a Name,
    type_: RecordType,
}

impl Query<'_> {
    /// Address records of the wanted type.
    fn addresses(&self, name: &Name, type_: RecordType, all: impl Iterator<Item = IpAddr>) -> Vec<Record> {
        let wanted = all.filter(|address| match type_ {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            _ => true,
        });
        wanted.map(|address| Record::from_rdata(name.clone(), TTL, address_data(address))).collect()
    }

    fn found(records: Vec<Record>) -> Answer {
        if records.is_empty() { Answer::NoData } else { Answer::Found(records, Vec::new()) }
    }

    fn wants_addresses(&self) -> bool {
        matches!(self.type_, RecordType::A | RecordType::AAAA | RecordType::ANY)
    }

    fn service(&self, key: &ServiceKey, entry: &ServiceEntry) -> Answer {
        let Some(service) = entry.service.as_deref() else { return Answer::NoName };
        if let Some(target) = service.external_name.as_deref() {
            let target = format!("{}.", target.trim_end_matches('.'));
            let Ok(target) = Name::from_ascii(target) else { return Answer::NoData };
            let record = Record::from_rdata(self.name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
            return match self.type_ {
                RecordType::CNAME | RecordType::ANY => Answer::Found(vec![record], Vec::new()),
                _ => Answer::Alias(Box::new(record), target),
            };
        }
        if service.headless && !entry.endpoints().any(|endpoint| endpoint.ready) {
            // Nobody is there: upstream's name server says that there is no such name then.
            return Answer::NoName;
        }
        match self.type_ {
            RecordType::SRV => self.ports(key, entry, |_, _| true),
            _ if !self.wants_addresses() => Answer::NoData,
            _ if service.headless => {
                let ready = entry.endpoints().filter(|endpoint| endpoint.ready);
                Self::found(self.addresses(self.name, self.type_, ready.map(|endpoint| endpoint.address)))
            }
            _ => Self::found(self.addresses(self.name, self.type_, service.cluster_ips.iter().copied())),
        }
    }

    fn endpoint(&self, entry: &ServiceEntry, wanted: &str) -> Answer {
        let matching: Vec<IpAddr> = entry
            .endpoints()
            .filter(|endpoint| endpoint.ready && host(endpoint) == wanted)
            .map(|endpoint| endpoint.address)
            .collect();
        if matching.is_empty() {
            return Answer::NoName;
        }
        if !self.wants_addresses() {
            return Answer::NoData;
        }
        Self::found(self.addresses(self.name, self.type_, matching.into_iter()))
    }

    fn port(&self, key: &ServiceKey, entry: &ServiceEntry, protocol: &str, port: &str) -> Answer {
        let (Some(protocol), Some(port)) = (protocol.strip_prefix('_'), port.strip_prefix('_')) else {
            return Answer::NoName;
        };
        let Some(service) = entry.service.as_deref() else { return Answer::NoName };
        let known = service.ports.iter().any(|known| known.protocol == protocol && *known.name == *port)
            || entry.slices.values().any(|slice| {
                service.headless
                    && slice.ports.iter().any(|known| known.protocol == protocol && *known.name == *port)
            });
        if !known {
            return Answer::NoName;
        }
        match self.type_ {
            RecordType::SRV | RecordType::ANY => self.ports(key, entry, |p, n| p == protocol && n == port),
            _ => Answer::NoData,
        }
    }

    /// Service records of the ports that `wanted` says yes to by protocol and name.
    fn ports(&self, key: &ServiceKey, entry: &ServiceEntry, wanted: impl Fn(&str, &str) -> bool) -> Answer {
        let Some(service) = entry.service.as_deref() else { return Answer::NoName };
        let suffix = service_name(key, &self.zone.domain);
        let mut targets: Vec<(u16, Name, IpAddr)> = Vec::new();
        if service.headless {
            for slice in entry.slices.values() {
                for port in slice.ports.iter().filter(|port| wanted(port.protocol, &port.name)) {
                    for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                        let Ok(name) = Name::from_ascii(format!("{}.{suffix}", host(endpoint))) else {
                            continue;
                        };
                        targets.push((port.port, name, endpoint.address));
                    }
                }
            }
        } else if let Ok(name) = Name::from_ascii(&suffix) {
            for port in service.ports.iter().filter(|port| wanted(port.protocol, &port.name)) {
                let addresses = service.cluster_ips.iter();
                targets.extend(addresses.map(|address| (port.port, name.clone(), *address)));
            }
        }
        let mut records: Vec<Record> = Vec::new();
        let mut additional: Vec<Record> = Vec::new();
        let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
        for (port, name, address) in targets {
            let data = RData::SRV(SRV::new(0, weight, port, name.clone()));
            let record = Record::from_rdata(self.name.clone(), TTL, data);
            if !records.contains(&record) {
                records.push(record);
            }
            let record = Record::from_rdata(name, TTL, address_data(address));
            if !additional.contains(&record) {
                additional.push(record);
            }
        }
        if records.is_empty() { Answer::NoData } else { Answer::Found(records, additional) }
    }

    /// `10-244-0-5.default.pod`: the address is in the name.
    fn pod(&self, dashed: &str) -> Answer {
        let v4 = dashed.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
        let Ok(address) = v4.or_else(|_| dashed.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6)) else {
            return Answer::NoName;
        };
        if !self.wants_addresses() {
            return Answer::NoData;
        }
        Self::found(self.addresses(self.name, self.type_, std::iter::once(address)))
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn service_name(key: &ServiceKey, domain: &str) -> String {
    format!("{}.{}.svc.{domain}.", key.name, key.namespace)
}

/// The name of an endpoint below its service: its host name, or its address with dashes.
fn host(endpoint: &Endpoint) -> String {
    match &endpoint.hostname {
        Some(hostname) => hostname.to_string(),
        None => endpoint.address.to_string().replace(['.', ':'], "-"),
    }
}

/// The address a reverse name stands for.
fn reverse_address(text: &str) -> Option<IpAddr> {
    if let Some(labels) = text.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<&str> = labels.split('.').collect();
        octets.reverse();
        return octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let labels: Vec<&str> = text.strip_suffix(".ip6.arpa")?.split('.').collect();
    if labels.len() != 32 || labels.iter().any(|label| label.len() != 1) {
        return None;
    }
    let digits: String = labels.into_iter().rev().collect();
    u128::from_str_radix(&digits, 16).ok().map(|bits| IpAddr::V6(bits.into()))
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let same = |a: u128, b: u128, bits: u8| {
        let rest = u32::from(bits.saturating_sub(length));
        rest >= 128 || a >> rest == b >> rest
    };
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::network::proxy::{Service, ServicePort, Slice, SlicePort};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    pub(crate) fn zone() -> Zone {
        Zone {
            domain: "cluster.local".to_owned(),
            reverse: vec![(ip("10.96.0.0"), 16), (ip("10.244.0.0"), 16)],
        }
    }

    fn endpoint(address: &str, hostname: Option<&str>, ready: bool) -> Endpoint {
        Endpoint {
            address: ip(address),
            ready,
            serving: ready,
            terminating: false,
            hostname: hostname.map(Into::into),
            node: None,
        }
    }

    pub(crate) fn services() -> Arc<ServiceCache> {
        let cache = ServiceCache::new();
        let port = || ServicePort { name: "http".into(), protocol: "tcp", port: 80, node_port: None };
        let web = Service {
            cluster_ips: vec![ip("10.96.0.9"), ip("fd00::9")],
            ports: vec![port()],
            ..Service::default()
        };
        cache.set_service(ServiceKey::new("default", "web"), Some(web));
        let db = Service { headless: true, ports: vec![port()], ..Service::default() };
        cache.set_service(ServiceKey::new("default", "db"), Some(db));
        let slice = Slice {
            ports: vec![SlicePort { name: "http".into(), protocol: "tcp", port: 5432 }],
            endpoints: vec![
                endpoint("10.244.0.5", Some("db-0"), true),
                endpoint("10.244.0.6", None, true),
                endpoint("10.244.0.7", Some("db-2"), false),
            ],
        };
        cache.set_slice("default", "db-x", Some((ServiceKey::new("default", "db"), slice)));
        let empty = Service { headless: true, ..Service::default() };
        cache.set_service(ServiceKey::new("default", "empty"), Some(empty));
        let outside = Service { external_name: Some("example.com".into()), ..Service::default() };
        cache.set_service(ServiceKey::new("other", "outside"), Some(outside));
        cache
    }

    fn ask(name: &str, type_: RecordType) -> Answer {
        zone().answer(&services(), &Name::from_ascii(name).expect("a name"), type_)
    }

    fn data(name: &str, type_: RecordType) -> Vec<String> {
        match ask(name, type_) {
            Answer::Found(records, _) => {
                let mut data: Vec<String> = records.iter().map(|record| record.data.to_string()).collect();
                data.sort();
                data
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn cluster_addresses() {
        assert_eq!(data("web.default.svc.cluster.local.", RecordType::A), ["10.96.0.9"]);
        assert_eq!(data("WEB.Default.svc.Cluster.Local.", RecordType::A), ["10.96.0.9"]);
        assert_eq!(data("web.default.svc.cluster.local.", RecordType::AAAA), ["fd00::9"]);
        assert_eq!(
            data("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV),
            ["0 50 80 web.default.svc.cluster.local."]
        );
        assert_eq!(data("9.0.96.10.in-addr.arpa.", RecordType::PTR), ["web.default.svc.cluster.local."]);
    }

    #[test]
    fn headless_services_stand_for_their_ready_endpoints() {
        assert_eq!(data("db.default.svc.cluster.local.", RecordType::A), ["10.244.0.5", "10.244.0.6"]);
        assert_eq!(data("db-0.db.default.svc.cluster.local.", RecordType::A), ["10.244.0.5"]);
        assert_eq!(data("10-244-0-6.db.default.svc.cluster.local.", RecordType::A), ["10.244.0.6"]);
        assert_eq!(ask("db-2.db.default.svc.cluster.local.", RecordType::A), Answer::NoName);
        assert_eq!(ask("empty.default.svc.cluster.local.", RecordType::A), Answer::NoName);
        assert_eq!(
            data("_http._tcp.db.default.svc.cluster.local.", RecordType::SRV),
            [
                "0 50 5432 10-244-0-6.db.default.svc.cluster.local.",
                "0 50 5432 db-0.db.default.svc.cluster.local."
            ]
        );
        assert_eq!(data("5.0.244.10.in-addr.arpa.", RecordType::PTR), ["db-0.db.default.svc.cluster.local."]);
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_has_no_such_record() {
        let cases = [
            ("web.default.svc.cluster.local.", RecordType::TXT, Answer::NoData),
            ("default.svc.cluster.local.", RecordType::A, Answer::NoData),
            ("svc.cluster.local.", RecordType::A, Answer::NoData),
            ("cluster.local.", RecordType::A, Answer::NoData),
            ("_tcp.web.default.svc.cluster.local.", RecordType::SRV, Answer::NoData),
            ("nobody.default.svc.cluster.local.", RecordType::A, Answer::NoName),
            ("web.nowhere.svc.cluster.local.", RecordType::A, Answer::NoName),
            ("nowhere.svc.cluster.local.", RecordType::A, Answer::NoName),
            ("_https._tcp.web.default.svc.cluster.local.", RecordType::SRV, Answer::NoName),
            ("x.cluster.local.", RecordType::A, Answer::NoName),
            ("7.7.244.10.in-addr.arpa.", RecordType::PTR, Answer::NoName),
            ("8.8.8.8.in-addr.arpa.", RecordType::PTR, Answer::NotOurs),
            ("example.com.", RecordType::A, Answer::NotOurs),
            ("notcluster.local.", RecordType::A, Answer::NotOurs),
        ];
        for (name, type_, expected) in cases {
            assert_eq!(ask(name, type_), expected, "{name}");
        }
    }

    #[test]
    fn pods_aliases_and_the_version() {
        assert_eq!(data("10-244-0-5.default.pod.cluster.local.", RecordType::A), ["10.244.0.5"]);
        assert_eq!(ask("nonsense.default.pod.cluster.local.", RecordType::A), Answer::NoName);
        assert_eq!(data("dns-version.cluster.local.", RecordType::TXT), ["1.1.0"]);
        assert_eq!(data("outside.other.svc.cluster.local.", RecordType::CNAME), ["example.com."]);
        assert!(matches!(
            ask("outside.other.svc.cluster.local.", RecordType::A),
            Answer::Alias(_, target) if target.to_ascii() == "example.com."
        ));
        let v6 = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
        assert_eq!(data(v6, RecordType::PTR), ["web.default.svc.cluster.local."]);
    }
}
