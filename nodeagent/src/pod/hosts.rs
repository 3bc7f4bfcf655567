//! A pod's host name and its /etc/hosts.

use k8s_openapi::api::core::v1::Pod;

use super::spec;

const NAME_LIMIT: usize = 63;

/// Host name of the pod, and its domain if it has one.
pub fn names(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = spec::spec(pod);
    let mut name = spec.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let name: String = spec::name(pod).chars().take(NAME_LIMIT).collect();
        name.trim_end_matches(['-', '.']).to_owned()
    });
    let domain = spec
        .subdomain
        .as_ref()
        .filter(|subdomain| !subdomain.is_empty())
        .map(|subdomain| format!("{subdomain}.{}.svc.{cluster_domain}", spec::namespace(pod)));
    if spec.set_hostname_as_fqdn == Some(true)
        && let Some(domain) = &domain
    {
        name = format!("{name}.{domain}");
    }
    (name, domain)
}

/// Content of /etc/hosts; pods on the host's network see the host's file.
pub fn file(pod: &Pod, ips: &[String], host_name: &str, domain: Option<&str>, host_file: &str) -> String {
    let spec = spec::spec(pod);
    let mut text = if spec.host_network == Some(true) {
        format!("# Kubernetes-managed hosts file (host network).\n{host_file}")
    } else {
        let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
                        ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                        fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            .to_owned();
        for ip in ips {
            let line = match domain {
                Some(domain) => format!("{ip}\t{host_name}.{domain}\t{host_name}\n"),
                None => format!("{ip}\t{host_name}\n"),
            };
            text.push_str(&line);
        }
        text
    };
    if let Some(aliases) = spec.host_aliases.as_ref().filter(|aliases| !aliases.is_empty()) {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
            text.push_str(&format!("{}\t{names}\n", alias.ip));
        }
    }
    text
}
