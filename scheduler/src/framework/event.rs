//! What happened in the cluster, as far as it may make a waiting pod schedulable.

use std::sync::Arc;

use crate::{pod::PodInfo, snapshot::NodeChange};

/// Something happened.
#[derive(Debug, Clone)]
pub enum ClusterEvent {
    /// A node was added or changed.
    Node(NodeChange),
    /// A pod on a node is new or has other labels.
    PodOnNodeChanged(Arc<PodInfo>),
    /// A pod left its node.
    PodGone(Arc<PodInfo>),
    /// Labels of a namespace changed.
    Namespace,
}

impl ClusterEvent {
    /// Whether it is a node that is new or changed in a way that `matters`.
    pub fn is_node(&self, matters: impl Fn(NodeChange) -> bool) -> bool {
        matches!(self, ClusterEvent::Node(change) if change.added || matters(*change))
    }
}
