//! The sandbox of a pod as the runtime is asked for it.

use std::collections::HashMap;

use k8s_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::{dns, hosts, security, spec};
use crate::config::Config;
use crate::runtime::labels;

/// Directory of a pod's logs.
pub fn log_dir(config: &Config, pod: &Pod) -> std::path::PathBuf {
    config.pod_log_dir.join(format!("{}_{}_{}", spec::namespace(pod), spec::name(pod), spec::uid(pod)))
}

/// Labels of everything that belongs to the pod.
pub fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    HashMap::from([
        (labels::POD_NAME.to_owned(), spec::name(pod).to_owned()),
        (labels::POD_NAMESPACE.to_owned(), spec::namespace(pod).to_owned()),
        (labels::POD_UID.to_owned(), spec::uid(pod).to_owned()),
    ])
}

/// The sandbox's configuration.
pub fn sandbox_config(config: &Config, pod: &Pod, attempt: u32, cgroup_parent: &str) -> v1::PodSandboxConfig {
    let spec = spec::spec(pod);
    let mut labels: HashMap<String, String> =
        pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(pod_labels(pod));
    let host_network = spec.host_network == Some(true);
    let (hostname, _) = hosts::names(pod, &config.cluster_domain);
    let port_mappings = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .flat_map(|container| container.ports.iter().flatten())
        .filter(|port| !host_network && port.host_port.is_some_and(|port| port > 0))
        .map(|port| v1::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            } as i32,
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or_default(),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect();
    let sysctls = spec.security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: spec::name(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            namespace: spec::namespace(pod).to_owned(),
            attempt,
        }),
        hostname: if host_network { String::new() } else { hostname },
        log_directory: log_dir(config, pod).display().to_string(),
        dns_config: Some(dns::config(pod, &config.resolv_conf, config.cluster_dns, &config.cluster_domain)),
        port_mappings,
        labels,
        annotations: HashMap::new(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent.to_owned(),
            security_context: Some(security::sandbox(&spec)),
            sysctls: sysctls
                .into_iter()
                .flatten()
                .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
                .collect(),
            ..v1::LinuxPodSandboxConfig::default()
        }),
        windows: None,
    }
}
