//! The decision about one pod: a pure function of the snapshot.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    framework::{Filter, Profile, Rejection, Score},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// What was decided.
#[derive(Debug)]
pub enum Decision {
    /// It goes to the node of that number.
    Node(usize),
    /// It fits nowhere.
    Unschedulable(Diagnosis),
}

/// Why a pod fits nowhere.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// Number of nodes.
    pub nodes: usize,
    /// How many nodes were rejected for each reason.
    pub reasons: BTreeMap<Cow<'static, str>, usize>,
    /// How many nodes each plugin rejected.
    pub plugins: BTreeMap<&'static str, usize>,
    /// On how many nodes removing pods could help.
    pub resolvable: usize,
    /// Whether the pod itself never preempts.
    pub never_preempts: bool,
}

impl Diagnosis {
    fn note(&mut self, plugin: &'static str, rejection: Rejection) {
        *self.plugins.entry(plugin).or_default() += 1;
        self.resolvable += usize::from(rejection.resolvable);
        for reason in rejection.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// The message of the event and of the pod's condition.
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let nodes = self.nodes;
        let reasons = sorted(self.reasons.iter().map(|(reason, count)| (*count, &**reason)));
        let preemption = if self.never_preempts {
            "not eligible due to preemptionPolicy=Never.".to_owned()
        } else {
            let counts = [
                (self.resolvable, "No preemption victims found for incoming pod"),
                (nodes - self.resolvable, "Preemption is not helpful for scheduling"),
            ];
            let counts = sorted(counts.into_iter().filter(|(count, _)| *count > 0));
            format!("0/{nodes} nodes are available: {counts}.")
        };
        format!(
            "0/{nodes} nodes are available: {reasons}. no new claims to deallocate, preemption: {preemption}"
        )
    }
}

fn sorted<'a>(counts: impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut parts: Vec<String> = counts.map(|(count, reason)| format!("{count} {reason}")).collect();
    parts.sort();
    parts.join(", ")
}

/// Picks a node for `pod`.
pub fn decide(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo) -> Decision {
    let filters: Vec<(&'static str, Box<dyn Filter + '_>)> = profile
        .filters
        .iter()
        .filter_map(|plugin| Some((plugin.name(), plugin.prepare(pod, snapshot)?)))
        .collect();
    let mut diagnosis =
        Diagnosis { nodes: snapshot.len(), never_preempts: pod.never_preempts, ..Diagnosis::default() };
    let mut feasible = Vec::new();
    'nodes: for node in 0..snapshot.len() {
        for (name, filter) in &filters {
            if let Err(rejection) = filter.filter(node) {
                diagnosis.note(name, rejection);
                continue 'nodes;
            }
        }
        feasible.push(node);
    }
    match feasible.as_slice() {
        [] => Decision::Unschedulable(diagnosis),
        [only] => Decision::Node(*only),
        _ => Decision::Node(best(profile, snapshot, pod, &feasible)),
    }
}

fn best(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo, feasible: &[usize]) -> usize {
    let mut totals = vec![0i64; feasible.len()];
    let mut scores = vec![0i64; feasible.len()];
    for (plugin, weight) in &profile.scores {
        let prepared: Option<Box<dyn Score + '_>> = plugin.prepare(pod, snapshot, feasible);
        let Some(prepared) = prepared else { continue };
        for (score, node) in scores.iter_mut().zip(feasible) {
            *score = prepared.score(*node);
        }
        prepared.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(&scores) {
            *total += weight * score;
        }
    }
    // Among equals the pod's uid decides: the same input gives the same node, different pods get different ones.
    let highest = totals.iter().copied().max().unwrap_or(0);
    let equals = totals.iter().filter(|total| **total == highest).count();
    let pick = hash(&pod.uid) as usize % equals.max(1);
    let mut candidates = feasible.iter().zip(&totals).filter(|(_, total)| **total == highest);
    candidates.nth(pick).map_or(feasible[0], |(node, _)| *node)
}

fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |state: u32, byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::snapshot::tests::{node, pod};

    fn message(snapshot: &Snapshot, pod: &PodInfo) -> String {
        match decide(&Profile::default_profile(), snapshot, pod) {
            Decision::Unschedulable(diagnosis) => diagnosis.message(),
            Decision::Node(node) => panic!("it fits on {}", snapshot.names[node]),
        }
    }

    fn chosen(snapshot: &Snapshot, pod: &PodInfo) -> String {
        match decide(&Profile::default_profile(), snapshot, pod) {
            Decision::Node(node) => snapshot.names[node].to_string(),
            Decision::Unschedulable(diagnosis) => panic!("{}", diagnosis.message()),
        }
    }

    fn snapshot(nodes: &[(&str, &str, Value)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, cpu, extra) in nodes {
            snapshot.set_node(node(name, cpu, extra.clone()));
        }
        snapshot
    }

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            message(&Snapshot::default(), &pod("p", "1", json!({}))),
            "no nodes available to schedule pods"
        );
        let mut three = snapshot(&[
            ("a", "2", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})),
            ("b", "2", json!({})),
            ("c", "2", json!({})),
        ]);
        three.add_pod(pod("x", "1", json!({})), "b");
        three.add_pod(pod("y", "1", json!({})), "c");
        assert_eq!(
            message(&three, &pod("p", "2", json!({}))),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to \
             deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No \
             preemption victims found for incoming pod."
        );
        let one = snapshot(&[("a", "2", json!({}))]);
        assert_eq!(
            message(&one, &pod("p", "9", json!({"spec": {"preemptionPolicy": "Never"}}))),
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible \
             due to preemptionPolicy=Never."
        );
    }

    #[test]
    fn every_filter_rejects_for_its_reason() {
        let full = json!({"status": {"allocatable": {"pods": "0"}}});
        let cordoned = json!({"spec": {"unschedulable": true}});
        let spread = json!({"spec": {"topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}});
        let cases = [
            (full, json!({}), "Too many pods"),
            (cordoned, json!({}), "node(s) were unschedulable"),
            (
                json!({}),
                json!({"spec": {"nodeSelector": {"disk": "ssd"}}}),
                "node(s) didn't match Pod's node affinity/selector",
            ),
            (
                json!({}),
                json!({"spec": {"nodeName": "other"}}),
                "node(s) didn't match the requested node name",
            ),
            (
                json!({}),
                spread,
                "node(s) didn't match pod topology spread constraints (missing required label)",
            ),
        ];
        for (extra, wanted, reason) in cases {
            let text = message(&snapshot(&[("a", "2", extra)]), &pod("p", "1", wanted));
            assert!(text.starts_with(&format!("0/1 nodes are available: 1 {reason}. ")), "{text}");
        }
    }

    #[test]
    fn the_emptier_node_is_preferred_and_equals_are_shared_out() {
        let mut two = snapshot(&[("a", "4", json!({})), ("b", "4", json!({}))]);
        two.add_pod(pod("x", "3", json!({})), "a");
        assert_eq!(chosen(&two, &pod("p", "1", json!({}))), "b");
        let equal = snapshot(&[("a", "4", json!({})), ("b", "4", json!({}))]);
        let names: std::collections::BTreeSet<String> =
            (0..16).map(|i| chosen(&equal, &pod(&format!("p{i}"), "1", json!({})))).collect();
        assert_eq!(names.len(), 2);
        assert_eq!(chosen(&equal, &pod("p", "1", json!({}))), chosen(&equal, &pod("p", "1", json!({}))));
    }

    #[test]
    fn pods_attract_and_repel_each_other() {
        let term = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]);
        let alone = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"affinity": {"podAntiAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": term}}}});
        let near = json!({"spec": {"affinity": {"podAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": term}}}});
        let mut two = snapshot(&[("a", "4", json!({})), ("b", "4", json!({}))]);
        assert!(
            message(&two, &pod("web", "1", near.clone()))
                .contains("2 node(s) didn't match pod affinity rules")
        );
        two.add_pod(pod("db1", "1", alone.clone()), "a");
        assert_eq!(chosen(&two, &pod("web", "1", near)), "a");
        assert_eq!(chosen(&two, &pod("db2", "1", alone.clone())), "b");
        two.add_pod(pod("db2", "1", alone), "b");
        let plain = json!({"metadata": {"labels": {"app": "db"}}});
        assert!(
            message(&two, &pod("db3", "1", plain))
                .contains("2 node(s) didn't satisfy existing pods anti-affinity rules")
        );
    }

    #[test]
    fn spread_keeps_domains_level() {
        let zone = |zone: &str| json!({"metadata": {"labels": {"zone": zone}}});
        let mut three = snapshot(&[("a", "9", zone("1")), ("b", "9", zone("1")), ("c", "9", zone("2"))]);
        let member = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
             "labelSelector": {"matchLabels": {"app": "x"}}}]}});
        three.add_pod(pod("one", "1", member.clone()), "a");
        assert_eq!(chosen(&three, &pod("two", "1", member)), "c");
        let owned = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "owner", "controller": true}]}});
        let mut two = snapshot(&[("a", "900", json!({})), ("b", "900", json!({}))]);
        two.add_pod(pod("one", "1", owned.clone()), "a");
        assert_eq!(chosen(&two, &pod("two", "1", owned)), "b");
    }

    /// Run with `cargo test -p scheduler -- --ignored --nocapture throughput`.
    #[test]
    #[ignore = "a benchmark, not a test"]
    fn throughput() {
        let mut snapshot = Snapshot::default();
        for i in 0..1000 {
            snapshot.set_node(node(&format!("n{i}"), "32", json!({})));
        }
        let profile = Profile::default_profile();
        let pods: Vec<_> = (0..5000).map(|i| pod(&format!("p{i}"), "100m", json!({}))).collect();
        let start = std::time::Instant::now();
        for pod in &pods {
            let Decision::Node(at) = decide(&profile, &snapshot, pod) else { panic!("everything fits") };
            let name = snapshot.names[at].clone();
            snapshot.add_pod(pod.clone(), &name);
        }
        let rate = pods.len() as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} pods/s decided on 1,000 nodes");
    }
}
