//! What can be typed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Kubernetes in miniature: the same API on the wire, one small binary.
#[derive(Debug, Parser)]
#[command(name = "skiff", version, about, propagate_version = true)]
pub struct Cli {
    /// Say more: -v for what happens, -vv for why.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster on this machine and return when its node is Ready.
    Up(UpArgs),
    /// Stop everything `up` has started.
    Down(DownArgs),
    /// Show what runs, where, and how much memory it takes.
    Status(DataDir),
    /// Run the control plane in the foreground.
    Server(ServerArgs),
    /// Run the node agent in the foreground.
    Agent(AgentArgs),
    /// Run the API server alone in the foreground.
    Apiserver(ServerArgs),
    /// Run the scheduler alone against an API server.
    Scheduler(ComponentArgs),
    /// Run the controllers alone against an API server.
    Controllers(ControllersArgs),
    /// Work with container images of this machine.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Save all objects to a file, or start again from one.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Control plane and node agent in one process: what `up` starts.
    #[command(hide = true)]
    Run(RunArgs),
}

/// Where everything durable is.
#[derive(Clone, Debug, Args)]
pub struct DataDir {
    /// Directory of everything durable.
    #[arg(long, env = "SKIFF_DATA_DIR", default_value = "/var/lib/skiff")]
    pub data_dir: PathBuf,
    /// Directory of what does not outlive a boot: sockets, runtime state.
    #[arg(long, env = "SKIFF_RUN_DIR", default_value = "/run/skiff")]
    pub run_dir: PathBuf,
}

/// Where objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In a file of the data directory.
    Embedded,
    /// In etcd.
    Etcd,
}

/// Which store.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Where objects are kept.
    #[arg(long, value_enum, default_value = "embedded")]
    pub datastore: Store,
    /// etcd endpoints, comma-separated; implies --datastore etcd.
    #[arg(long, value_delimiter = ',')]
    pub etcd_endpoints: Vec<String>,
    /// CA that etcd's certificate is verified with.
    #[arg(long)]
    pub etcd_cafile: Option<PathBuf>,
    /// Client certificate towards etcd.
    #[arg(long, requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// Key of that certificate.
    #[arg(long, requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
}

/// Options of the control plane.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// Directories.
    #[command(flatten)]
    pub dirs: DataDir,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Address the API server listens on.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port the API server listens on.
    #[arg(long, default_value_t = 6443)]
    pub port: u16,
    /// Address of this machine that others reach it by; found out when not given.
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// Network of services.
    #[arg(long, default_value = "10.96.0.0/16", value_parser = parse_network)]
    pub service_cidr: (Ipv4Addr, u8),
    /// Network of pods.
    #[arg(long, default_value = "10.244.0.0/16")]
    pub cluster_cidr: String,
    /// Node ports, as first-last.
    #[arg(long, default_value = "30000-32767", value_parser = parse_ports)]
    pub node_ports: (u16, u16),
    /// Further names and addresses of the serving certificate.
    #[arg(long, value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Who issues service account tokens; the first issues, all are accepted.
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local", value_name = "URL")]
    pub service_account_issuer: Vec<String>,
    /// Further keys that service account tokens may be signed with, for rotation (PEM).
    #[arg(long, value_name = "FILE")]
    pub service_account_key_file: Vec<PathBuf>,
    /// The key new service account tokens are signed with (PEM); made at the first start when not given.
    #[arg(long, value_name = "FILE")]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// How the controllers sign tokens of service accounts for secrets.
    #[command(flatten)]
    pub legacy_tokens: LegacyTokenArgs,
    /// What tokens are for that name no audience; the issuer when not given.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub api_audiences: Vec<String>,
    /// A file of lines `token,user,uid[,"group1,group2"]`.
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Admission plugins to be on in addition to those that are by default, comma-separated.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub enable_admission_plugins: Vec<String>,
    /// Admission plugins to be off although they are on by default, comma-separated.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub disable_admission_plugins: Vec<String>,
    /// Reads in flight at most; 0 is no bound.
    #[arg(long, default_value_t = 400, value_name = "N")]
    pub max_requests_inflight: usize,
    /// Writes in flight at most; 0 is no bound.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub max_mutating_requests_inflight: usize,
    /// How long a request may take that is not meant to stay open.
    #[arg(long, default_value = "1m0s", value_parser = parse_duration, value_name = "DURATION")]
    pub request_timeout: Duration,
    /// Whether requests without credentials are taken as those of system:anonymous.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true,
        action = clap::ArgAction::Set)]
    pub anonymous_auth: bool,
    /// Minutes of history that is kept for watches and paged lists.
    #[arg(long, default_value_t = 5)]
    pub history_minutes: u64,
}

