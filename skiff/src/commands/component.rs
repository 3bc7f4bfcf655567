//! Components one by one: each can stand in for upstream's, and upstream's for it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;

use crate::assemble;
use crate::cli::{ComponentArgs, ControllersArgs, ServerArgs};
use crate::credentials;
use crate::lock::Lock;
use crate::machine;
use crate::paths::{self, Paths};
use crate::pki::{self, Pki};

/// The API server alone.
pub async fn apiserver(args: &ServerArgs) -> Result<ExitCode> {
    let paths = Paths::from(&args.dirs);
    paths::private_dir(&paths.data).with_context(|| format!("making {}", paths.data.display()))?;
    let _lock = Lock::take(&paths)?;
    let stop = assemble::stop_on_signals()?;
    let pki = assemble::prepare(args, &machine::node_name()?, "cluster.local")?;
    let running = assemble::api_server(args, &pki, &stop).await?;
    eprintln!("skiff: the API server answers at {}", assemble::server_url(args));
    stop.cancelled().await;
    running.drained(Duration::from_secs(10)).await;
    Ok(ExitCode::SUCCESS)
}

/// The scheduler alone.
pub async fn scheduler(args: &ComponentArgs) -> Result<ExitCode> {
    let stop = assemble::stop_on_signals()?;
    let file = args.kubeconfig.clone().unwrap_or_else(|| Paths::from(&args.dirs).kubeconfig("scheduler"));
    let client = credentials::from_kubeconfig(&file, "kube-scheduler").await?;
    scheduler::build(scheduler::Config::new(client), &mut Registry::default()).run(stop).await;
    Ok(ExitCode::SUCCESS)
}

/// The controllers alone; all act as the identity of the kubeconfig, which needs the rights of all of them.
pub async fn controllers(args: &ControllersArgs) -> Result<ExitCode> {
    let stop = assemble::stop_on_signals()?;
    let (component, tokens) = (&args.component, &args.legacy_tokens);
    let paths = Paths::from(&component.dirs);
    let file = component.kubeconfig.clone().unwrap_or_else(|| paths.admin_kubeconfig());
    let client = credentials::from_kubeconfig(&file, "kube-controller-manager").await?;
    let pki = Pki::existing(&paths);
    let root_ca = pki::read(&pki.ca())?;
    let clients: controllers::Clients = Arc::new(move |_| client.clone());
    let own_key = Some(pki.key(pki::SERVICE_ACCOUNT)).filter(|key| key.exists());
    let key = tokens.service_account_private_key_file.clone().or(own_key);
    let cidr = &component.cluster_cidr;
    let config = assemble::controllers_config(clients, root_ca, cidr, tokens, key.as_deref())?;
    let controllers =
        controllers::build(config, &mut Registry::default()).context("building the controllers")?;
    controllers.run(stop).await;
    Ok(ExitCode::SUCCESS)
}
