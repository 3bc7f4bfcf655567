//! A node must have room for what a pod asks for; emptier nodes are preferred (LeastAllocated).

use std::borrow::Cow;

use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, MAX_SCORE, Rejection, Score, ScorePlugin},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Compares requests with what is free.
pub struct NodeResourcesFit;

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
}

impl FilterPlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Prepared { snapshot, pod }))
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        matches!(event, ClusterEvent::PodGone(_)) || event.is_node(|change| change.allocatable)
    }
}

impl Filter for Prepared<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        let (capacity, used) = (&self.snapshot.allocatable[node], &self.snapshot.used[node]);
        let wanted = &self.pod.requests;
        let mut reasons: Vec<Cow<'static, str>> = Vec::new();
        let mut resolvable = true;
        let pods = i64::try_from(self.snapshot.pods[node].len()).unwrap_or(i64::MAX);
        if pods >= self.snapshot.max_pods[node] {
            reasons.push(Cow::Borrowed("Too many pods"));
        }
        let mut check = |wanted: i64, used: i64, capacity: i64, reason: &dyn Fn() -> Cow<'static, str>| {
            if wanted > 0 && wanted > capacity - used {
                reasons.push(reason());
                // No eviction makes a node larger.
                resolvable &= wanted <= capacity;
            }
        };
        check(wanted.cpu, used.cpu, capacity.cpu, &|| Cow::Borrowed("Insufficient cpu"));
        check(wanted.memory, used.memory, capacity.memory, &|| Cow::Borrowed("Insufficient memory"));
        check(wanted.storage, used.storage, capacity.storage, &|| {
            Cow::Borrowed("Insufficient ephemeral-storage")
        });
        for (name, amount) in &wanted.others {
            let of = |resources: &crate::pod::Resources| resources.others.get(name).copied().unwrap_or(0);
            check(*amount, of(used), of(capacity), &|| Cow::Owned(format!("Insufficient {name}")));
        }
        if reasons.is_empty() { Ok(()) } else { Err(Rejection { reasons, resolvable }) }
    }
}

impl ScorePlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        _feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        Some(Box::new(Prepared { snapshot, pod }))
    }
}

impl Score for Prepared<'_> {
    fn score(&self, node: usize) -> i64 {
        let capacity = &self.snapshot.allocatable[node];
        let used = self.snapshot.spread_used[node];
        let free = |wanted: i64, used: i64, capacity: i64| {
            let total = used + wanted;
            if capacity == 0 || total > capacity { 0 } else { (capacity - total) * MAX_SCORE / capacity }
        };
        let cpu = free(self.pod.spread_requests.0, used.0, capacity.cpu);
        let memory = free(self.pod.spread_requests.1, used.1, capacity.memory);
        (cpu + memory) / 2
    }
}
