//! The API server as a process part: what it is made of, how it starts, how it stops.
//!
//! [`Server::handle`] is the whole way of a request; the TLS listener and the in-process transport both end there.

pub mod config;
mod handle;
pub mod hooks;
mod in_process;
mod linger;
mod listen;
pub mod metrics;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::Authenticator;
use crate::authn::service_account::Tokens;
use crate::authz::Authorizer;
use crate::endpoints::health::LogCheck;
use crate::openapi::Documents;
use crate::registry::Registry;

pub use config::{BuildError, Config, Datastore};
pub use listen::PeerAddress;

/// A running API server.
pub struct Server {
    registry: Arc<Registry>,
    authenticator: Authenticator,
    tokens: Option<Arc<Tokens>>,
    authorizer: Arc<dyn Authorizer>,
    documents: Documents,
    node_tls: Option<Arc<ClientConfig>>,
    read_slots: Semaphore,
    write_slots: Semaphore,
    request_timeout: Duration,
    hooks: hooks::Hooks,
    log_check: LogCheck,
    metrics: metrics::Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// The generic store.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The generic store, for what outlives a request.
    pub fn shared_registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    /// Who is asking.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// What signs service account tokens, if this server has a key.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_deref()
    }

    /// Who may do what.
    pub fn authorizer(&self) -> &dyn Authorizer {
        &*self.authorizer
    }

    /// How node agents are spoken to.
    pub fn node_tls(&self) -> Option<&Arc<ClientConfig>> {
        self.node_tls.as_ref()
    }

    /// Cancelled when the server stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tasks that outlive their request.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// What of the start is done.
    pub fn hooks(&self) -> &hooks::Hooks {
        &self.hooks
    }

    /// What is counted.
    pub fn metrics(&self) -> &metrics::Metrics {
        &self.metrics
    }

    /// Whether the log can be written.
    pub fn log_check(&self) -> &LogCheck {
        &self.log_check
    }
}
