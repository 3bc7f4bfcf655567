//! Counters in upstream's names, kept where they are cheap, rendered on demand.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The agent's metrics.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Pods with a worker.
    pub pods: Gauge,
    /// Containers started.
    pub containers_started: Counter,
    start: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let pods = Gauge::default();
        let containers_started = Counter::default();
        let start = Histogram::new([0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0]);
        registry.register("kubelet_running_pods", "Number of pods that have a worker", pods.clone());
        registry.register("kubelet_started_containers", "Containers started", containers_started.clone());
        registry.register(
            "kubelet_pod_start_duration_seconds",
            "Seconds from the agent seeing a pod until it runs",
            start.clone(),
        );
        Metrics { registry: Mutex::new(registry), pods, containers_started, start }
    }
}

impl Metrics {
    /// A pod runs, so long after it was first seen.
    pub fn pod_started(&self, after: Duration) {
        self.start.observe(after.as_secs_f64());
    }

    /// The text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry.lock()) {
            tracing::debug!(%error, "metrics not rendered");
        }
        text
    }
}