/// Options of a node.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// Name of the node; the host name when not given.
    #[arg(long)]
    pub node_name: Option<String>,
    /// Socket of a container runtime to use instead of a containerd of our own.
    #[arg(long)]
    pub container_runtime_endpoint: Option<PathBuf>,
    /// Port of the node agent.
    #[arg(long, default_value_t = 10250)]
    pub agent_port: u16,
    /// Directory of container logs.
    #[arg(long, default_value = "/var/log/pods")]
    pub pod_log_dir: PathBuf,
    /// Bridge that pods are plugged into.
    #[arg(long, default_value = "skiff0")]
    pub bridge: String,
    /// Top-level control group of pods.
    #[arg(long, default_value = "kubepods")]
    pub cgroup_root: String,
    /// nftables table of services.
    #[arg(long, default_value = "skiff-proxy")]
    pub service_table: String,
    /// Address of the cluster's DNS server.
    #[arg(long, default_value = "10.96.0.10")]
    pub cluster_dns: IpAddr,
    /// Cluster domain.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
}

/// Options of control plane and node together.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The control plane.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Leave the terminal and report progress to the parent.
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Options of `up`.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// What is started.
    #[command(flatten)]
    pub run: RunArgs,
    /// Do not touch ~/.kube/config.
    #[arg(long)]
    pub no_kubeconfig: bool,
    /// Seconds until starting counts as failed.
    #[arg(long, default_value_t = 60)]
    pub timeout: u64,
}

/// Options of `down`.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    /// Directories.
    #[command(flatten)]
    pub dirs: DataDir,
    /// The node that was started.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Delete all data too.
    #[arg(long)]
    pub purge: bool,
}

/// Options of a node agent.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// Directories.
    #[command(flatten)]
    pub dirs: DataDir,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Kubeconfig of the node's identity.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Address of this node that others reach it by; found out when not given.
    #[arg(long)]
    pub node_ip: Option<IpAddr>,
}

/// Options of a component that runs alone.
#[derive(Clone, Debug, Args)]
pub struct ComponentArgs {
    /// Directories.
    #[command(flatten)]
    pub dirs: DataDir,
    /// Kubeconfig of the component's identity.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Network of pods that nodes get their part of.
    #[arg(long, default_value = "10.244.0.0/16")]
    pub cluster_cidr: String,
}

/// Tokens of service accounts that are kept in secrets.
#[derive(Clone, Debug, Args)]
pub struct LegacyTokenArgs {
    /// The key that tokens of service accounts in secrets are signed with (PEM); the API server's when not given.
    #[arg(long, value_name = "FILE")]
    pub service_account_private_key_file: Option<PathBuf>,
    /// How long a token that an account was given by itself may be unused before it is marked as invalid, and again
    /// before its secret is deleted, such as 8760h.
    #[arg(long, default_value = "8760h0m0s", value_parser = parse_period, value_name = "DURATION")]
    pub legacy_service_account_token_clean_up_period: Duration,
}

/// Options of the controllers that run alone.
#[derive(Clone, Debug, Args)]
pub struct ControllersArgs {
    /// What any component has.
    #[command(flatten)]
    pub component: ComponentArgs,
    /// How they sign tokens of service accounts for secrets.
    #[command(flatten)]
    pub legacy_tokens: LegacyTokenArgs,
}

/// Commands about images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Import images from an archive (docker or OCI).
    Import {
        /// Directories.
        #[command(flatten)]
        dirs: DataDir,
        /// Socket of the container runtime, when it is not our own.
        #[arg(long)]
        container_runtime_endpoint: Option<PathBuf>,
        /// The archive.
        file: PathBuf,
    },
    /// Pack a static program into an image archive, without a registry or a daemon.
    Pack {
        /// Name of the image, with its tag.
        #[arg(long)]
        name: String,
        /// Where the archive goes.
        #[arg(long)]
        output: PathBuf,
        /// Files, as source=/path/in/image; the first one is the entry point.
        #[arg(required = true)]
        files: Vec<String>,
        /// Make /bin/sh and the other names of a busybox at /bin/busybox.
        #[arg(long)]
        busybox: Option<PathBuf>,
    },
}

