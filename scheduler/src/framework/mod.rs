//! The extension points of a scheduling decision, and the profile that says which plugins take part.
//!
//! Ordering: PreEnqueue decides whether a pod may enter the queue, QueueSort who is next. For one pod, every filter
//! plugin is prepared once (PreFilter) and then asked node by node (Filter); a node is out at its first rejection.
//! Scores of the nodes that are left are made the same way, brought to 0..=100 (NormalizeScore) and weighed.
//! All of this is pure: a plugin sees the snapshot and the pod and keeps nothing.

mod event;
mod profile;

use std::borrow::Cow;

pub use event::ClusterEvent;
pub use profile::Profile;

use crate::{pod::PodInfo, snapshot::Snapshot};

/// Highest score of a node.
pub const MAX_SCORE: i64 = 100;

/// Why a node is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Reasons, as the message of the pod's condition has them.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether removing other pods from the node could help.
    pub resolvable: bool,
}

impl Rejection {
    /// One reason that removing pods could remedy.
    pub fn resolvable(reason: &'static str) -> Self {
        Rejection { reasons: vec![Cow::Borrowed(reason)], resolvable: true }
    }

    /// One reason that removing pods does not change.
    pub fn unresolvable(reason: &'static str) -> Self {
        Rejection { reasons: vec![Cow::Borrowed(reason)], resolvable: false }
    }
}

/// Decides whether a pod may be scheduled at all. A pod that may not is kept aside without being tried, until an
/// update of the pod itself.
pub trait PreEnqueue: Send + Sync {
    /// Name of the plugin.
    fn name(&self) -> &'static str;
    /// The message for the pod's condition when it has to wait.
    fn admit(&self, pod: &PodInfo) -> Result<(), String>;
}

/// Decides who is next. There is exactly one.
pub trait QueueSort: Send + Sync {
    /// Less is earlier; among equals who waits longer.
    fn rank(&self, pod: &PodInfo) -> i64;
}

/// Rules nodes out.
pub trait FilterPlugin: Send + Sync {
    /// Name of the plugin.
    fn name(&self) -> &'static str;
    /// Looks at the pod once (PreFilter); `None` when this plugin has nothing to say about it.
    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>>;
    /// Whether `event` may make a pod schedulable that this plugin rejected. A wrong yes costs a try, a wrong no
    /// leaves the pod waiting until the pool is flushed.
    fn helped_by(&self, pod: &PodInfo, event: &ClusterEvent) -> bool;
}

/// A filter that knows the pod.
pub trait Filter {
    /// Judges one node.
    fn filter(&self, node: usize) -> Result<(), Rejection>;
}

/// Compares nodes.
pub trait ScorePlugin: Send + Sync {
    /// Name of the plugin.
    fn name(&self) -> &'static str;
    /// Looks at the pod once (PreScore); `None` when this plugin has nothing to say about it.
    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>>;
}

/// A score that knows the pod.
pub trait Score {
    /// The score of one node; any number when [`Score::normalize`] brings it to 0..=100.
    fn score(&self, node: usize) -> i64;
    /// Brings all scores to 0..=100.
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// Stretches `scores` so that the highest is 100; upside down if `reverse`.
pub fn normalize_to_max(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let value = if highest == 0 { 0 } else { *score * MAX_SCORE / highest };
        *score = if reverse { MAX_SCORE - value } else { value };
    }
}
