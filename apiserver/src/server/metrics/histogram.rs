//! A histogram without a lock: many tasks observe, few look.
//!
//! Bounds are those of upstream's metric; the sum is kept in whole units (nanoseconds, bytes), so that adding to it
//! is one instruction.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

const NANOSECONDS: f64 = 1e9;

/// Upstream's bounds of the duration of a request, also towards the store.
pub const REQUEST: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
/// Of the duration that objectives are about.
pub const SLI: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Of the size of an answer, in bytes.
pub const SIZE: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Of the size of an event.
pub const EVENT_SIZE: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];
/// Of what admission takes.
pub const ADMISSION: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// Of what it takes to know who asks and whether they may.
pub const FILTER: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];
/// Of how long a read waits for the cache.
pub const READ_WAIT: &[f64] = &[0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0];

struct Inner {
    bounds: &'static [f64],
    /// How many of what is added up make one of what is shown.
    unit: f64,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram; clones are the same one.
#[derive(Clone)]
pub struct Histogram(Arc<Inner>);

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("sum", &self.0.sum).finish_non_exhaustive()
    }
}

impl Histogram {
    fn new(bounds: &'static [f64], unit: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, unit, counts, sum: AtomicU64::new(0) }))
    }

    /// Of durations.
    pub fn of_durations(bounds: &'static [f64]) -> Self {
        Self::new(bounds, NANOSECONDS)
    }

    /// Of sizes in bytes.
    pub fn of_sizes(bounds: &'static [f64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn observe(&self, amount: u64) {
        let shown = amount as f64 / self.0.unit;
        let at = self.0.bounds.partition_point(|bound| *bound < shown);
        self.0.counts[at].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(amount, Ordering::Relaxed);
    }

    /// Counts a duration.
    pub fn took(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a size.
    pub fn size(&self, bytes: u64) {
        self.observe(bytes);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / self.0.unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_is_observed_is_in_its_bucket_and_those_above() {
        let (mut registry, sizes) = (Registry::default(), Histogram::of_sizes(SIZE));
        let waits = Histogram::of_durations(ADMISSION);
        registry.register("sizes", "Sizes", sizes.clone());
        registry.register("waits", "Waits", waits.clone());
        [0, 1000, 1001, 2_000_000_000].into_iter().for_each(|bytes| sizes.size(bytes));
        [5, 6, 3000].into_iter().for_each(|ms| waits.took(Duration::from_millis(ms)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "sizes_bucket{le=\"1000.0\"} 2",
            "sizes_bucket{le=\"10000.0\"} 3",
            "sizes_bucket{le=\"1000000000.0\"} 3",
            "sizes_bucket{le=\"+Inf\"} 4",
            "sizes_count 4",
            "sizes_sum 2000002001.0",
            "waits_bucket{le=\"0.005\"} 1",
            "waits_bucket{le=\"0.025\"} 2",
            "waits_bucket{le=\"2.5\"} 2",
            "waits_count 3",
            "waits_sum 3.011",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