/// Commands about snapshots. The file holds every object with its secrets; keep <data-dir>/pki beside it.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Save all objects as they are at one moment, while the cluster runs or not.
    Save {
        /// Directories.
        #[command(flatten)]
        dirs: DataDir,
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// Where to; what is there is replaced.
        file: PathBuf,
    },
    /// Make the store of a stopped cluster from a file.
    Restore {
        /// Directories.
        #[command(flatten)]
        dirs: DataDir,
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// Replace the store that is there; it is moved aside, not deleted.
        #[arg(long)]
        force: bool,
        /// How far revisions go on past the snapshot's, so that none is given out twice: more than what was written
        /// since it was made. A thousand million when not given; 10,000 with etcd, which needs a write for each.
        #[arg(long, value_name = "N")]
        bump_revision: Option<u64>,
        /// The file.
        file: PathBuf,
    },
}

fn parse_network(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let (ip, prefix) = text.split_once('/').ok_or("expected ADDRESS/PREFIX, such as 10.96.0.0/16")?;
    let ip: Ipv4Addr = ip.parse().map_err(|_| format!("{ip} is no IPv4 address"))?;
    let prefix: u8 = prefix.parse().map_err(|_| format!("{prefix} is no prefix length"))?;
    if !(12..=28).contains(&prefix) {
        return Err(format!("the prefix length must be between 12 and 28, not {prefix}"));
    }
    Ok((ip, prefix))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no duration, such as 1m30s");
    let duration: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| "it must not be negative".to_owned())?;
    if duration.is_zero() { Err("it must be longer than nothing".into()) } else { Ok(duration) }
}

fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').ok_or("expected FIRST-LAST, such as 30000-32767")?;
    let port = |t: &str| t.trim().parse::<u16>().map_err(|_| format!("{t} is no port"));
    let (first, last) = (port(first)?, port(last)?);
    if first == 0 || first > last {
        return Err(format!("{first}-{last} is no range of ports"));
    }
    Ok((first, last))
}

/// A duration as upstream's flags write it: `8760h0m0s`.
fn parse_period(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a duration, such as 8760h or 90m, not {text:?}");
    let period: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    let period = Duration::try_from(period).map_err(|_| expected())?;
    if period.is_zero() { Err("the period must be longer than nothing".into()) } else { Ok(period) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn periods() {
        assert_eq!(parse_period("8760h0m0s"), Ok(Duration::from_secs(8760 * 3600)));
        assert_eq!(parse_period("1h30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "0s", "-1h", "soon", "5"] {
            assert!(parse_period(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m0s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["-1s", "0s", "soon", "60", ""] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_api_servers_switches_are_the_same_everywhere() {
        let flags = "--enable-admission-plugins=NodeRestriction,Priority --disable-admission-plugins LimitRanger \
             --max-requests-inflight 7 --anonymous-auth=false --request-timeout=5s";
        for command in ["apiserver", "server", "up", "run"] {
            let line = ["skiff", command].into_iter().chain(flags.split_whitespace());
            let server = match Cli::parse_from(line).command {
                Command::Apiserver(args) | Command::Server(args) => args,
                Command::Up(args) => args.run.server,
                Command::Run(args) => args.server,
                other => panic!("{other:?}"),
            };
            assert_eq!(server.enable_admission_plugins, ["NodeRestriction", "Priority"]);
            assert_eq!(server.disable_admission_plugins, ["LimitRanger"]);
            assert_eq!((server.max_requests_inflight, server.max_mutating_requests_inflight), (7, 200));
            assert!(!server.anonymous_auth);
            assert_eq!(server.request_timeout, Duration::from_secs(5));
        }
    }

    #[test]
    fn networks_and_ports() {
        assert_eq!(parse_network("10.96.0.0/16").unwrap(), (Ipv4Addr::new(10, 96, 0, 0), 16));
        assert!(parse_network("10.96.0.0").is_err());
        assert!(parse_network("10.96.0.0/33").is_err());
        assert_eq!(parse_ports("30000-32767").unwrap(), (30000, 32767));
        assert!(parse_ports("5-4").is_err());
    }
}
