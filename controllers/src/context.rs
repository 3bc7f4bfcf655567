//! What all controllers share, and how they are put together.

use std::{sync::Arc, time::Duration};

use kube::Client;
use prometheus_client::registry::Registry;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info};

use crate::{
    cache::{
        Informer, Object, Source,
        views::{ConfigMap, Lease, MetaOnly, Namespace, Node, Pod, Service},
    },
    metrics::Metrics,
    recorder::Recorder,
    tokens::view::TokenSecret,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Endpoints,
    discovery::v1::EndpointSlice,
};
use serde::de::DeserializeOwned;

/// Gives the client that acts as the controller of that name.
pub type Clients = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// A token of a service account that is to be kept in a secret.
#[derive(Debug, Clone, Copy)]
pub struct LegacyToken<'a> {
    /// Namespace of account and secret.
    pub namespace: &'a str,
    /// Name of the account.
    pub account: &'a str,
    /// Identity of the account.
    pub account_uid: &'a str,
    /// Name of the secret.
    pub secret: &'a str,
}

/// Signs such tokens; the error says why it cannot.
pub type TokenGenerator = Arc<dyn Fn(&LegacyToken<'_>) -> Result<String, String> + Send + Sync>;

/// Configuration of the controllers.
#[derive(Clone)]
pub struct Config {
    /// Client by controller name, such as `deployment-controller`; `shared-informers` may watch everything.
    pub clients: Clients,
    /// Certificates that clients in pods shall trust, PEM.
    pub root_ca: String,
    /// Signs tokens of service accounts for secrets; without it, secrets get none
    /// (`--service-account-private-key-file`).
    pub token_generator: Option<TokenGenerator>,
    /// How long a token that accounts were once given by themselves may be unused before it is marked as invalid, and
    /// again before its secret is deleted (`--legacy-service-account-token-clean-up-period`).
    pub legacy_token_clean_up_period: Duration,
    /// Networks pods get their addresses from (one an address family), such as `10.244.0.0/16`; none: nodes get
    /// no pod network.
    pub cluster_cidrs: Vec<String>,
    /// Prefix length of an IPv4 node's pod network.
    pub node_mask_v4: u8,
    /// Prefix length of an IPv6 node's pod network.
    pub node_mask_v6: u8,
    /// How long a node may be silent before it counts as unreachable.
    pub node_monitor_grace_period: Duration,
    /// How long a new node may take to report for the first time.
    pub node_startup_grace_period: Duration,
    /// Ended pods that are kept before the oldest are removed.
    pub terminated_pod_threshold: usize,
    /// Reconciles of one controller at a time.
    pub workers: usize,
}

impl Config {
    /// Upstream's defaults.
    pub fn new(clients: Clients, root_ca: String) -> Self {
        Config {
            clients,
            root_ca,
            token_generator: None,
            legacy_token_clean_up_period: Duration::from_secs(365 * 24 * 3600),
            cluster_cidrs: Vec::new(),
            node_mask_v4: 24,
            node_mask_v6: 64,
            node_monitor_grace_period: Duration::from_secs(50),
            node_startup_grace_period: Duration::from_secs(60),
            terminated_pod_threshold: 12_500,
            workers: 5,
        }
    }
}

/// Why the controllers cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A cluster network cannot be used.
    #[error("cluster network {0:?} is not usable: {1}")]
    ClusterCidr(String, String),
}

/// The controllers, ready to run.
pub struct Controllers {
    config: Config,
    metrics: Metrics,
    networks: Vec<crate::nodeipam::Network>,
}

/// Checks `config` and registers the metrics; nothing runs yet.
pub fn build(config: Config, registry: &mut Registry) -> Result<Controllers, BuildError> {
    let mut networks = Vec::new();
    for cidr in &config.cluster_cidrs {
        let network = crate::nodeipam::Network::parse(cidr, config.node_mask_v4, config.node_mask_v6)
            .map_err(|reason| BuildError::ClusterCidr(cidr.clone(), reason))?;
        networks.push(network);
    }
    Ok(Controllers { config, metrics: Metrics::register(registry), networks })
}

