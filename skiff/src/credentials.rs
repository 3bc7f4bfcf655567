//! Identities of components: in process by name, across the network by kubeconfig.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use apiserver::UserInfo;
use apiserver::server::Server;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// What acts by the controller manager's own identity: the shared watches need its rights, and upstream's tokens
/// controller has no other.
const CONTROLLER_MANAGER: [&str; 2] = ["shared-informers", "tokens-controller"];

/// Clients of the controllers inside the API server's process: each acts as its own service account.
pub fn controller_clients(server: &Arc<Server>) -> controllers::Clients {
    let server = server.clone();
    Arc::new(move |name: &str| server.client(controller_user(name)))
}

fn controller_user(name: &str) -> UserInfo {
    if CONTROLLER_MANAGER.contains(&name) {
        return UserInfo::authenticated("system:kube-controller-manager", Vec::new());
    }
    let groups = vec!["system:serviceaccounts".to_owned(), "system:serviceaccounts:kube-system".to_owned()];
    UserInfo::authenticated(format!("system:serviceaccount:kube-system:{name}"), groups)
}

/// The scheduler's client.
pub fn scheduler_client(server: &Arc<Server>) -> Client {
    server.client(UserInfo::authenticated("system:kube-scheduler", Vec::new()))
}

/// The node agent's client.
pub fn node_client(server: &Arc<Server>, node: &str) -> Client {
    server.client(UserInfo::authenticated(format!("system:node:{node}"), vec!["system:nodes".into()]))
}

/// The service proxy's client.
pub fn proxy_client(server: &Arc<Server>) -> Client {
    server.client(UserInfo::authenticated("system:kube-proxy", Vec::new()))
}

/// A client from a kubeconfig. The fields that it writes are owned under the name of `program`, as upstream's
/// component of this kind is called.
pub async fn from_kubeconfig(path: &Path, program: &'static str) -> Result<Client> {
    let config = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
    let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("using {}", path.display()))?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(program)));
    Client::try_from(config).context("making a client")
}
