//! Metrics with upstream's names, types, labels and bounds.
//!
//! What is counted on the way of a request is found without a lock: counters are looked up once for each kind of
//! request, resource or plugin, and kept. What the cache knows anyway is taken from it when somebody looks.

pub mod admission;
mod filters;
mod histogram;
mod labels;
mod process;
mod requests;
mod resources;
pub mod store;
mod text;
pub mod tokens;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api_types::catalog;
use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Server;
use crate::endpoints::respond;
use crate::request::RequestInfo;
use crate::request::query::Query;
pub use filters::Filters;
pub use requests::Counted;
pub use resources::{Resources, WatchEvents};

/// How long the store may take to tell its size.
const SIZE_TIMEOUT: Duration = Duration::from_secs(1);
/// Gauges hold what a float can: upstream keeps this many digits of a revision.
const REVISIONS: u64 = 1_000_000_000_000_000;

type Counts<L> = Family<L, Counter<u64, AtomicU64>>;

/// The server's metrics.
pub struct Metrics {
    registry: Registry,
    requests: requests::Requests,
    filters: Filters,
    resources: Resources,
    store: Arc<store::Store>,
    admission: Arc<admission::Admission>,
    tokens: Arc<tokens::Tokens>,
    state: State,
}

/// What is looked up when somebody asks.
#[derive(Default)]
struct State {
    objects: Family<labels::Resource, Gauge>,
    storage_objects: Family<labels::Qualified, Gauge>,
    sizes: Family<labels::Resource, Gauge>,
    capacities: Family<labels::Resource, Gauge>,
    watchers: Family<labels::Watched, Gauge>,
    revisions: Family<labels::Resource, Gauge>,
    stored: Counts<labels::Resource>,
    received: Counts<labels::Resource>,
    dispatched: Counts<labels::Resource>,
    initializations: Counts<labels::Resource>,
    unreadable: Counts<labels::Resource>,
    terminated: Counts<labels::Resource>,
    size: Family<labels::Cluster, Gauge>,
}

impl State {
    fn register(r: &mut Registry) -> Self {
        let m = Self::default();
        r.register(
            "apiserver_resource_objects",
            "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1",
            m.objects.clone(),
        );
        r.register(
            "apiserver_storage_objects",
            "[STABLE] [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1",
            m.storage_objects.clone(),
        );
        r.register(
            "apiserver_resource_size_estimate_bytes",
            "[ALPHA] Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized objects. In case of a fetching error, the value will be -1",
            m.sizes.clone(),
        );
        r.register(
            "watch_cache_capacity",
            "[ALPHA] Total capacity of watch cache broken by resource type",
            m.capacities.clone(),
        );
        r.register(
            "apiserver_storage_size_bytes",
            "[STABLE] Size of the storage database file physically allocated in bytes",
            m.size.clone(),
        );
        r.register(
            "apiserver_storage_events_received",
            "[BETA] Number of etcd events received split by kind",
            m.stored.clone(),
        );
        r.register(
            "apiserver_storage_decode_errors",
            "[ALPHA] Number of stored object decode errors split by object type",
            m.unreadable.clone(),
        );
        r.register("apiserver_registered_watchers", "Number of watchers by kind", m.watchers.clone());
        r.register(
            "apiserver_watch_cache_events_received",
            "[ALPHA] Counter of events received in watch cache broken by resource type",
            m.received.clone(),
        );
        r.register(
            "apiserver_watch_cache_events_dispatched",
            "[ALPHA] Counter of events dispatched in watch cache broken by resource type",
            m.dispatched.clone(),
        );
        r.register(
            "apiserver_watch_cache_initializations",
            "[ALPHA] Counter of watch cache initializations broken by resource type",
            m.initializations.clone(),
        );
        r.register(
            "apiserver_watch_cache_resource_version",
            "[ALPHA] Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits",
            m.revisions.clone(),
        );
        r.register(
            "apiserver_terminated_watchers",
            "[ALPHA] Counter of watchers closed due to unresponsiveness broken by resource type",
            m.terminated.clone(),
        );
        m
    }

