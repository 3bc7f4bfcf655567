//! Gives out cluster IPs and node ports.
//!
//! The numbers in use are kept in memory and rebuilt from the stored services at start. A claim is taken under one
//! lock before the service is written and given back when the write does not happen, so that no two services of
//! this API server ever get the same.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::field::{ErrorList, Path};
use api_types::meta::{self, str_at};
use api_types::status::Status;
use parking_lot::Mutex;
use rand::RngExt;
use serde_json::{Value, json};

/// Ranges to give out from.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// First address of the service network.
    pub network: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// First node port.
    pub first_port: u16,
    /// Last node port.
    pub last_port: u16,
}

#[derive(Default)]
struct Used {
    ips: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// The allocators of one API server.
#[derive(Clone)]
pub struct Allocators {
    ranges: Ranges,
    used: Arc<Mutex<Used>>,
}

/// What was taken for a write; dropped without [`Claim::keep`], it is given back.
pub struct Claim {
    used: Arc<Mutex<Used>>,
    ips: Vec<Ipv4Addr>,
    ports: Vec<u16>,
    /// Given back when the write succeeds: what the object no longer uses.
    release: (Vec<Ipv4Addr>, Vec<u16>),
}

impl Claim {
    /// The write has happened.
    pub fn keep(mut self) {
        self.ips.clear();
        self.ports.clear();
        let (ips, ports) = std::mem::take(&mut self.release);
        let mut used = self.used.lock();
        ips.iter().for_each(|ip| {
            used.ips.remove(ip);
        });
        ports.iter().for_each(|p| {
            used.ports.remove(p);
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.ips.is_empty() && self.ports.is_empty() {
            return;
        }
        let mut used = self.used.lock();
        for ip in &self.ips {
            used.ips.remove(ip);
        }
        for p in &self.ports {
            used.ports.remove(p);
        }
    }
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "services"
}

fn node_ports(service: &Value) -> Vec<u16> {
    let ports = meta::at(service, &["spec", "ports"]).and_then(Value::as_array);
    let all = ports.into_iter().flatten().filter_map(|p| p.get("nodePort")?.as_u64());
    all.chain(meta::at(service, &["spec", "healthCheckNodePort"]).and_then(Value::as_u64))
        .filter_map(|n| u16::try_from(n).ok())
        .filter(|n| *n != 0)
        .collect()
}

fn cluster_ips(service: &Value) -> Vec<Ipv4Addr> {
    str_at(service, &["spec", "clusterIP"]).parse().into_iter().collect()
}

impl Allocators {
    /// Allocators over `ranges` with nothing in use.
    pub fn new(ranges: Ranges) -> Self {
        Self { ranges, used: Arc::default() }
    }

    /// Marks what a stored service uses.
    pub fn occupy(&self, service: &Value) {
        let mut used = self.used.lock();
        used.ips.extend(cluster_ips(service));
        used.ports.extend(node_ports(service));
    }

    /// The first address of the service network, which the service `kubernetes` has.
    pub fn first_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.ranges.network.to_bits() + 1)
    }

    fn claim(&self) -> Claim {
        Claim { used: self.used.clone(), ips: Vec::new(), ports: Vec::new(), release: Default::default() }
    }

    /// Gives a new service its address and ports.
    pub fn on_create(&self, kind: &Kind, object: &mut Value) -> Result<Claim, Status> {
        let mut claim = self.claim();
        if is_service(kind) {
            self.assign(kind, object, None, &mut claim)?;
        }
        Ok(claim)
    }

    /// Gives a changed service what it newly needs, and takes back what it no longer uses once it is written.
    pub fn on_update(&self, kind: &Kind, new: &mut Value, old: &Value) -> Result<Claim, Status> {
        let mut claim = self.claim();
        if is_service(kind) {
            self.assign(kind, new, Some(old), &mut claim)?;
            let (ips, ports) = (cluster_ips(new), node_ports(new));
            claim.release.0 = cluster_ips(old).into_iter().filter(|i| !ips.contains(i)).collect();
            claim.release.1 = node_ports(old).into_iter().filter(|p| !ports.contains(p)).collect();
        }
        Ok(claim)
    }

