//! Work queue metrics under upstream's names, one label `name` for the queue.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    name: String,
}

/// The families of all queues.
#[derive(Clone)]
pub struct Metrics {
    depth: Family<QueueLabel, Gauge>,
    adds: Family<QueueLabel, Counter>,
    retries: Family<QueueLabel, Counter>,
    waited: Family<QueueLabel, Histogram>,
    worked: Family<QueueLabel, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        // Upstream's buckets: ten nanoseconds to ten seconds would be mostly empty; start at ten microseconds.
        let buckets = || Histogram::new([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]);
        Metrics {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(buckets),
            worked: Family::new_with_constructor(buckets),
        }
    }
}

impl Metrics {
    /// Families registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        registry.register("workqueue_depth", "Current depth of workqueue", metrics.depth.clone());
        registry.register(
            "workqueue_adds",
            "Total number of adds handled by workqueue",
            metrics.adds.clone(),
        );
        registry.register(
            "workqueue_retries",
            "Total number of retries handled by workqueue",
            metrics.retries.clone(),
        );
        registry.register(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            metrics.waited.clone(),
        );
        registry.register(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes",
            metrics.worked.clone(),
        );
        metrics
    }

    /// The metrics of one queue.
    pub fn queue(&self, name: &str) -> QueueMetrics {
        let label = QueueLabel { name: name.to_owned() };
        QueueMetrics {
            depth: self.depth.get_or_create(&label).clone(),
            adds: self.adds.get_or_create(&label).clone(),
            retries: self.retries.get_or_create(&label).clone(),
            waited: self.waited.get_or_create(&label).clone(),
            worked: self.worked.get_or_create(&label).clone(),
        }
    }
}

/// The metrics of one queue.
#[derive(Clone)]
pub struct QueueMetrics {
    depth: Gauge,
    adds: Counter<u64, AtomicU64>,
    retries: Counter<u64, AtomicU64>,
    waited: Histogram,
    worked: Histogram,
}

impl QueueMetrics {
    /// Metrics that are in no registry.
    pub fn detached(name: &str) -> Self {
        Metrics::default().queue(name)
    }

    pub(crate) fn added(&self) {
        self.adds.inc();
        self.depth.inc();
    }

    pub(crate) fn taken(&self, waited: Duration) {
        self.depth.dec();
        self.waited.observe(waited.as_secs_f64());
    }

    pub(crate) fn retried(&self) {
        self.retries.inc();
    }

    pub(crate) fn worked(&self, took: Duration) {
        self.worked.observe(took.as_secs_f64());
    }
}
