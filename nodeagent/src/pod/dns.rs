//! Resolver configuration of a pod, from its dnsPolicy, dnsConfig and the node.

use std::net::IpAddr;
use std::path::Path;

use k8s_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::spec;

/// Upstream's limits.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// What a resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolver {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// Reads a resolv.conf.
pub fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                resolver.searches = words.map(|word| word.trim_end_matches('.').to_owned()).collect()
            }
            Some("options") => resolver.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    resolver.searches.retain(|search| !search.is_empty());
    resolver
}

/// What the sandbox's resolv.conf shall be.
pub fn config(pod: &Pod, host_file: &Path, cluster_dns: Option<IpAddr>, domain: &str) -> v1::DnsConfig {
    let host = || {
        std::fs::read_to_string(host_file).map(|text| parse(&text)).unwrap_or_else(|error| {
            tracing::debug!(%error, path = %host_file.display(), "no resolver configuration");
            Resolver::default()
        })
    };
    let resolver = resolver(pod, host, cluster_dns, domain);
    v1::DnsConfig { servers: resolver.servers, searches: resolver.searches, options: resolver.options }
}

fn resolver(pod: &Pod, host: impl Fn() -> Resolver, cluster_dns: Option<IpAddr>, domain: &str) -> Resolver {
    let spec = spec::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => spec.host_network != Some(true),
        _ => false,
    };
    let mut resolver = match (policy, cluster, cluster_dns) {
        ("None", _, _) => Resolver::default(),
        (_, true, Some(dns)) => {
            let namespace = spec::namespace(pod);
            let mut searches =
                vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
            for search in host().searches {
                if !searches.contains(&search) {
                    searches.push(search);
                }
            }
            Resolver { servers: vec![dns.to_string()], searches, options: vec!["ndots:5".to_owned()] }
        }
        _ => host(),
    };
    if let Some(own) = &spec.dns_config {
        let add = |list: &mut Vec<String>, more: Option<&Vec<String>>| {
            for item in more.into_iter().flatten() {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        };
        add(&mut resolver.servers, own.nameservers.as_ref());
        add(&mut resolver.searches, own.searches.as_ref());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            resolver.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            resolver.options.push(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name,
            });
        }
    }
    resolver.servers.truncate(MAX_SERVERS);
    resolver.searches.truncate(MAX_SEARCHES);
    resolver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let pod = |spec: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": "n"}, "spec": spec})).unwrap()
        };
        let host = || parse("nameserver 1.1.1.1\nsearch corp.example.\noptions edns0\n");
        let dns = Some(IpAddr::from([10, 0, 0, 10]));
        let first = resolver(&pod(serde_json::json!({"containers": []})), host, dns, "cluster.local");
        assert_eq!(first.servers, ["10.0.0.10"]);
        assert_eq!(
            first.searches,
            ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]
        );
        let plain = resolver(
            &pod(serde_json::json!({"containers": [], "dnsPolicy": "Default"})),
            host,
            dns,
            "cluster.local",
        );
        assert_eq!(plain, host());
        let none = resolver(
            &pod(serde_json::json!({"containers": [], "dnsPolicy": "None", "dnsConfig":
                {"nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}})),
            host,
            dns,
            "cluster.local",
        );
        assert_eq!((none.servers, none.options), (vec!["9.9.9.9".to_owned()], vec!["ndots:2".to_owned()]));
    }
}
