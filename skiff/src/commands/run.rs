//! The long-running commands: control plane, node, or both in one process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use apiserver::server::Server;
use nodeagent::network::dns;
use nodeagent::network::proxy::{self, ServiceCache, ServiceProxy};
use tokio_util::sync::CancellationToken;

use crate::assemble::{self, Components};
use crate::cli::{AgentArgs, NodeArgs, RunArgs, ServerArgs};
use crate::credentials;
use crate::lock::Lock;
use crate::machine;
use crate::paths::{self, Paths};
use crate::pki::Pki;
use crate::progress::Progress;

/// Where the cluster's DNS address is put: every machine has this device.
pub const DNS_DEVICE: &str = "lo";

const GRACE: Duration = Duration::from_secs(10);

/// Control plane and node agent.
pub async fn all_in_one(args: &RunArgs) -> Result<ExitCode> {
    if args.detached {
        // A session of our own: the terminal's hang-up is not ours any more.
        nix::unistd::setsid().context("leaving the terminal")?;
    }
    let progress = Progress::new(args.detached);
    match all_in_one_inner(args, &progress).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(e) => {
            progress.failed(&format!("{e:#}"));
            Err(e)
        }
    }
}

async fn all_in_one_inner(args: &RunArgs, progress: &Progress) -> Result<()> {
    machine::require_root("up")?;
    let paths = Paths::from(&args.server.dirs);
    let (_lock, name) = take(&paths, &args.node)?;
    std::fs::create_dir_all(&paths.run).with_context(|| format!("making {}", paths.run.display()))?;
    let stop = assemble::stop_on_signals()?;
    let pki = assemble::prepare(&args.server, &name, &args.node.cluster_domain)?;
    progress.step("certificates");
    let running = assemble::api_server(&args.server, &pki, &stop).await?;
    progress.step("API server answers");
    let mut components = Components::default();
    components.control_plane(&running.server, &args.server, &pki, &stop)?;
    progress.step("controllers and scheduler started");
    let address = assemble::advertised(&args.server);
    let client = credentials::node_client(&running.server, &name);
    let config = assemble::node_config(&args.node, &paths, &name, address, client, &pki);
    network(&mut components, &running.server, args, &name, &stop).await?;
    let agent = nodeagent::build(config).await.context("starting the node agent")?;
    let state = agent.state();
    let agent_stop = stop.clone();
    components.spawn("node agent", async move { agent.run(agent_stop).await.map_err(Into::into) });
    let ready = async {
        assemble::report_readiness(state, progress).await?;
        progress.done("node Ready");
        Ok::<(), anyhow::Error>(())
    };
    let failed = tokio::select! {
        ready = ready => match ready {
            Ok(()) => components.watch(&stop).await,
            Err(_) if stop.is_cancelled() => Ok(()),
            // Why it ended is what the component itself says.
            Err(e) => components.watch(&stop).await.and(Err(e)),
        },
        ended = components.watch(&stop) => ended,
    };
    stop.cancel();
    components.drain().await;
    running.drained(GRACE).await;
    failed
}

/// The service proxy and the name server of this node; they share one cache of services.
async fn network(
    components: &mut Components,
    server: &Arc<Server>,
    args: &RunArgs,
    name: &str,
    stop: &CancellationToken,
) -> Result<()> {
    let services = ServiceCache::new();
    let client = credentials::proxy_client(server);
    let (cache, token) = (services.clone(), stop.clone());
    components.spawn("watch of services", async move {
        cache.run(client, token).await;
        Ok(())
    });
    let pods = args.server.cluster_cidr.clone();
    let proxy = ServiceProxy::build(proxy::Config {
        own_addresses: vec![args.node.cluster_dns],
        table: args.node.service_table.clone(),
        ..proxy::Config::new(services.clone(), name.to_owned(), vec![pods.clone()])
    })
    .context("setting up the service proxy")?;
    let token = stop.clone();
    components.spawn("service proxy", async move {
        proxy.run(token).await;
        Ok(())
    });
    dns::assign(args.node.cluster_dns, DNS_DEVICE)
        .await
        .context("giving this machine the cluster's DNS address")?;
    let (service_ip, prefix) = args.server.service_cidr;
    let names = dns::Server::build(dns::Config {
        domain: args.node.cluster_domain.clone(),
        networks: vec![format!("{service_ip}/{prefix}"), pods],
        ..dns::Config::new(services, args.node.cluster_dns)
    })
    .await
    .context("starting the name server")?;
    let token = stop.clone();
    components.spawn("name server", async move {
        names.run(token).await;
        Ok(())
    });
    Ok(())
}

fn take(paths: &Paths, node: &NodeArgs) -> Result<(Lock, String)> {
    paths::private_dir(&paths.data).with_context(|| {
        format!("making the data directory {}; choose another with --data-dir", paths.data.display())
    })?;
    let name = assemble::node_name(node)?;
    Ok((Lock::take(paths)?, name))
}

/// The control plane alone.
pub async fn control_plane(args: &ServerArgs) -> Result<ExitCode> {
    let paths = Paths::from(&args.dirs);
    paths::private_dir(&paths.data).with_context(|| format!("making {}", paths.data.display()))?;
    let _lock = Lock::take(&paths)?;
    let stop = assemble::stop_on_signals()?;
    let name = machine::node_name()?;
    let pki = assemble::prepare(args, &name, "cluster.local")?;
    let running = assemble::api_server(args, &pki, &stop).await?;
    let mut components = Components::default();
    components.control_plane(&running.server, args, &pki, &stop)?;
    eprintln!("skiff: the API server answers at {}", assemble::server_url(args));
    eprintln!("skiff: try kubectl --kubeconfig {} get namespaces", paths.admin_kubeconfig().display());
    let ended = components.watch(&stop).await;
    stop.cancel();
    components.drain().await;
    running.drained(GRACE).await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// A node agent alone.
pub async fn agent(args: &AgentArgs) -> Result<ExitCode> {
    machine::require_root("agent")?;
    let paths = Paths::from(&args.dirs);
    let name = assemble::node_name(&args.node)?;
    let stop = assemble::stop_on_signals()?;
    let file = args.kubeconfig.clone().unwrap_or_else(|| paths.kubeconfig("node"));
    let client = credentials::from_kubeconfig(&file, "kubelet").await?;
    let address = args.node_ip.unwrap_or_else(machine::address);
    let pki = Pki::existing(&paths);
    let config = assemble::node_config(&args.node, &paths, &name, address, client, &pki);
    let agent = nodeagent::build(config).await.context("starting the node agent")?;
    agent.run(stop).await.context("running the node agent")?;
    Ok(ExitCode::SUCCESS)
}
