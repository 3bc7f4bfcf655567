//! hostPort: ports of this node that lead to a pod, as one nftables table of our own.
//!
//! The reference plugin `portmap` does the same with iptables, an execution per pod and chains that stay behind.
//! Here the whole (small) table is loaded anew when a pod with host ports comes or goes, atomically.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Mutex;

use super::masquerade::{NftError, run};
use crate::pod::spec;

/// One port of the node that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    protocol: &'static str,
    host_ip: Option<String>,
    host_port: i32,
    pod_ip: String,
    pod_port: i32,
}

/// The host ports of this node's pods.
#[derive(Debug)]
pub struct HostPorts {
    bridge: String,
    pods: Mutex<BTreeMap<String, Vec<Mapping>>>,
}

/// Name of the table for a bridge.
pub fn table(bridge: &str) -> String {
    format!("skiff-hostport-{bridge}")
}

/// The mappings of a pod with this address; none for pods on the host's network.
pub fn mappings(pod: &Pod, pod_ip: &str) -> Vec<Mapping> {
    if spec::host_network(pod) {
        return Vec::new();
    }
    let spec = spec::spec(pod);
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let host_port = port.host_port.filter(|port| *port > 0)?;
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => "udp",
                Some("SCTP") => "sctp",
                _ => "tcp",
            };
            let any = |ip: &String| ip.is_empty() || ip == "0.0.0.0";
            Some(Mapping {
                protocol,
                // An address that is none cannot become part of a rule.
                host_ip: port
                    .host_ip
                    .clone()
                    .filter(|ip| !any(ip) && ip.parse::<std::net::Ipv4Addr>().is_ok()),
                host_port,
                pod_ip: pod_ip.to_owned(),
                pod_port: port.container_port,
            })
        })
        .collect()
}

impl HostPorts {
    /// No ports yet.
    pub fn new(bridge: &str) -> HostPorts {
        HostPorts { bridge: bridge.to_owned(), pods: Mutex::default() }
    }

    /// Makes the node's ports lead to a pod; none takes away what it had.
    pub async fn set(&self, uid: &str, mappings: Vec<Mapping>) -> Result<(), NftError> {
        let mut pods = self.pods.lock().await;
        let changed = if mappings.is_empty() {
            pods.remove(uid).is_some()
        } else {
            pods.insert(uid.to_owned(), mappings.clone()) != Some(mappings)
        };
        if !changed {
            return Ok(());
        }
        let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.bridge);
        if let Err(error) = std::fs::write(&path, "1") {
            tracing::debug!(%error, path, "host ports are not reachable over 127.0.0.1");
        }
        run(render(&self.bridge, pods.values().flatten())).await
    }
}

fn render<'a>(bridge: &str, mappings: impl Iterator<Item = &'a Mapping>) -> String {
    let mut rules = String::new();
    for mapping in mappings {
        let Mapping { protocol, host_ip, host_port, pod_ip, pod_port } = mapping;
        let address = host_ip.as_ref().map(|ip| format!("ip daddr {ip} ")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            rules,
            "    fib daddr type local {address}{protocol} dport {host_port} dnat to {pod_ip}:{pod_port}"
        );
    }
    let table = table(bridge);
    let mut text = format!("add table ip {table}\ndelete table ip {table}\n");
    if rules.is_empty() {
        return text;
    }
    let _ = write!(
        text,
        "table ip {table} {{\n  chain prerouting {{\n    type nat hook prerouting priority dstnat - 5; policy accept;\n\
         {rules}  }}\n  chain output {{\n    type nat hook output priority -105; policy accept;\n{rules}  }}\n  \
         chain postrouting {{\n    type nat hook postrouting priority srcnat - 5; policy accept;\n    \
         ip saddr 127.0.0.0/8 oifname \"{bridge}\" ct status dnat masquerade\n    \
         iifname \"{bridge}\" oifname \"{bridge}\" ct status dnat masquerade\n  }}\n}}\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_become_rules_and_the_last_one_takes_the_table_along() {
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"spec": {"containers": [{"name": "a", "ports": [
            {"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP",
            "hostIP": "192.0.2.1"}, {"containerPort": 1}]}]}}))
            .unwrap();
        let mappings = mappings(&pod, "10.0.0.2");
        let text = render("b0", mappings.iter());
        assert!(text.contains("fib daddr type local tcp dport 8080 dnat to 10.0.0.2:80"));
        assert!(text.contains("fib daddr type local ip daddr 192.0.2.1 udp dport 53 dnat to 10.0.0.2:53"));
        assert!(!render("b0", [].iter()).contains("chain"));
    }
}
