//! Variables about services. One watch of services, of which only names, addresses and ports are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::RwLock;
use tokio::sync::watch;

type Table = HashMap<(String, String), Vec<(String, String)>>;

/// The services known, as variables.
pub struct ServiceEnv {
    table: RwLock<Table>,
    synced: watch::Sender<bool>,
    kubernetes: Option<(String, u16)>,
}

impl ServiceEnv {
    /// Nothing known yet; `kubernetes` is where the API server is if its Service is not there.
    pub fn new(kubernetes: Option<(String, u16)>) -> Arc<ServiceEnv> {
        Arc::new(ServiceEnv { table: RwLock::default(), synced: watch::Sender::new(false), kubernetes })
    }

    /// Follows the services; ends with its task.
    pub async fn run(self: Arc<Self>, client: kube::Client) {
        let api: Api<Service> = Api::all(client);
        let mut stream = std::pin::pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
        let mut fresh: Option<Table> = None;
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => fresh = Some(Table::new()),
                Ok(watcher::Event::InitApply(service)) => {
                    if let Some(table) = &mut fresh {
                        table.insert(key(&service), variables(&service));
                    }
                }
                Ok(watcher::Event::InitDone) => {
                    *self.table.write() = fresh.take().unwrap_or_default();
                    self.synced.send_replace(true);
                }
                Ok(watcher::Event::Apply(service)) => {
                    self.table.write().insert(key(&service), variables(&service));
                }
                Ok(watcher::Event::Delete(service)) => {
                    self.table.write().remove(&key(&service));
                }
                Err(error) => tracing::debug!(%error, "service watch interrupted"),
            }
        }
    }

    /// Variables of a pod in `namespace`; waits for the first list. `links` adds all services of the namespace.
    pub async fn variables(&self, namespace: &str, links: bool) -> BTreeMap<String, String> {
        let mut synced = self.synced.subscribe();
        // An error means the sender is gone, which it cannot be while `self` lives.
        let _ = synced.wait_for(|synced| *synced).await;
        let table = self.table.read();
        let mut variables = BTreeMap::new();
        if let Some((host, port)) = &self.kubernetes {
            variables.extend(address_variables("kubernetes", host, &[(Some("https"), *port, "TCP")]));
        }
        for ((service_namespace, name), values) in table.iter() {
            let master = service_namespace == "default" && name == "kubernetes";
            if master || (links && service_namespace == namespace) {
                variables.extend(values.iter().cloned());
            }
        }
        variables
    }

    /// Marks the list as complete without a watch (tests, hollow nodes).
    pub fn assume_synced(&self) {
        self.synced.send_replace(true);
    }
}

fn key(service: &Service) -> (String, String) {
    let metadata = &service.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn variables(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    if ip.is_empty() || ip == "None" {
        return Vec::new();
    }
    let ports: Vec<(Option<&str>, u16, &str)> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let number = u16::try_from(port.port).ok()?;
            Some((port.name.as_deref(), number, port.protocol.as_deref().unwrap_or("TCP")))
        })
        .collect();
    address_variables(service.metadata.name.as_deref().unwrap_or_default(), ip, &ports)
}

fn constant(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn address_variables(name: &str, ip: &str, ports: &[(Option<&str>, u16, &str)]) -> Vec<(String, String)> {
    let prefix = constant(name);
    let Some((_, first, protocol)) = ports.first() else { return Vec::new() };
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let url = |port: u16, protocol: &str| format!("{}://{host}:{port}", protocol.to_ascii_lowercase());
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.to_string()),
        (format!("{prefix}_PORT"), url(*first, protocol)),
    ];
    for (name, port, protocol) in ports {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            out.push((format!("{prefix}_SERVICE_PORT_{}", constant(name)), port.to_string()));
        }
        let link = format!("{prefix}_PORT_{port}_{}", protocol.to_ascii_uppercase());
        out.push((link.clone(), url(*port, protocol)));
        out.push((format!("{link}_PROTO"), protocol.to_ascii_lowercase()));
        out.push((format!("{link}_PORT"), port.to_string()));
        out.push((format!("{link}_ADDR"), ip.to_owned()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_service() {
        let variables: BTreeMap<_, _> =
            address_variables("my-db", "10.0.0.9", &[(Some("main"), 5432, "TCP")]).into_iter().collect();
        assert_eq!(variables["MY_DB_SERVICE_HOST"], "10.0.0.9");
        assert_eq!(variables["MY_DB_SERVICE_PORT_MAIN"], "5432");
        assert_eq!(variables["MY_DB_PORT_5432_TCP"], "tcp://10.0.0.9:5432");
        assert_eq!(variables["MY_DB_PORT"], "tcp://10.0.0.9:5432");
    }
}
