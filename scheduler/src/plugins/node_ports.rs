//! Two pods cannot have the same port of a machine.

use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, Rejection},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Compares host ports.
pub struct NodePorts;

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
}

impl FilterPlugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        if pod.host_ports.is_empty() {
            return None;
        }
        Some(Box::new(Prepared { snapshot, pod }))
    }

    fn helped_by(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodGone(gone) => {
                gone.host_ports.iter().any(|port| pod.host_ports.iter().any(|wanted| wanted.conflicts(port)))
            }
            event => event.is_node(|_| false),
        }
    }
}

impl Filter for Prepared<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        let taken = &self.snapshot.ports[node];
        if self.pod.host_ports.iter().any(|wanted| taken.iter().any(|port| wanted.conflicts(port))) {
            return Err(Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