    /// Takes the state of the cache, which is not followed event by event.
    fn look(&self, server: &Server) {
        for k in catalog::all().iter().filter(|k| k.conversion.is_none() && !k.computed) {
            let Ok(resource) = server.registry().resource(k) else { continue };
            let stats = resource.stats();
            let of = labels::Resource::of(k);
            self.objects.get_or_create(&of).set(count(stats.objects));
            self.sizes.get_or_create(&of).set(count(stats.bytes));
            self.capacities.get_or_create(&of).set(count(stats.capacity));
            let dot = if k.group.is_empty() { "" } else { "." };
            let qualified = labels::Qualified { resource: format!("{}{dot}{}", k.plural, k.group) };
            self.storage_objects.get_or_create(&qualified).set(count(stats.objects));
            let watched = labels::Watched { group: k.group, kind: k.kind, version: k.version };
            self.watchers.get_or_create(&watched).set(count(stats.watchers));
            let revision = resource.snapshot().revision() % REVISIONS;
            self.revisions.get_or_create(&of).set(i64::try_from(revision).unwrap_or(i64::MAX));
            for counts in [&self.stored, &self.received, &self.dispatched] {
                raise(&counts.get_or_create(&of), stats.events);
            }
            raise(&self.initializations.get_or_create(&of), stats.initializations);
            raise(&self.unreadable.get_or_create(&of), stats.unreadable);
            raise(&self.terminated.get_or_create(&of), stats.slow_watchers);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        Self {
            requests: requests::Requests::register(r),
            filters: Filters::register(r),
            resources: Resources::register(r),
            store: Arc::new(store::Store::register(r)),
            admission: admission::Admission::register(r),
            tokens: tokens::Tokens::register(r),
            state: State::register(r),
            registry,
        }
    }
}

/// Raises a counter that is kept elsewhere to what it is there.
fn raise(counter: &Counter<u64, AtomicU64>, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Of authentication and authorization.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Of each kind.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Of the store.
    pub fn store(&self) -> &Arc<store::Store> {
        &self.store
    }

    /// Of tokens of service accounts.
    pub fn tokens(&self) -> &Arc<tokens::Tokens> {
        &self.tokens
    }

    /// Of admission.
    pub fn admission(&self) -> &admission::Admission {
        &self.admission
    }

    /// Counts a request as in flight; `apply` tells server-side apply from other patches.
    pub fn begin(&self, info: &RequestInfo, query: &Query, apply: bool) -> Counted {
        let labels = labels::Request::new(info, apply, query.get("dryRun").is_some());
        self.requests.begin(info, labels)
    }

    /// Counts an answer. A request that stays open is in flight as long as its answer is being read.
    pub fn end(&self, counted: Counted, response: Response<Body>, took: Duration) -> Response<Body> {
        self.requests.end(counted, response, took)
    }

    /// Counts a request that was ended in self-defence: no place among those in flight, or no time left.
    pub fn terminated(&self, info: &RequestInfo, code: StatusCode) {
        self.requests.terminated(labels::Request::new(info, false, false), code.as_u16());
    }

    /// All metrics as text.
    pub async fn answer(&self, server: &Server) -> Response<Body> {
        self.state.look(server);
        // A store that does not answer has the size it had.
        if let Ok(Ok(Some(bytes))) =
            tokio::time::timeout(SIZE_TIMEOUT, server.registry().storage().size()).await
        {
            let cluster = labels::Cluster { storage_cluster_id: "etcd-0" };
            self.state.size.get_or_create(&cluster).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut out = String::new();
        process::write(&mut out);
        let mut open = String::new();
        if let Err(e) = encode(&mut open, &self.registry) {
            tracing::warn!(error = %e, "encoding metrics failed");
        }
        out.push_str(&text::plain(&open));
        let mut r = respond::text(StatusCode::OK, out);
        r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
        r
    }
}
