//! Metrics under upstream's names.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    result: &'static str,
    profile: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

#[derive(Clone)]
pub(crate) struct Metrics {
    attempts: Family<Attempt, Counter>,
    pending: Family<Queue, Gauge>,
    duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            attempts: Family::default(),
            pending: Family::default(),
            duration: Histogram::new([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        }
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        registry.register(
            "scheduler_schedule_attempts",
            "Number of attempts to schedule pods, by the result",
            metrics.attempts.clone(),
        );
        registry.register(
            "scheduler_pending_pods",
            "Number of pending pods, by the queue type",
            metrics.pending.clone(),
        );
        registry.register(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Scheduling algorithm latency in seconds",
            metrics.duration.clone(),
        );
        metrics
    }

    /// `scheduled`, `unschedulable` or `error`.
    pub(crate) fn attempted(&self, result: &'static str) {
        self.attempts.get_or_create(&Attempt { result, profile: "default-scheduler" }).inc();
    }

    pub(crate) fn decided(&self, took: std::time::Duration) {
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn pending(&self, counts: &[(&'static str, usize)]) {
        for (queue, count) in counts {
            self.pending.get_or_create(&Queue { queue }).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }
}
