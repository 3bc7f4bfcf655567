//! A pod that names a node runs there.

use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, Rejection},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Compares `spec.nodeName`.
pub struct NodeName;

struct Prepared {
    wanted: Option<usize>,
}

impl FilterPlugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        if pod.node_name.is_empty() {
            return None;
        }
        Some(Box::new(Prepared { wanted: snapshot.node(&pod.node_name) }))
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        event.is_node(|_| false)
    }
}

impl Filter for Prepared {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        if self.wanted == Some(node) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match the requested node name"))
    }
}
