//! Pods of a group are spread over zones, machines or whatever else nodes are labelled by.
//!
//! A pod without constraints of its own is spread over machines by its controller: nodes with fewer pods of the
//! same controller are preferred.

use std::collections::HashMap;

use api_types::selector::Selector;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::node_affinity::matches_required;
use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, MAX_SCORE, Rejection, Score, ScorePlugin},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Counts pods by domain.
pub struct PodTopologySpread;

struct Constraint<'a> {
    key: &'a str,
    max_skew: i64,
    min_domains: i64,
    /// Whether the pod itself is one of those that are counted.
    counts_itself: i64,
    counts: HashMap<&'a str, i64>,
}

impl<'a> Constraint<'a> {
    /// Counts over `nodes`, which all have the topology keys of all constraints.
    fn new(
        constraint: &'a TopologySpreadConstraint,
        pod: &PodInfo,
        snapshot: &'a Snapshot,
        nodes: &[usize],
    ) -> Self {
        let mut selector = constraint.label_selector.clone().unwrap_or_default();
        for key in constraint.match_label_keys.iter().flatten() {
            if let Some(value) = pod.labels.get(key) {
                selector.match_labels.get_or_insert_default().insert(key.clone(), value.clone());
            }
        }
        let selector = match constraint.label_selector {
            Some(_) => Selector::from_label_selector(&selector).unwrap_or_else(|_| Selector::nothing()),
            None => Selector::nothing(),
        };
        let mut counts: HashMap<&str, i64> = HashMap::new();
        for node in nodes {
            let Some(value) = snapshot.labels[*node].get(&constraint.topology_key) else { continue };
            let others = snapshot.pods[*node].values();
            let counted = others
                .filter(|other| {
                    other.namespace == pod.namespace && !other.deleting && selector.matches(&other.labels)
                })
                .count();
            *counts.entry(value).or_default() += i64::try_from(counted).unwrap_or(0);
        }
        Constraint {
            key: &constraint.topology_key,
            max_skew: i64::from(constraint.max_skew),
            min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
            counts_itself: i64::from(selector.matches(&pod.labels)),
            counts,
        }
    }

    fn least(&self) -> i64 {
        let domains = i64::try_from(self.counts.len()).unwrap_or(i64::MAX);
        if domains < self.min_domains { 0 } else { self.counts.values().copied().min().unwrap_or(0) }
    }
}

fn constraints<'a>(pod: &'a PodInfo, snapshot: &'a Snapshot, hard: bool) -> Vec<Constraint<'a>> {
    let wanted: Vec<&TopologySpreadConstraint> = pod
        .spread
        .iter()
        .filter(|constraint| (constraint.when_unsatisfiable == "DoNotSchedule") == hard)
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let has_keys = |node: &usize| wanted.iter().all(|c| snapshot.labels[*node].contains_key(&c.topology_key));
    let nodes: Vec<usize> = (0..snapshot.len()).filter(has_keys).collect();
    let eligible: Vec<usize> =
        nodes.iter().copied().filter(|node| matches_required(pod, snapshot, *node)).collect();
    wanted
        .into_iter()
        .map(|constraint| {
            let ignores = constraint.node_affinity_policy.as_deref() == Some("Ignore");
            Constraint::new(constraint, pod, snapshot, if ignores { &nodes } else { &eligible })
        })
        .collect()
}

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    constraints: Vec<Constraint<'a>>,
}

impl FilterPlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        let constraints = constraints(pod, snapshot, true);
        (!constraints.is_empty()).then(|| Box::new(Prepared { snapshot, constraints }) as Box<dyn Filter>)
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Node(_) => event.is_node(|change| change.labels),
            ClusterEvent::PodOnNodeChanged(_) | ClusterEvent::PodGone(_) => true,
            ClusterEvent::Namespace => false,
        }
    }
}

impl Filter for Prepared<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        for constraint in &self.constraints {
            let Some(value) = self.snapshot.labels[node].get(constraint.key) else {
                return Err(Rejection::unresolvable(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            };
            let count = constraint.counts.get(value.as_str()).copied().unwrap_or(0);
            if count + constraint.counts_itself - constraint.least() > constraint.max_skew {
                return Err(Rejection::resolvable("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }
}

struct ByController<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
}

impl ScorePlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        if pod.spread.is_empty() {
            let any = feasible.len() > 1 && pod.controller.is_some();
            return any.then(|| Box::new(ByController { snapshot, pod }) as Box<dyn Score>);
        }
        let constraints = constraints(pod, snapshot, false);
        (!constraints.is_empty()).then(|| Box::new(Prepared { snapshot, constraints }) as Box<dyn Score>)
    }
}

impl Score for Prepared<'_> {
    fn score(&self, node: usize) -> i64 {
        let labels = &self.snapshot.labels[node];
        let cost = self.constraints.iter().map(|constraint| match labels.get(constraint.key) {
            Some(value) => {
                let count = constraint.counts.get(value.as_str()).copied().unwrap_or(0);
                // The more domains there are, the more a pod in one of them weighs.
                let domains = i64::try_from(constraint.counts.len()).unwrap_or(1);
                count * i64::from((domains + 2).unsigned_abs().ilog2().max(1)) + constraint.max_skew - 1
            }
            None => i64::from(i32::MAX),
        });
        cost.sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        fewer_is_better(scores);
    }
}

impl Score for ByController<'_> {
    fn score(&self, node: usize) -> i64 {
        let pods = self.snapshot.pods[node].values();
        let count = pods.filter(|other| !other.deleting && other.controller == self.pod.controller).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        fewer_is_better(scores);
    }
}

fn fewer_is_better(scores: &mut [i64]) {
    let lacking = i64::from(i32::MAX);
    let known = || scores.iter().copied().filter(|score| *score < lacking);
    let (least, most) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    for score in scores {
        *score = match *score {
            cost if cost >= lacking => 0,
            _ if most == 0 => MAX_SCORE,
            cost => MAX_SCORE * (most + least - cost) / most,
        };
    }
}