    /// Takes back what a deleted service used.
    pub fn on_delete(&self, kind: &Kind, old: &Value) {
        if is_service(kind) {
            let mut used = self.used.lock();
            for ip in cluster_ips(old) {
                used.ips.remove(&ip);
            }
            for p in node_ports(old) {
                used.ports.remove(&p);
            }
        }
    }

    fn assign(
        &self,
        kind: &Kind,
        new: &mut Value,
        old: Option<&Value>,
        claim: &mut Claim,
    ) -> Result<(), Status> {
        let name = meta::name(new).to_owned();
        let service_type = str_at(new, &["spec", "type"]).to_owned();
        let mut errors = ErrorList::new();
        if service_type == "ExternalName" {
            if let Some(Value::Object(spec)) = new.get_mut("spec") {
                for f in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
                    spec.remove(f);
                }
            }
            return Ok(());
        }
        self.assign_ip(new, old, claim, &mut errors);
        if service_type == "NodePort" || service_type == "LoadBalancer" {
            self.assign_ports(new, old, claim, &mut errors);
        }
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid(kind.group, kind.kind, &name, &errors)) }
    }

    fn assign_ip(&self, new: &mut Value, old: Option<&Value>, claim: &mut Claim, errors: &mut ErrorList) {
        let asked = str_at(new, &["spec", "clusterIP"]).to_owned();
        let first_of_list =
            meta::at(new, &["spec", "clusterIPs"]).and_then(|l| l.get(0)).and_then(Value::as_str);
        let asked = if asked.is_empty() { first_of_list.unwrap_or("").to_owned() } else { asked };
        let path = Path::new("spec").child("clusterIPs");
        let had = old.map(cluster_ips).unwrap_or_default();
        let ip = if asked == "None" {
            asked
        } else if asked.is_empty() {
            match self.free_ip() {
                Some(ip) => {
                    claim.ips.push(ip);
                    ip.to_string()
                }
                None => {
                    errors.invalid(&path, json!([]), "failed to allocate a serviceIP: range is full");
                    return;
                }
            }
        } else {
            match asked.parse::<Ipv4Addr>() {
                Ok(ip) if had.contains(&ip) => {}
                Ok(ip) if !self.in_range(ip) => {
                    let text = format!(
                        "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}/{}",
                        self.ranges.network, self.ranges.prefix
                    );
                    errors.invalid(&path, json!([asked]), text);
                    return;
                }
                Ok(ip) => {
                    if !self.used.lock().ips.insert(ip) {
                        let text = format!("failed to allocate IP {ip}: provided IP is already allocated");
                        errors.invalid(&path, json!([asked]), text);
                        return;
                    }
                    claim.ips.push(ip);
                }
                Err(_) => {
                    errors.invalid(
                        &path.index(0),
                        asked.as_str(),
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    );
                    return;
                }
            }
            asked
        };
        if let Some(Value::Object(spec)) = new.get_mut("spec") {
            spec.insert("clusterIP".into(), ip.clone().into());
            spec.insert("clusterIPs".into(), json!([ip]));
            meta::default_to(spec, "ipFamilyPolicy", "SingleStack");
            meta::default_to(spec, "ipFamilies", json!(["IPv4"]));
        }
    }

    fn in_range(&self, ip: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.ranges.prefix)).unwrap_or(0);
        ip.to_bits() & mask == self.ranges.network.to_bits() & mask
    }

    /// A free address. The lower part of the range is left to those who ask for one by name, as upstream does.
    fn free_ip(&self) -> Option<Ipv4Addr> {
        let size = 1u32 << (32 - u32::from(self.ranges.prefix)).min(20);
        let base = self.ranges.network.to_bits();
        let reserved = (size / 16).clamp(16.min(size / 2), 256);
        let mut used = self.used.lock();
        let start = rand::rng().random_range(0..size);
        let upper = |i: u32| reserved + (start + i) % (size - reserved);
        // The last address of the range is its broadcast address; the first one is the network's.
        let usable = |offset: &u32| *offset > 0 && *offset < size - 1;
        let candidates = (0..size - reserved).map(upper).chain(1..reserved).filter(usable);
        for offset in candidates {
            let ip = Ipv4Addr::from_bits(base + offset);
            if used.ips.insert(ip) {
                return Some(ip);
            }
        }
        None
    }

    fn assign_ports(&self, new: &mut Value, old: Option<&Value>, claim: &mut Claim, errors: &mut ErrorList) {
        if meta::at(new, &["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool) == Some(false) {
            return;
        }
        let had = old.map(node_ports).unwrap_or_default();
        let Some(ports) = new.get_mut("spec").and_then(|s| s.get_mut("ports")).and_then(Value::as_array_mut)
        else {
            return;
        };
        // One number may serve two protocols of the same port.
        let mut own: Vec<u16> = Vec::new();
        for (i, p) in ports.iter_mut().enumerate() {
            let asked =
                p.get("nodePort").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
            let path = Path::new("spec").child("ports").index(i).child("nodePort");
            if asked == 0 {
                match self.free_port() {
                    Some(n) => {
                        claim.ports.push(n);
                        own.push(n);
                        p["nodePort"] = n.into();
                    }
                    None => errors.invalid(&path, 0, "failed to allocate a nodePort: range is full"),
                }
                continue;
            }
            if had.contains(&asked) || own.contains(&asked) {
                continue;
            }
            if !(self.ranges.first_port..=self.ranges.last_port).contains(&asked) {
                let text = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    self.ranges.first_port, self.ranges.last_port
                );
                errors.invalid(&path, asked, text);
            } else if !self.used.lock().ports.insert(asked) {
                errors.invalid(&path, asked, "provided port is already allocated");
            } else {
                claim.ports.push(asked);
                own.push(asked);
            }
        }
    }

    fn free_port(&self) -> Option<u16> {
        let (first, last) = (u32::from(self.ranges.first_port), u32::from(self.ranges.last_port));
        let size = last - first + 1;
        let start = rand::rng().random_range(0..size);
        let mut used = self.used.lock();
        (0..size).map(|i| (first + (start + i) % size) as u16).find(|p| used.ports.insert(*p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_types::catalog;

    fn allocators() -> Allocators {
        Allocators::new(Ranges {
            network: Ipv4Addr::new(10, 96, 0, 0),
            prefix: 28,
            first_port: 30000,
            last_port: 30001,
        })
    }

    fn service(kind: &str) -> Value {
        json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{"port": 80}]}})
    }

    #[test]
    fn no_address_is_given_twice_and_dropped_claims_return() {
        let a = allocators();
        let services = catalog::by_kind("", "v1", "Service").unwrap();
        let mut seen = HashSet::new();
        for _ in 0..14 {
            let mut s = service("ClusterIP");
            a.on_create(services, &mut s).unwrap().keep();
            assert!(seen.insert(str_at(&s, &["spec", "clusterIP"]).to_owned()));
        }
        assert!(a.on_create(services, &mut service("ClusterIP")).is_err());
        let gone = json!({"spec": {"clusterIP": seen.iter().next().unwrap()}});
        a.on_delete(services, &gone);
        drop(a.on_create(services, &mut service("ClusterIP")).unwrap());
        a.on_create(services, &mut service("ClusterIP")).unwrap().keep();
        assert!(a.on_create(services, &mut service("ClusterIP")).is_err());
    }

    #[test]
    fn ports_and_asked_addresses() {
        let a = allocators();
        let services = catalog::by_kind("", "v1", "Service").unwrap();
        let mut s = service("NodePort");
        s["spec"]["clusterIP"] = "10.96.0.10".into();
        s["spec"]["ports"][0]["nodePort"] = 30001.into();
        a.on_create(services, &mut s.clone()).unwrap().keep();
        let e = a.on_create(services, &mut s).err().unwrap();
        assert!(e.message.contains("provided IP is already allocated"), "{e}");
        let mut other = service("NodePort");
        a.on_create(services, &mut other).unwrap().keep();
        assert_eq!(other["spec"]["ports"][0]["nodePort"], 30000);
        let mut shrunk = other.clone();
        shrunk["spec"]["type"] = "ClusterIP".into();
        shrunk["spec"]["ports"][0].as_object_mut().unwrap().remove("nodePort");
        a.on_update(services, &mut shrunk, &other).unwrap().keep();
        assert!(a.on_create(services, &mut service("NodePort")).is_ok());
    }
}
