//! What is counted of each request.
//!
//! The counters of a kind of request are looked up once when it begins, without a lock; there are as many kinds as the
//! catalog and its verbs make.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::{Body, HttpBody};
use futures::StreamExt;
use http::{Response, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histogram::{self, Histogram};
use super::labels;
use crate::request::RequestInfo;

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters of requests.
pub struct Requests {
    requests: Family<labels::Answered, Counter<u64, AtomicU64>>,
    terminations: Family<labels::Terminated, Counter<u64, AtomicU64>>,
    durations: Histograms<labels::Request>,
    sli: Histograms<labels::Plain>,
    sizes: Histograms<labels::Plain>,
    long_running: Family<labels::Plain, Gauge>,
    reads: Gauge,
    writes: Gauge,
    kinds: ArcSwap<HashMap<labels::Request, Arc<Kind>>>,
}

/// The counters of one kind of request.
struct Kind {
    labels: labels::Request,
    duration: Histogram,
    /// What objectives are about is not what was only tried.
    sli: Option<Histogram>,
    /// Of reads.
    size: Option<Histogram>,
    codes: ArcSwap<Vec<(u16, Counter<u64, AtomicU64>)>>,
}

/// A request that is being counted; it stops being in flight when this is dropped.
pub struct Counted {
    gauge: Gauge,
    kind: Arc<Kind>,
    long: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Bytes of an answer of unknown length, counted when it ends or is cut.
struct Size {
    kind: Arc<Kind>,
    bytes: u64,
}

impl Size {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl Drop for Size {
    fn drop(&mut self) {
        if let Some(sizes) = &self.kind.size {
            sizes.size(self.bytes);
        }
    }
}

impl Requests {
    /// With its families in the registry.
    pub fn register(r: &mut Registry) -> Self {
        let inflight: Family<labels::RequestKind, Gauge> = Family::default();
        let of = |request_kind| inflight.get_or_create(&labels::RequestKind { request_kind }).clone();
        let m = Self {
            requests: Family::default(),
            terminations: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::of_durations(histogram::REQUEST)),
            sli: Family::new_with_constructor(|| Histogram::of_durations(histogram::SLI)),
            sizes: Family::new_with_constructor(|| Histogram::of_sizes(histogram::SIZE)),
            long_running: Family::default(),
            reads: of("readOnly"),
            writes: of("mutating"),
            kinds: ArcSwap::default(),
        };
        // The encoder adds `_total` to counters, and a full stop to what they are.
        r.register(
            "apiserver_request",
            "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code",
            m.requests.clone(),
        );
        r.register(
            "apiserver_request_duration_seconds",
            "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component",
            m.durations.clone(),
        );
        r.register(
            "apiserver_request_sli_duration_seconds",
            "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component",
            m.sli.clone(),
        );
        r.register(
            "apiserver_response_sizes",
            "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component",
            m.sizes.clone(),
        );
        r.register(
            "apiserver_current_inflight_requests",
            "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second",
            inflight,
        );
        r.register(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way",
            m.long_running.clone(),
        );
        r.register(
            "apiserver_request_terminations",
            "[ALPHA] Number of requests which apiserver terminated in self-defense",
            m.terminations.clone(),
        );
        m
    }

    /// Counts a request as in flight.
    pub fn begin(&self, info: &RequestInfo, labels: labels::Request) -> Counted {
        let kind = self.kind(labels);
        let long = info.is_long_running();
        let gauge = if long {
            self.long_running.get_or_create(&labels.plain()).clone()
        } else if info.is_read_only() {
            self.reads.clone()
        } else {
            self.writes.clone()
        };
        gauge.inc();
        Counted { gauge, kind, long }
    }

    fn kind(&self, labels: labels::Request) -> Arc<Kind> {
        if let Some(kind) = self.kinds.load().get(&labels) {
            return kind.clone();
        }
        let plain = labels.plain();
        let kind = Arc::new(Kind {
            labels,
            duration: self.durations.get_or_create(&labels).clone(),
            sli: (!labels.is_dry_run()).then(|| self.sli.get_or_create(&plain).clone()),
            size: labels.is_read().then(|| self.sizes.get_or_create(&plain).clone()),
            codes: ArcSwap::default(),
        });
        self.kinds.rcu(|kinds| {
            let mut kinds = HashMap::clone(kinds);
            kinds.entry(labels).or_insert_with(|| kind.clone());
            kinds
        });
        kind
    }

    /// Counts an answer. A request that stays open is in flight as long as its answer is being read.
    pub fn end(&self, counted: Counted, response: Response<Body>, took: Duration) -> Response<Body> {
        self.answered(&counted.kind, response.status().as_u16());
        if counted.long {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return response;
            }
            return each_piece(response, move |_| {
                let _in_flight = &counted;
            });
        }
        counted.kind.duration.took(took);
        if let Some(sli) = &counted.kind.sli {
            sli.took(took);
        }
        let Some(sizes) = &counted.kind.size else { return response };
        if let Some(bytes) = response.body().size_hint().exact() {
            sizes.size(bytes);
            return response;
        }
        let mut size = Size { kind: counted.kind.clone(), bytes: 0 };
        each_piece(response, move |bytes| size.add(bytes))
    }

    fn answered(&self, kind: &Kind, code: u16) {
        if let Some((_, counter)) = kind.codes.load().iter().find(|(of, _)| *of == code) {
            counter.inc();
            return;
        }
        let counter = self.requests.get_or_create(&kind.labels.answered(code)).clone();
        counter.inc();
        kind.codes.rcu(|codes| {
            let mut codes = Vec::clone(codes);
            if codes.iter().all(|(of, _)| *of != code) {
                codes.push((code, counter.clone()));
            }
            codes
        });
    }

    /// Counts a request that was ended in self-defence.
    pub fn terminated(&self, labels: labels::Request, code: u16) {
        self.terminations.get_or_create(&labels.plain().terminated(code)).inc();
    }
}

/// Tells the size of each piece of an answer as it is read.
fn each_piece(response: Response<Body>, mut see: impl FnMut(u64) + Send + 'static) -> Response<Body> {
    response.map(|body| {
        let pieces = body.into_data_stream().map(move |piece| {
            see(piece.as_ref().map_or(0, |bytes| bytes.len() as u64));
            piece
        });
        Body::from_stream(pieces)
    })
}
