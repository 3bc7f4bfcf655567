//! The loop that keeps the ruleset in line with the cache.

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    cache::{ServiceCache, ServiceKey},
    conntrack,
    diff::Loaded,
    model::{Family, Node, rules},
    nft, table,
};

const ROUTE_LOCALNET: &str = "/proc/sys/net/ipv4/conf/all/route_localnet";
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);

/// Configuration of the service proxy.
#[derive(Clone)]
pub struct Config {
    /// Services and endpoints; the caller runs its watches.
    pub services: Arc<ServiceCache>,
    /// Name of this node.
    pub node_name: String,
    /// Networks of the cluster's pods; without any, nothing is known to come from outside the cluster.
    pub cluster_cidrs: Vec<String>,
    /// Name of the nftables table, `skiff-proxy` unless several agents share a kernel's network namespace.
    pub table: String,
    /// Whether node ports answer on 127.0.0.1 as well.
    pub localhost_node_ports: bool,
    /// Cluster addresses that this node answers at itself, such as that of the name server: left alone.
    pub own_addresses: Vec<IpAddr>,
}

impl Config {
    /// The usual configuration.
    pub fn new(services: Arc<ServiceCache>, node_name: String, cluster_cidrs: Vec<String>) -> Self {
        Config {
            services,
            node_name,
            cluster_cidrs,
            table: "skiff-proxy".to_owned(),
            localhost_node_ports: true,
            own_addresses: Vec::new(),
        }
    }
}

/// The proxy cannot be built, or a transaction failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of the table would not be one word to nft.
    #[error("{0:?} is no name for an nftables table")]
    Table(String),
    /// A transaction was refused.
    #[error("loading the rules of services")]
    Load(#[from] nft::Error),
}

/// Keeps the rules of services loaded.
pub struct ServiceProxy {
    config: Config,
    node: Node,
    v4: Loaded,
    v6: Loaded,
    ready: watch::Sender<bool>,
}

/// Removes everything the proxy loaded under that table name.
pub async fn cleanup(table: &str) -> Result<(), Error> {
    let text = table::removal(table, Family::V4) + &table::removal(table, Family::V6);
    Ok(nft::load(&text).await?)
}

impl ServiceProxy {
    /// Checks the configuration; nothing is loaded yet.
    pub fn build(config: Config) -> Result<Self, Error> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !config.table.starts_with(|c: char| c.is_ascii_alphabetic()) || !config.table.chars().all(is_word)
        {
            return Err(Error::Table(config.table));
        }
        let node = Node {
            name: config.node_name.clone(),
            cluster_cidrs: config.cluster_cidrs.clone(),
            own_addresses: config.own_addresses.clone(),
        };
        let v4 = Loaded::new(&config.table, Family::V4, config.localhost_node_ports);
        let v6 = Loaded::new(&config.table, Family::V6, false);
        Ok(ServiceProxy { config, node, v4, v6, ready: watch::Sender::new(false) })
    }

    /// Becomes true when the rules were loaded for the first time.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Keeps the rules loaded until `token` is cancelled. They stay behind: a restart of the process interrupts no
    /// connection. [`cleanup`] removes them.
    pub async fn run(mut self, token: CancellationToken) {
        token.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) {
        if self.config.localhost_node_ports
            && let Err(error) = tokio::fs::write(ROUTE_LOCALNET, "1").await
        {
            warn!(%error, "node ports will not answer on 127.0.0.1: {ROUTE_LOCALNET} cannot be written");
        }
        let services = self.config.services.clone();
        services.synced().await;
        let mut delay = FIRST_DELAY;
        loop {
            match self.load_all().await {
                Ok(()) => delay = FIRST_DELAY,
                Err(error) => {
                    warn!(error = chain(&error), "rules of services not loaded, will be tried again");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(LAST_DELAY);
                    continue;
                }
            }
            if !self.ready.send_replace(true) {
                info!(table = self.config.table, "services are reachable");
            }
            if let Err(error) = self.follow_changes().await {
                warn!(error = chain(&error), "rules of services not changed, loading all of them anew");
            }
        }
    }

    async fn load_all(&mut self) -> Result<(), Error> {
        // What changes from here on is looked at again.
        self.config.services.take_changed();
        let all = self.config.services.all();
        let wanted = |family| {
            all.iter()
                .map(|(key, entry)| (key.clone(), rules(key, entry, &self.node, family)))
                .collect::<Vec<_>>()
        };
        let (four, six) = (wanted(Family::V4), wanted(Family::V6));
        let mut text = self.v4.load_all(four);
        if six.iter().any(|(_, rules)| *rules != Default::default()) {
            text.push_str(&self.v6.load_all(six));
        } else {
            text.push_str(&table::removal(&self.config.table, Family::V6));
            self.v6 = Loaded::new(&self.config.table, Family::V6, false);
        }
        Ok(nft::load(&text).await?)
    }

    /// Returns only when a transaction failed.
    async fn follow_changes(&mut self) -> Result<(), Error> {
        let services = self.config.services.clone();
        loop {
            let mut changed: HashSet<ServiceKey> = services.take_changed();
            if changed.is_empty() {
                services.wake.notified().await;
                continue;
            }
            let mut text = String::new();
            let mut forget = Vec::new();
            while !changed.is_empty() {
                let mut again = HashSet::new();
                for key in changed {
                    again.extend(self.change(&key, &mut text, &mut forget));
                }
                changed = again;
            }
            if text.is_empty() {
                continue;
            }
            debug!(lines = text.lines().count(), "changing the rules of services");
            nft::load(&text).await?;
            conntrack::forget(forget).await;
        }
    }

    fn change(
        &mut self,
        key: &ServiceKey,
        text: &mut String,
        forget: &mut Vec<Vec<String>>,
    ) -> Vec<ServiceKey> {
        let entry = self.config.services.get(key).unwrap_or_default();
        let mut again = Vec::new();
        for (family, loaded) in [(Family::V4, &mut self.v4), (Family::V6, &mut self.v6)] {
            let wanted = rules(key, &entry, &self.node, family);
            let before = loaded.rules(key).cloned().unwrap_or_default();
            if before == wanted {
                continue;
            }
            forget.extend(conntrack::stale(&before, &wanted));
            if family == Family::V6 && loaded.is_empty() {
                // The first service of this family brings the table with it.
                text.push_str(&loaded.load_all(vec![(key.clone(), wanted)]));
            } else {
                again.extend(loaded.change(key, wanted, text));
            }
        }
        again
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
