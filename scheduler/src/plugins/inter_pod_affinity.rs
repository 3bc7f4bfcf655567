//! Pods choose nodes by the pods that are already there: affinity and anti-affinity, required and preferred.

use std::collections::{HashMap, HashSet};

use api_types::selector::Selector;
use k8s_openapi::api::core::v1::PodAffinityTerm;

use crate::{
    framework::{ClusterEvent, Filter, FilterPlugin, MAX_SCORE, Rejection, Score, ScorePlugin},
    pod::PodInfo,
    snapshot::Snapshot,
};

/// Compares pods with pods.
pub struct InterPodAffinity;

/// A term that can be asked whether a pod is meant.
struct Term<'a> {
    key: &'a str,
    selector: Selector,
    namespaces: Vec<&'a str>,
    namespace_selector: Option<Selector>,
}

impl<'a> Term<'a> {
    fn new(term: &'a PodAffinityTerm, owner: &'a PodInfo) -> Self {
        let parse =
            |selector| Selector::from_label_selector(selector).unwrap_or_else(|_| Selector::nothing());
        let named = term.namespaces.as_deref().unwrap_or_default();
        let namespaces = match (named.is_empty(), &term.namespace_selector) {
            (true, None) => vec![&*owner.namespace],
            _ => named.iter().map(String::as_str).collect(),
        };
        Term {
            key: &term.topology_key,
            selector: term.label_selector.as_ref().map_or_else(Selector::nothing, parse),
            namespaces,
            namespace_selector: term.namespace_selector.as_ref().map(parse),
        }
    }

    fn means(&self, pod: &PodInfo, snapshot: &Snapshot) -> bool {
        let in_namespace = self.namespaces.contains(&&*pod.namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| {
                match snapshot.namespaces.get(&pod.namespace) {
                    Some(labels) => selector.matches(labels),
                    None => selector.is_everything(),
                }
            });
        in_namespace && self.selector.matches(&pod.labels)
    }
}

fn terms<'a>(terms: &'a [PodAffinityTerm], owner: &'a PodInfo) -> Vec<Term<'a>> {
    terms.iter().map(|term| Term::new(term, owner)).collect()
}

fn value<'a>(snapshot: &'a Snapshot, node: usize, key: &str) -> Option<&'a str> {
    snapshot.labels[node].get(key).map(String::as_str)
}

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    affinity: Vec<Term<'a>>,
    /// Per affinity term: domains in which a pod is that all terms mean.
    attracted: Vec<HashSet<&'a str>>,
    /// Nobody is meant yet, but the pod itself would be: the first of a group may go anywhere.
    first_of_its_group: bool,
    anti: Vec<Term<'a>>,
    /// Per anti-affinity term: domains in which a pod is that the term means.
    avoided: Vec<HashSet<&'a str>>,
    /// Domains (key and value) that pods there keep this pod away from.
    repelled: HashSet<(&'a str, &'a str)>,
}

impl FilterPlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Box<dyn Filter + 'a>> {
        let mut repelled = HashSet::new();
        for (node, other) in snapshot.repelling() {
            for term in &other.pod_anti_affinity {
                let Some(value) = value(snapshot, node, &term.topology_key) else { continue };
                if Term::new(term, other).means(pod, snapshot) {
                    repelled.insert((term.topology_key.as_str(), value));
                }
            }
        }
        if repelled.is_empty() && pod.pod_affinity.is_empty() && pod.pod_anti_affinity.is_empty() {
            return None;
        }
        let affinity = terms(&pod.pod_affinity, pod);
        let anti = terms(&pod.pod_anti_affinity, pod);
        let mut attracted = vec![HashSet::new(); affinity.len()];
        let mut avoided = vec![HashSet::new(); anti.len()];
        if !affinity.is_empty() || !anti.is_empty() {
            for node in 0..snapshot.len() {
                for other in snapshot.pods[node].values() {
                    if !affinity.is_empty() && affinity.iter().all(|term| term.means(other, snapshot)) {
                        for (term, domains) in affinity.iter().zip(&mut attracted) {
                            domains.extend(value(snapshot, node, term.key));
                        }
                    }
                    for (term, domains) in anti.iter().zip(&mut avoided) {
                        if term.means(other, snapshot) {
                            domains.extend(value(snapshot, node, term.key));
                        }
                    }
                }
            }
        }
        let first_of_its_group =
            attracted.iter().all(HashSet::is_empty) && affinity.iter().all(|term| term.means(pod, snapshot));
        Some(Box::new(Prepared {
            snapshot,
            affinity,
            attracted,
            first_of_its_group,
            anti,
            avoided,
            repelled,
        }))
    }

    fn helped_by(&self, _pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Node(_) => event.is_node(|change| change.labels),
            ClusterEvent::PodOnNodeChanged(_) | ClusterEvent::PodGone(_) | ClusterEvent::Namespace => true,
        }
    }
}

impl Filter for Prepared<'_> {
    fn filter(&self, node: usize) -> Result<(), Rejection> {
        for (term, domains) in self.affinity.iter().zip(&self.attracted) {
            let value = value(self.snapshot, node, term.key);
            let there = value.is_some_and(|value| domains.contains(value));
            let first = value.is_some() && self.first_of_its_group;
            if !there && !first {
                return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
            }
        }
        for (term, domains) in self.anti.iter().zip(&self.avoided) {
            if value(self.snapshot, node, term.key).is_some_and(|value| domains.contains(value)) {
                return Err(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
            }
        }
        let labels = &self.snapshot.labels[node];
        if self.repelled.iter().any(|(key, value)| labels.get(*key).map(String::as_str) == Some(value)) {
            return Err(Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

struct Preferred<'a> {
    snapshot: &'a Snapshot,
    /// What each domain (key and value) is worth.
    worth: HashMap<(&'a str, &'a str), i64>,
}

impl ScorePlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        _feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        if pod.preferred_pods.is_empty() {
            return None;
        }
        let mut worth = HashMap::new();
        for (weight, term) in &pod.preferred_pods {
            let term = Term::new(term, pod);
            for node in 0..snapshot.len() {
                let Some(value) = value(snapshot, node, term.key) else { continue };
                let meant = snapshot.pods[node].values().filter(|other| term.means(other, snapshot)).count();
                let meant = i64::try_from(meant).unwrap_or(0);
                if meant > 0 {
                    *worth.entry((term.key, value)).or_default() += weight * meant;
                }
            }
        }
        (!worth.is_empty()).then(|| Box::new(Preferred { snapshot, worth }) as Box<dyn Score>)
    }
}

impl Score for Preferred<'_> {
    fn score(&self, node: usize) -> i64 {
        let labels = &self.snapshot.labels[node];
        let there = |(key, value): &(&str, &str)| labels.get(*key).map(String::as_str) == Some(value);
        self.worth.iter().filter(|(domain, _)| there(domain)).map(|(_, worth)| worth).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (Some(least), Some(most)) = (scores.iter().copied().min(), scores.iter().copied().max()) else {
            return;
        };
        for score in scores {
            *score = if most == least { 0 } else { MAX_SCORE * (*score - least) / (most - least) };
        }
    }
}
