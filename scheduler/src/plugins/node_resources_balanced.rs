//! Nodes on which processor time and memory are used to about the same degree are preferred.

use crate::{
    framework::{MAX_SCORE, Score, ScorePlugin},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Compares the fractions that would be in use.
pub struct NodeResourcesBalancedAllocation;

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
}

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        _feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        // A pod that asks for nothing changes no balance.
        if pod.requests.cpu == 0 && pod.requests.memory == 0 {
            return None;
        }
        Some(Box::new(Prepared { snapshot, pod }))
    }
}

impl Score for Prepared<'_> {
    fn score(&self, node: usize) -> i64 {
        let (capacity, used) = (&self.snapshot.allocatable[node], &self.snapshot.used[node]);
        #[expect(clippy::cast_precision_loss, reason = "a fraction of hundred parts")]
        let fraction = |wanted: i64, used: i64, capacity: i64| {
            if capacity == 0 { 1.0 } else { ((used + wanted) as f64 / capacity as f64).min(1.0) }
        };
        let cpu = fraction(self.pod.requests.cpu, used.cpu, capacity.cpu);
        let memory = fraction(self.pod.requests.memory, used.memory, capacity.memory);
        let deviation = ((cpu - memory) / 2.0).abs();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "0..=100")]
        let score = ((1.0 - deviation) * MAX_SCORE as f64) as i64;
        score
    }
}
