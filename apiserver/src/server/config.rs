//! What an API server is told, and how it is put together from it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_types::catalog;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hooks::{Hook, Hooks};
use super::{Server, metrics, tls};
use crate::admission;
use crate::authn::bootstrap_tokens::BootstrapTokens;
use crate::authn::service_account::{ServiceAccountConfig, ServiceAccountTokens, Tokens};
use crate::authn::static_tokens::StaticTokens;
use crate::authn::{Authenticator, ClientCertAuthenticator, TokenAuthenticator};
use crate::authz;
use crate::bootstrap;
use crate::cache::{Cache, CacheConfig, ResourceConfig};
use crate::endpoints::health::LogCheck;
use crate::openapi::Documents;
use crate::registry::Registry;
use crate::registry::allocate::{self, Allocators, Ranges};
use crate::storage::embedded::{EmbeddedOptions, EmbeddedStorage};
use crate::storage::etcd::{EtcdOptions, EtcdStorage};
use crate::storage::measured::Measured;
use crate::storage::{Storage, StorageError};

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Datastore {
    /// In a file of this process.
    Embedded(PathBuf),
    /// In etcd.
    Etcd(EtcdOptions),
    /// In a store that the caller has opened.
    Opened(OpenedStore),
}

/// A store that is open already, shared with whoever opened it.
#[derive(Clone)]
pub struct OpenedStore(pub Arc<dyn Storage>);

impl std::fmt::Debug for OpenedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedStore").finish_non_exhaustive()
    }
}

/// What an API server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The address the service `kubernetes` leads to.
    pub advertise: SocketAddr,
    /// Its serving certificate and key.
    pub serving: (PathBuf, PathBuf),
    /// The CA whose client certificates it accepts, and whose node agents it trusts.
    pub ca: PathBuf,
    /// Its certificate and key towards node agents.
    pub node_client: Option<(PathBuf, PathBuf)>,
    /// Where objects are kept.
    pub datastore: Datastore,
    /// The network of cluster IPs, and its prefix length.
    pub service_network: (Ipv4Addr, u8),
    /// First and last node port.
    pub node_ports: (u16, u16),
    /// How long history is kept.
    pub history: Duration,
    /// Reads and writes in flight at most; 0 is no bound.
    pub max_in_flight: (usize, usize),
    /// How long a request may take that is not meant to stay open.
    pub request_timeout: Duration,
    /// Whether requests without credentials are taken as those of `system:anonymous`.
    pub anonymous_auth: bool,
    /// Which admission plugins are in force.
    pub admission: admission::Switches,
    /// Tokens of service accounts; without it none are issued or accepted.
    pub service_accounts: Option<ServiceAccountConfig>,
    /// A file of tokens and their users.
    pub token_auth_file: Option<PathBuf>,
}

/// An API server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store cannot be opened.
    #[error("opening the datastore")]
    Storage(#[source] StorageError),
    /// A file of certificates or keys cannot be read.
    #[error("reading {}: {why}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The admission plugins cannot be switched as asked for.
    #[error("{0}")]
    Admission(String),
    /// TLS cannot be set up.
    #[error("setting up TLS: {why}")]
    Tls {
        /// Why.
        why: String,
    },
    /// The address is taken or not ours.
    #[error("listening on {address}; is another API server running? choose another port with --port")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Default objects cannot be written.
    #[error("writing the default objects: {0}")]
    Bootstrap(String),
}

/// An API server that has bound its socket and opened its store.
pub struct Built {
    /// The server.
    pub server: Arc<Server>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    storage: Arc<dyn Storage>,
    advertise: SocketAddr,
    /// No other API server uses the store.
    exclusive: bool,
}

