//! `skiff down`: stops everything `up` has started.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodeagent::network::{dns, proxy};

use crate::assemble;
use crate::cli::DownArgs;
use crate::kubeconfig;
use crate::lock;
use crate::machine;
use crate::paths::Paths;
use crate::pki::Pki;
use crate::say::say;

/// How long the process may take to end politely.
const POLITE: Duration = Duration::from_secs(20);
/// How long the kernel may take to end it.
const FORCED: Duration = Duration::from_secs(10);

/// Stops the cluster.
pub async fn down(args: &DownArgs) -> Result<ExitCode> {
    machine::require_root("down")?;
    let paths = Paths::from(&args.dirs);
    if let Some(pid) = lock::holder(&paths) {
        stop(&paths, pid)?;
        say!("process {pid} has ended");
    }
    take_down_node(args, &paths).await?;
    say!("containers, mounts, links and rules are gone");
    if args.purge {
        let pki = Pki::existing(&paths);
        if let (Some(file), true) = (kubeconfig::user_file(), pki.ca().exists()) {
            let ours = kubeconfig::make(&pki, "admin", "")?;
            kubeconfig::remove(&file, &ours)?;
        }
        for dir in [&paths.data, &paths.run] {
            match std::fs::remove_dir_all(dir) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).with_context(|| format!("deleting {}", dir.display())),
            }
        }
        say!("data is deleted");
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(paths: &Paths, pid: i32) -> Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("stopping process {pid}"))?;
    if lock::wait_released(paths, POLITE) {
        return Ok(());
    }
    eprintln!("skiff: process {pid} does not end by itself, it is killed");
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("killing process {pid}"))?;
    if lock::wait_released(paths, FORCED) {
        return Ok(());
    }
    bail!("process {pid} cannot be ended; look at `ps -p {pid}`")
}

async fn take_down_node(args: &DownArgs, paths: &Paths) -> Result<()> {
    let name = assemble::node_name(&args.node)?;
    // Taking a node down asks nobody: the client is never used.
    let config = kube::Config::new("http://127.0.0.1:1".parse().context("making a client")?);
    let client = kube::Client::try_from(config).context("making a client")?;
    let pki = Pki::existing(paths);
    let config = assemble::node_config(&args.node, paths, &name, machine::address(), client, &pki);
    nodeagent::agent::shutdown_all(&config).await.context("taking the node down")?;
    if let Err(e) = proxy::cleanup(&args.node.service_table).await {
        eprintln!("skiff: the rules of services were not removed: {e}");
    }
    if let Err(e) = dns::release(args.node.cluster_dns, super::run::DNS_DEVICE).await {
        eprintln!("skiff: the cluster's DNS address was not removed: {e}");
    }
    Ok(())
}
