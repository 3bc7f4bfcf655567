//! Metrics with upstream's names.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Server;
use crate::endpoints::respond;
use crate::request::RequestInfo;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DurationLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    request_kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabels {
    resource: String,
}

/// The server's metrics.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    inflight: Family<KindLabels, Gauge>,
    long_running: Gauge,
    objects: Family<ResourceLabels, Gauge>,
}

/// A request that is being counted; it stops being in flight when this is dropped.
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
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
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        let inflight = Family::default();
        let long_running = Gauge::default();
        let objects = Family::default();
        // The encoder adds `_total` to counters.
        registry.register(
            "apiserver_request",
            "Counter of apiserver requests broken out for each verb, group, version, resource, scope, and HTTP response code",
            requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, group, version, resource, subresource and scope",
            durations.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Number of requests of this apiserver in flight by kind",
            inflight.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Number of long-running requests",
            long_running.clone(),
        );
        registry.register("apiserver_storage_objects", "Number of stored objects by kind", objects.clone());
        Self { registry, requests, durations, inflight, long_running, objects }
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if !info.is_resource {
        ""
    } else if !info.name.is_empty() {
        "resource"
    } else if !info.namespace.is_empty() {
        "namespace"
    } else {
        "cluster"
    }
}

/// The resource if it is served; labels must not grow with what clients make up.
fn known(info: &RequestInfo) -> (String, String, String, String) {
    let served = api_types::catalog::by_resource(&info.group, &info.version, &info.resource).filter(|k| {
        info.subresource.is_empty() || k.subresources.iter().any(|s| s.path() == info.subresource)
    });
    match served {
        Some(k) => (k.group.into(), k.version.into(), k.plural.into(), info.subresource.clone()),
        None => Default::default(),
    }
}

impl Metrics {
    /// Counts a request as in flight.
    pub fn begin(&self, info: &RequestInfo) -> Counted {
        let gauge = if info.is_long_running() {
            self.long_running.clone()
        } else {
            let kind = if info.is_read_only() { "readOnly" } else { "mutating" };
            self.inflight.get_or_create(&KindLabels { request_kind: kind }).clone()
        };
        gauge.inc();
        Counted(gauge)
    }

    /// Counts an answer.
    pub fn end(&self, info: &RequestInfo, code: StatusCode, took: Duration) {
        let (group, version, resource, subresource) = known(info);
        let verb = info.verb.to_uppercase();
        let labels = RequestLabels {
            verb: verb.clone(),
            group: group.clone(),
            version: version.clone(),
            resource: resource.clone(),
            subresource: subresource.clone(),
            scope: scope(info),
            code: code.as_u16().into(),
        };
        self.requests.get_or_create(&labels).inc();
        if info.is_long_running() {
            return;
        }
        let labels = DurationLabels { verb, group, version, resource, subresource, scope: scope(info) };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// All metrics as text.
    pub fn answer(&self, server: &Server) -> Response<Body> {
        for k in api_types::catalog::all().iter().filter(|k| k.conversion.is_none() && !k.computed) {
            if let Ok(resource) = server.registry().resource(k) {
                let name = if k.group.is_empty() {
                    k.plural.to_owned()
                } else {
                    format!("{}.{}", k.plural, k.group)
                };
                let count = i64::try_from(resource.snapshot().len()).unwrap_or(i64::MAX);
                self.objects.get_or_create(&ResourceLabels { resource: name }).set(count);
            }
        }
        let mut out = String::new();
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
}
