//! What the assembler has to say to get a node agent.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Files the streaming server is secured with.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// PEM certificate chain of the server.
    pub cert_file: PathBuf,
    /// PEM private key of the server.
    pub key_file: PathBuf,
    /// PEM bundle client certificates are verified with; anonymous clients get `/healthz` only.
    pub client_ca_file: PathBuf,
}

/// Configuration of a node agent. [`Config::new`] fills in the defaults of a real node.
#[derive(Clone)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// Address pods' `hostIP` and the node's InternalIP show.
    pub node_ip: IpAddr,
    /// API client with the identity `system:node:<node_name>`, group `system:nodes`.
    pub client: kube::Client,
    /// Everything durable: pods, containerd's root, CNI configuration.
    pub data_dir: PathBuf,
    /// Everything that does not outlive a boot: sockets, containerd's state.
    pub run_dir: PathBuf,
    /// Where container logs go (upstream's `/var/log/pods`).
    pub pod_log_dir: PathBuf,
    /// A CRI v1 socket to use instead of a containerd of our own.
    pub runtime_endpoint: Option<PathBuf>,
    /// Address of the streaming server; `None` for no server (hollow nodes).
    pub listen: Option<IpAddr>,
    /// Port of the streaming server (10250).
    pub port: u16,
    /// TLS of the streaming server; without it the server speaks plain HTTP and authorises everybody (tests only).
    pub server_tls: Option<ServerTls>,
    /// Cluster DNS address written into pods' resolv.conf.
    pub cluster_dns: Option<IpAddr>,
    /// Cluster domain.
    pub cluster_domain: String,
    /// Host and port of the API server as pods see it (`KUBERNETES_SERVICE_HOST`); read from the Service when `None`.
    pub kubernetes_service: Option<(String, u16)>,
    /// Top-level cgroup pods live below (upstream's `kubepods`).
    pub cgroup_root: String,
    /// Resolver configuration of pods with dnsPolicy Default.
    pub resolv_conf: PathBuf,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// Pod CIDR when it is fixed; otherwise the node's `spec.podCIDR` is awaited.
    pub pod_cidr: Option<String>,
    /// Bridge pods are plugged into.
    pub bridge: String,
    /// MTU of the pod network; 0 leaves it to the plugins.
    pub mtu: u32,
    /// First restart delay of a crashing container and of a failing image pull.
    pub backoff_base: Duration,
    /// Largest such delay.
    pub backoff_max: Duration,
    /// Extra labels of the node.
    pub node_labels: Vec<(String, String)>,
}

impl Config {
    /// A configuration with the defaults of a real node.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr, client: kube::Client) -> Config {
        Config {
            node_name: node_name.into(),
            node_ip,
            client,
            data_dir: "/var/lib/skiff".into(),
            run_dir: "/run/skiff".into(),
            pod_log_dir: "/var/log/pods".into(),
            runtime_endpoint: None,
            listen: Some(IpAddr::from([0, 0, 0, 0])),
            port: 10250,
            server_tls: None,
            cluster_dns: None,
            cluster_domain: "cluster.local".into(),
            kubernetes_service: None,
            cgroup_root: "kubepods".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            pod_cidr: None,
            bridge: "skiff0".into(),
            mtu: 0,
            backoff_base: Duration::from_secs(10),
            backoff_max: Duration::from_secs(300),
            node_labels: Vec::new(),
        }
    }

    /// Directory of one pod: volumes, /etc/hosts, termination logs.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(uid)
    }

    /// Socket of the runtime that is used.
    pub fn runtime_socket(&self) -> PathBuf {
        self.runtime_endpoint.clone().unwrap_or_else(|| self.run_dir.join("containerd/containerd.sock"))
    }
}
