//! Puts components together in one process, runs them, drains them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use apiserver::server::Server;
use apiserver::{Datastore, EtcdOptions, Running};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{LegacyTokenArgs, NodeArgs, ServerArgs, Store, StoreArgs};
use crate::credentials;
use crate::kubeconfig;
use crate::machine;
use crate::paths::{self, Paths};
use crate::pki::{self, Names, Pki};
use crate::progress::Progress;

/// How long connections and components may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Cancelled by the first signal; the second ends the process at once.
pub fn stop_on_signals() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let cancelled = stop.clone();
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if again {
                eprintln!("skiff: second signal, ending at once");
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(stop)
}

/// The address others reach this machine by.
pub fn advertised(args: &ServerArgs) -> IpAddr {
    args.advertise_address.unwrap_or_else(machine::address)
}

/// The node's name.
pub fn node_name(args: &NodeArgs) -> Result<String> {
    match &args.node_name {
        Some(name) => Ok(name.clone()),
        None => machine::node_name(),
    }
}

/// Directories, certificates and kubeconfigs.
pub fn prepare(args: &ServerArgs, node: &str, domain: &str) -> Result<Pki> {
    let paths = Paths::from(&args.dirs);
    let address = advertised(args);
    let service_ip = std::net::Ipv4Addr::from_bits(args.service_cidr.0.to_bits() + 1);
    let names = Names {
        node: node.to_owned(),
        address,
        service_ip: service_ip.into(),
        domain: domain.to_owned(),
        extra: args.tls_san.clone(),
    };
    let pki = Pki::ensure(&paths, &names)?;
    let url = server_url(args);
    for (component, certificate) in [
        ("admin", "admin"),
        ("controller-manager", "controller-manager"),
        ("scheduler", "scheduler"),
        ("node", "node"),
    ] {
        kubeconfig::write(&paths.kubeconfig(component), &kubeconfig::make(&pki, certificate, &url)?)?;
    }
    Ok(pki)
}

/// Where clients on this machine find the API server.
pub fn server_url(args: &ServerArgs) -> String {
    let host = if args.bind_address.is_unspecified() || args.bind_address.is_loopback() {
        "127.0.0.1".to_owned()
    } else {
        SocketAddr::new(args.bind_address, 0).ip().to_string()
    };
    format!("https://{host}:{}", args.port)
}

/// How etcd is reached, if it is the store.
pub fn etcd_options(args: &StoreArgs) -> Option<EtcdOptions> {
    if args.datastore != Store::Etcd && args.etcd_endpoints.is_empty() {
        return None;
    }
    let endpoints = if args.etcd_endpoints.is_empty() {
        vec!["http://127.0.0.1:2379".to_owned()]
    } else {
        args.etcd_endpoints.clone()
    };
    Some(EtcdOptions {
        ca_file: args.etcd_cafile.clone(),
        cert_file: args.etcd_certfile.clone(),
        key_file: args.etcd_keyfile.clone(),
        ..EtcdOptions::new(endpoints)
    })
}

/// The key that the API server signs tokens of service accounts with.
fn signing_key(args: &ServerArgs, pki: &Pki) -> PathBuf {
    args.service_account_signing_key_file.clone().unwrap_or_else(|| pki.key(pki::SERVICE_ACCOUNT))
}

/// What the controllers are told. Without a key, as with upstream's, secrets get no tokens of service accounts.
pub fn controllers_config(
    clients: controllers::Clients,
    root_ca: String,
    cluster_cidr: &str,
    tokens: &LegacyTokenArgs,
    key: Option<&Path>,
) -> Result<controllers::Config> {
    let token_generator = key.map(token_generator).transpose()?;
    Ok(controllers::Config {
        cluster_cidrs: vec![cluster_cidr.to_owned()],
        token_generator,
        legacy_token_clean_up_period: tokens.legacy_service_account_token_clean_up_period,
        ..controllers::Config::new(clients, root_ca)
    })
}

fn token_generator(key: &Path) -> Result<controllers::TokenGenerator> {
    let signer = apiserver::Signer::read(key)
        .map_err(|why| anyhow!("reading {}: {why}; see --service-account-private-key-file", key.display()))?;
    Ok(Arc::new(move |t: &controllers::LegacyToken<'_>| {
        apiserver::legacy::sign(&signer, t.namespace, t.account, t.account_uid, t.secret)
    }))
}

/// The names of a list; an empty list may be written as an empty name.
fn given(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.is_empty()).cloned().collect()
}