/// Opens the store, binds the socket, reads the certificates. Nothing is served yet.
pub async fn build(config: Config, stop: CancellationToken) -> Result<Built, BuildError> {
    config.admission.validate().map_err(BuildError::Admission)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| BuildError::Listen { address: config.listen, source })?;
    let roots = tls::certificates(&config.ca)?;
    let serving = Arc::new(tls::server(&config.serving.0, &config.serving.1, &roots)?);
    let node_tls = match &config.node_client {
        Some((cert, key)) => Some(Arc::new(tls::client(cert, key, &roots)?)),
        None => None,
    };
    let certificates = ClientCertAuthenticator::new(&roots, tls::provider())
        .map_err(|e| BuildError::Tls { why: format!("the client CA: {e}") })?;
    let exclusive = matches!(config.datastore, Datastore::Embedded(_));
    let storage: Arc<dyn Storage> = match config.datastore {
        Datastore::Embedded(dir) => {
            let options = EmbeddedOptions { history: config.history, ..EmbeddedOptions::new(dir) };
            // Opening reads and locks files.
            let opened = tokio::task::spawn_blocking(move || EmbeddedStorage::open(options)).await;
            Arc::new(opened.map_err(|e| BuildError::Bootstrap(e.to_string()))?.map_err(BuildError::Storage)?)
        }
        Datastore::Etcd(options) => {
            Arc::new(EtcdStorage::connect(options).await.map_err(BuildError::Storage)?)
        }
        Datastore::Opened(store) => store.0,
    };
    let metrics = metrics::Metrics::default();
    let storage: Arc<dyn Storage> = Arc::new(Measured::new(storage, metrics.store().clone()));
    let resources = catalog::all()
        .iter()
        .filter(|k| k.conversion.is_none() && !k.computed)
        .map(|k| ResourceConfig { prefix: k.prefix(), namespaced: k.namespaced(), fields: k.fields });
    let cache = Cache::new(storage.clone(), CacheConfig::new(resources.collect()));
    let ranges = Ranges {
        network: config.service_network.0,
        prefix: config.service_network.1,
        first_port: config.node_ports.0,
        last_port: config.node_ports.1,
    };
    let tasks = TaskTracker::new();
    let allocators = Allocators::new(ranges, storage.clone(), cache.clone(), tasks.clone());
    let authorizer = authz::build(&cache, &tasks, &stop);
    let chain = admission::Chain::new(authorizer.clone(), &config.admission, metrics.admission());
    let registry = Arc::new(Registry::new(storage.clone(), cache, chain, allocators));
    let pem = |(path, why)| BuildError::Pem { path, why };
    let tokens = config.service_accounts.map(Tokens::new).transpose().map_err(pem)?.map(Arc::new);
    let mut judges: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
    if let Some(path) = config.token_auth_file {
        judges.push(Arc::new(StaticTokens::read(&path).map_err(|why| pem((path, why)))?));
    }
    if let Some(tokens) = &tokens {
        let uses = metrics.tokens().clone();
        judges.push(Arc::new(ServiceAccountTokens::new(tokens.clone(), registry.clone(), uses)));
    }
    judges.push(Arc::new(BootstrapTokens(registry.clone())));
    let server = Server {
        registry,
        authenticator: Authenticator::new(Some(Arc::new(certificates)), judges, config.anonymous_auth),
        tokens,
        authorizer,
        documents: Documents::default(),
        node_tls,
        read_slots: slots(config.max_in_flight.0),
        write_slots: slots(config.max_in_flight.1),
        request_timeout: config.request_timeout,
        hooks: Hooks::default(),
        log_check: LogCheck::default(),
        metrics,
        stop,
        tasks,
    };
    let (server, advertise) = (Arc::new(server), config.advertise);
    Ok(Built { server, listener, tls: serving, storage, advertise, exclusive })
}

/// Places for requests in flight; 0 is no bound.
fn slots(bound: usize) -> Semaphore {
    Semaphore::new(if bound == 0 { Semaphore::MAX_PERMITS } else { bound.min(Semaphore::MAX_PERMITS) })
}

impl Built {
    /// Fills the cache, puts the default objects in place and starts to serve. Returns when requests are answered;
    /// serving goes on until the token given to [`build`] is cancelled.
    pub async fn start(self) -> Result<Running, BuildError> {
        let server = self.server;
        let cache = server.registry.cache().clone();
        let stop = server.stopping();
        server.tasks.spawn(cache.clone().run(stop.clone()));
        tokio::select! {
            () = cache.ready() => {}
            () = stop.cancelled() => return Err(BuildError::Bootstrap("stopped before the store was read".into())),
        }
        let repaired = server.registry.allocators().repair(self.exclusive).await;
        repaired.map_err(|e| BuildError::Bootstrap(format!("addresses of services: {e}")))?;
        server.hooks.done(Hook::ServiceIpRepair);
        bootstrap::run(&server, self.advertise).await.map_err(|s| BuildError::Bootstrap(s.message))?;
        server.authorizer.ready().await;
        bootstrap::follow(&server);
        server.tasks.spawn(allocate::live::run(server.registry.clone(), stop));
        let serving = server.clone().serve(self.listener, self.tls);
        server.tasks.spawn(serving);
        Ok(Running { server, storage: self.storage })
    }
}

/// An API server that answers requests.
pub struct Running {
    /// The server.
    pub server: Arc<Server>,
    storage: Arc<dyn Storage>,
}

impl Running {
    /// Waits until every connection has ended, at most for `grace`; the token must have been cancelled.
    pub async fn drained(self, grace: Duration) {
        self.server.tasks.close();
        if tokio::time::timeout(grace, self.server.tasks.wait()).await.is_err() {
            tracing::info!("connections are still open after the grace period and are cut");
        }
        drop(self.storage);
    }
}