impl Controllers {
    /// Runs all controllers until `token` is cancelled and every task has ended.
    pub async fn run(self, token: CancellationToken) {
        let context = Context {
            informers: Informers::new(),
            config: self.config,
            metrics: self.metrics,
            tasks: TaskTracker::new(),
            token: token.clone(),
        };
        crate::nodeipam::start(&context, self.networks);
        crate::serviceaccount::start(&context);
        crate::rootca::start(&context);
        crate::tokens::start(&context);
        crate::tokencleaner::start(&context);
        crate::replicaset::start(&context);
        crate::deployment::start(&context);
        crate::endpointslice::start(&context);
        crate::endpoints::start(&context);
        crate::nodelifecycle::start(&context);
        crate::podgc::start(&context);
        crate::namespace::start(&context);
        crate::resourcequota::start(&context);
        crate::disruption::start(&context);
        crate::volumeprotection::start(&context);
        crate::servicecidrs::start(&context);
        crate::clusterroleaggregation::start(&context);
        crate::garbagecollector::start(&context);
        context.run_informers();
        info!("controllers started");
        token.cancelled().await;
        context.tasks.close();
        context.tasks.wait().await;
        debug!("controllers ended");
    }
}

/// The shared watches.
pub(crate) struct Informers {
    pub pods: Arc<Informer<Pod>>,
    pub nodes: Arc<Informer<Node>>,
    pub namespaces: Arc<Informer<Namespace>>,
    pub services: Arc<Informer<Service>>,
    pub service_accounts: Arc<Informer<MetaOnly>>,
    pub token_secrets: Arc<Informer<TokenSecret>>,
    pub root_cas: Arc<Informer<ConfigMap>>,
    pub leases: Arc<Informer<Lease>>,
    pub deployments: Arc<Informer<Deployment>>,
    pub replica_sets: Arc<Informer<ReplicaSet>>,
    pub endpoints: Arc<Informer<Endpoints>>,
    pub endpoint_slices: Arc<Informer<EndpointSlice>>,
}

impl Informers {
    fn new() -> Self {
        Informers {
            pods: Informer::new(Source::new("/api/v1/pods")),
            nodes: Informer::new(Source::new("/api/v1/nodes")),
            namespaces: Informer::new(Source::new("/api/v1/namespaces")),
            services: Informer::new(Source::new("/api/v1/services")),
            service_accounts: Informer::new(Source::new("/api/v1/serviceaccounts").metadata_only()),
            token_secrets: Informer::new(
                Source::new("/api/v1/secrets").fields("type%3Dkubernetes.io%2Fservice-account-token"),
            ),
            root_cas: Informer::new(
                Source::new("/api/v1/configmaps").fields("metadata.name%3Dkube-root-ca.crt"),
            ),
            leases: Informer::new(Source::new(
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
            )),
            deployments: Informer::new(Source::new("/apis/apps/v1/deployments")),
            replica_sets: Informer::new(Source::new("/apis/apps/v1/replicasets")),
            endpoints: Informer::new(Source::new("/api/v1/endpoints")),
            endpoint_slices: Informer::new(Source::new("/apis/discovery.k8s.io/v1/endpointslices")),
        }
    }
}

/// What a controller gets to start with.
pub(crate) struct Context {
    pub informers: Informers,
    pub config: Config,
    pub metrics: Metrics,
    pub tasks: TaskTracker,
    pub token: CancellationToken,
}

impl Context {
    /// The client that acts as that controller.
    pub fn client(&self, name: &str) -> Client {
        (self.config.clients)(name)
    }

    /// A recorder of events that acts as `identity` and signs as `component`.
    pub fn recorder(&self, identity: &str, component: &'static str) -> Recorder {
        Recorder::spawn(self.client(identity), component, &self.tasks, &self.token)
    }

    /// Runs `task` until it ends or everything is stopped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        self.tasks.spawn(async move { token.run_until_cancelled(task).await });
    }

    fn run_informers(&self) {
        let informers = &self.informers;
        // Nodes and namespaces first: what waits for them is what a new cluster waits for.
        self.run_informer(&informers.nodes);
        self.run_informer(&informers.namespaces);
        self.run_informer(&informers.service_accounts);
        self.run_informer(&informers.root_cas);
        self.run_informer(&informers.token_secrets);
        self.run_informer(&informers.pods);
        self.run_informer(&informers.deployments);
        self.run_informer(&informers.replica_sets);
        self.run_informer(&informers.services);
        self.run_informer(&informers.endpoint_slices);
        self.run_informer(&informers.endpoints);
        self.run_informer(&informers.leases);
    }

    fn run_informer<T: Object + Clone + DeserializeOwned>(&self, informer: &Arc<Informer<T>>) {
        let client = self.client("shared-informers");
        self.tasks.spawn(informer.clone().run(client, self.token.clone()));
    }
}
