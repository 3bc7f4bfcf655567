//! Which plugins take part, in which order and with which weight.

use super::{FilterPlugin, PreEnqueue, QueueSort, ScorePlugin};
use crate::plugins;

/// The plugins of a scheduler.
pub struct Profile {
    /// All have to admit a pod to the queue.
    pub pre_enqueue: Vec<Box<dyn PreEnqueue>>,
    /// Who is next.
    pub queue_sort: Box<dyn QueueSort>,
    /// In this order; the cheap ones and those that reject most come first.
    pub filters: Vec<Box<dyn FilterPlugin>>,
    /// With weights.
    pub scores: Vec<(Box<dyn ScorePlugin>, i64)>,
}

impl Profile {
    /// Upstream's plugins and weights, as far as they are there.
    pub fn default_profile() -> Self {
        Profile {
            pre_enqueue: vec![Box::new(plugins::SchedulingGates)],
            queue_sort: Box::new(plugins::PrioritySort),
            filters: vec![
                Box::new(plugins::NodeUnschedulable),
                Box::new(plugins::NodeName),
                Box::new(plugins::TaintToleration),
                Box::new(plugins::NodeAffinity),
                Box::new(plugins::NodePorts),
                Box::new(plugins::NodeResourcesFit),
                Box::new(plugins::PodTopologySpread),
                Box::new(plugins::InterPodAffinity),
            ],
            scores: vec![
                (Box::new(plugins::TaintToleration), 3),
                (Box::new(plugins::NodeAffinity), 2),
                (Box::new(plugins::PodTopologySpread), 2),
                (Box::new(plugins::InterPodAffinity), 2),
                (Box::new(plugins::NodeResourcesFit), 1),
                (Box::new(plugins::NodeResourcesBalancedAllocation), 1),
                (Box::new(plugins::ImageLocality), 1),
            ],
        }
    }
}
