//! Pods with a higher priority come first, then those that waited longer.

use crate::{framework::QueueSort, pod::PodInfo};

/// Upstream's default order.
pub struct PrioritySort;

impl QueueSort for PrioritySort {
    fn rank(&self, pod: &PodInfo) -> i64 {
        -i64::from(pod.priority)
    }
}
