//! A cordoned node takes no pods but those that tolerate its taint.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, Rejection},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Looks at `spec.unschedulable`.
pub struct NodeUnschedulable;

struct Prepared<'a> {
    snapshot: &'a Snapshot,
}

impl FilterPlugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if pod.tolerations.iter().any(|toleration| tolerates(toleration, &taint)) {
            return None;
        }
        Some(Box::new(Prepared { snapshot }))
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        event.is_node(|change| change.schedulable)
    }
}

impl Filter for Prepared<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        if self.snapshot.unschedulable[node] {
            return Err(Rejection::unresolvable("node(s) were unschedulable"));
        }
        Ok(())
    }
}