/// Opens the store and serves the API.
pub async fn api_server(args: &ServerArgs, pki: &Pki, stop: &CancellationToken) -> Result<Running> {
    let paths = Paths::from(&args.dirs);
    let history = Duration::from_secs(args.history_minutes.max(1) * 60);
    let datastore = match etcd_options(&args.store) {
        Some(options) => Datastore::Etcd(EtcdOptions { compaction_interval: Some(history), ..options }),
        None => {
            paths::private_dir(&paths.store()).context("making the store's directory")?;
            Datastore::Embedded(paths.store())
        }
    };
    let config = apiserver::Config {
        listen: SocketAddr::new(args.bind_address, args.port),
        advertise: SocketAddr::new(advertised(args), args.port),
        serving: (pki.cert("apiserver"), pki.key("apiserver")),
        ca: pki.ca(),
        node_client: Some((pki.cert("apiserver-kubelet-client"), pki.key("apiserver-kubelet-client"))),
        datastore,
        service_network: args.service_cidr,
        node_ports: args.node_ports,
        history,
        max_in_flight: (args.max_requests_inflight, args.max_mutating_requests_inflight),
        request_timeout: args.request_timeout,
        anonymous_auth: args.anonymous_auth,
        admission: apiserver::AdmissionSwitches {
            enable: given(&args.enable_admission_plugins),
            disable: given(&args.disable_admission_plugins),
        },
        service_accounts: Some(apiserver::ServiceAccountConfig {
            signing_key: signing_key(args, pki),
            keys: args.service_account_key_file.clone(),
            issuers: args.service_account_issuer.clone(),
            audiences: args.api_audiences.clone(),
        }),
        token_auth_file: args.token_auth_file.clone(),
    };
    let etcd = match &config.datastore {
        Datastore::Etcd(options) => Some(options.endpoints.join(",")),
        _ => None,
    };
    let built = apiserver::build(config, stop.clone()).await.with_context(|| match &etcd {
        Some(endpoints) => {
            format!("starting the API server on etcd at {endpoints} (is it running? see --etcd-endpoints)")
        }
        None => "starting the API server".to_owned(),
    })?;
    built.start().await.context("starting the API server")
}

/// Components that run beside the API server.
#[derive(Default)]
pub struct Components {
    tasks: JoinSet<(&'static str, Result<()>)>,
}

impl Components {
    /// Starts controllers and scheduler inside the API server's process.
    pub fn control_plane(
        &mut self,
        server: &Arc<Server>,
        args: &ServerArgs,
        pki: &Pki,
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut registry = Registry::default();
        let root_ca = crate::pki::read(&pki.ca())?;
        let clients = credentials::controller_clients(server);
        let tokens = &args.legacy_tokens;
        let key = tokens.service_account_private_key_file.clone().unwrap_or_else(|| signing_key(args, pki));
        let config = controllers_config(clients, root_ca, &args.cluster_cidr, tokens, Some(&key))?;
        let controllers = controllers::build(config, &mut registry).context("building the controllers")?;
        let scheduler =
            scheduler::build(scheduler::Config::new(credentials::scheduler_client(server)), &mut registry);
        let (c, s) = (stop.clone(), stop.clone());
        self.tasks.spawn(async move {
            controllers.run(c).await;
            ("controllers", Ok(()))
        });
        self.tasks.spawn(async move {
            scheduler.run(s).await;
            ("scheduler", Ok(()))
        });
        Ok(())
    }

    /// Starts a component.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits until the first component fails or `stop` is cancelled.
    pub async fn watch(&mut self, stop: &CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.tasks.join_next() => match ended {
                    Some(Ok((name, Err(e)))) => return Err(e.context(format!("the {name} failed"))),
                    Some(Ok((name, Ok(())))) => tracing::debug!(name, "a component has ended"),
                    Some(Err(e)) => return Err(e).context("a component panicked"),
                    None => {
                        stop.cancelled().await;
                        return Ok(());
                    }
                },
            }
        }
    }

    /// Waits until all have ended, at most for the grace period.
    pub async fn drain(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("some components did not end within the grace period");
        }
    }
}

/// The configuration of a node agent.
pub fn node_config(
    args: &NodeArgs,
    paths: &Paths,
    name: &str,
    address: IpAddr,
    client: kube::Client,
    pki: &Pki,
) -> nodeagent::Config {
    nodeagent::Config {
        data_dir: paths.data.clone(),
        run_dir: paths.run.clone(),
        pod_log_dir: args.pod_log_dir.clone(),
        runtime_endpoint: args.container_runtime_endpoint.clone(),
        port: args.agent_port,
        server_tls: Some(nodeagent::ServerTls {
            cert_file: pki.cert("node-serving"),
            key_file: pki.key("node-serving"),
            client_ca_file: pki.ca(),
        }),
        cluster_dns: Some(args.cluster_dns),
        cluster_domain: args.cluster_domain.clone(),
        cgroup_root: args.cgroup_root.clone(),
        bridge: args.bridge.clone(),
        ..nodeagent::Config::new(name, address, client)
    }
}

/// Follows an agent until its node is Ready, telling each step.
pub async fn report_readiness(
    mut state: tokio::sync::watch::Receiver<nodeagent::AgentState>,
    progress: &Progress,
) -> Result<()> {
    let ended = "the node agent ended before the node was Ready";
    let mut told = (false, false);
    loop {
        let now = *state.borrow_and_update();
        if now.runtime_up && !std::mem::replace(&mut told.0, now.runtime_up) {
            progress.step("container runtime answers");
        }
        if now.registered && !std::mem::replace(&mut told.1, now.registered) {
            progress.step("node registered");
        }
        if now.ready {
            return Ok(());
        }
        state.changed().await.context(ended)?;
    }
}
