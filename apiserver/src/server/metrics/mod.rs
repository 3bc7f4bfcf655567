//! Metrics with upstream's names and labels.

mod labels;
mod process;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api_types::catalog;
use axum::body::Body;
use futures::StreamExt;
use http::{HeaderValue, Response, StatusCode, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Server;
use crate::endpoints::respond;
use crate::request::RequestInfo;
use crate::request::query::Query;

/// The server's metrics.
pub struct Metrics {
    registry: Registry,
    requests: Family<labels::Answered, Counter<u64, AtomicU64>>,
    durations: Family<labels::Request, Histogram, fn() -> Histogram>,
    inflight: Family<labels::RequestKind, Gauge>,
    long_running: Family<labels::Request, Gauge>,
    rejected: Family<labels::RequestKind, Counter<u64, AtomicU64>>,
    objects: Family<labels::Resource, Gauge>,
    storage_objects: Family<labels::Qualified, Gauge>,
    watchers: Family<labels::Watched, Gauge>,
    events: Family<labels::Resource, Counter<u64, AtomicU64>>,
    terminated: Family<labels::Resource, Counter<u64, AtomicU64>>,
}

/// A request that is being counted; it stops being in flight when this is dropped.
pub struct Counted {
    gauge: Gauge,
    labels: labels::Request,
    long: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

fn buckets() -> Histogram {
    Histogram::new([
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0,
        15.0, 20.0, 30.0, 45.0, 60.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut m = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(buckets as fn() -> Histogram),
            inflight: Family::default(),
            long_running: Family::default(),
            rejected: Family::default(),
            objects: Family::default(),
            storage_objects: Family::default(),
            watchers: Family::default(),
            events: Family::default(),
            terminated: Family::default(),
        };
        let r = &mut m.registry;
        // The encoder adds `_total` to counters.
        r.register(
            "apiserver_request",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code",
            m.requests.clone(),
        );
        r.register(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component",
            m.durations.clone(),
        );
        r.register(
            "apiserver_current_inflight_requests",
            "Number of requests of this apiserver in flight by kind",
            m.inflight.clone(),
        );
        r.register(
            "apiserver_longrunning_requests",
            "Number of long-running requests by verb, group, version, resource, scope and component",
            m.long_running.clone(),
        );
        r.register(
            "apiserver_dropped_requests",
            "Number of requests refused because too many were in flight",
            m.rejected.clone(),
        );
        r.register("apiserver_resource_objects", "Number of stored objects", m.objects.clone());
        r.register(
            "apiserver_storage_objects",
            "Number of stored objects by kind",
            m.storage_objects.clone(),
        );
        r.register("apiserver_registered_watchers", "Number of watchers by kind", m.watchers.clone());
        r.register(
            "apiserver_watch_cache_events_received",
            "Counter of events received in watch cache broken by resource type",
            m.events.clone(),
        );
        r.register(
            "apiserver_terminated_watchers",
            "Counter of watchers closed due to unresponsiveness broken by resource type",
            m.terminated.clone(),
        );
        m
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
    /// Counts a request as in flight; `apply` tells server-side apply from other patches.
    pub fn begin(&self, info: &RequestInfo, query: &Query, apply: bool) -> Counted {
        let labels = labels::Request::new(info, apply, query.get("dryRun").is_some());
        let long = info.is_long_running();
        let gauge = if long {
            self.long_running.get_or_create(&labels).clone()
        } else {
            self.inflight.get_or_create(&labels::RequestKind { request_kind: kind(info) }).clone()
        };
        gauge.inc();
        Counted { gauge, labels, long }
    }

    /// Counts an answer. A request that stays open is in flight as long as its answer is being read.
    pub fn end(&self, counted: Counted, response: Response<Body>, took: Duration) -> Response<Body> {
        self.requests.get_or_create(&counted.labels.answered(response.status().as_u16())).inc();
        if !counted.long {
            self.durations.get_or_create(&counted.labels).observe(took.as_secs_f64());
            return response;
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        response.map(|body| {
            let stream = body.into_data_stream().map(move |piece| {
                let _in_flight = &counted;
                piece
            });
            Body::from_stream(stream)
        })
    }

    /// Counts a request that found no place among those in flight.
    pub fn refused(&self, info: &RequestInfo) {
        self.rejected.get_or_create(&labels::RequestKind { request_kind: kind(info) }).inc();
    }

    /// All metrics as text.
    pub fn answer(&self, server: &Server) -> Response<Body> {
        self.look(server);
        let mut out = String::new();
        process::write(&mut out);
        if let Err(e) = encode(&mut out, &self.registry) {
            tracing::warn!(error = %e, "encoding metrics failed");
        }
        let mut r = respond::text(StatusCode::OK, out);
        r.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        );
        r
    }

    /// Takes the state of the cache, which is not followed event by event.
    fn look(&self, server: &Server) {
        for k in catalog::all().iter().filter(|k| k.conversion.is_none() && !k.computed) {
            let Ok(resource) = server.registry().resource(k) else { continue };
            let stats = resource.stats();
            let of = labels::Resource { group: k.group, resource: k.plural };
            self.objects.get_or_create(&of).set(count(stats.objects));
            let dot = if k.group.is_empty() { "" } else { "." };
            let resource = format!("{}{dot}{}", k.plural, k.group);
            self.storage_objects.get_or_create(&labels::Qualified { resource }).set(count(stats.objects));
            let watched = labels::Watched { group: k.group, kind: k.kind, version: k.version };
            self.watchers.get_or_create(&watched).set(count(stats.watchers));
            raise(&self.events.get_or_create(&of), stats.events);
            raise(&self.terminated.get_or_create(&of), stats.slow_watchers);
        }
    }
}

fn kind(info: &RequestInfo) -> &'static str {
    if info.is_read_only() { "readOnly" } else { "mutating" }
}
