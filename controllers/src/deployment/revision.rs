//! Which ReplicaSet runs which template: hashes, revisions and the annotations that carry them.

use std::{collections::BTreeMap, sync::Arc};

use api_types::intstr::scaled_value;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::PodTemplateSpec,
};

pub(super) const HASH_LABEL: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ROLLBACK: &str = "deprecated.deployment.rollback.to";
/// Characters of revision history that are kept.
const HISTORY_LIMIT: usize = 2000;

pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn set_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn sum(sets: &[Arc<ReplicaSet>]) -> i32 {
    sets.iter().map(|set| set_replicas(set)).sum()
}

pub(super) fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// `maxSurge` (rounded up) and `maxUnavailable` (rounded down) in pods; never both zero.
fn fence_posts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = replicas(deployment);
    let resolve = |value: Option<&_>, up| value.and_then(|value| scaled_value(value, wanted, up).ok());
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), true).unwrap_or(0);
    let unavailable =
        resolve(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), false).unwrap_or(0);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { fence_posts(deployment).0 } else { 0 }
}

pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    if !is_rolling(deployment) || replicas(deployment) == 0 {
        return 0;
    }
    fence_posts(deployment).1.min(replicas(deployment))
}

pub(super) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        if let Some(metadata) = template.metadata.as_mut() {
            if let Some(labels) = metadata.labels.as_mut() {
                labels.remove(HASH_LABEL);
            }
            metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
            metadata.annotations = metadata.annotations.take().filter(|map| !map.is_empty());
            metadata.creation_timestamp = None;
        }
        template.metadata = template.metadata.filter(|metadata| *metadata != Default::default());
        template
    };
    bare(a) == bare(b)
}

/// The set that runs the deployment's template; the oldest, should there be several.
pub(super) fn find_new(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
    let wanted = &deployment.spec.as_ref()?.template;
    let template = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone());
    let same =
        sets.iter().filter(|set| template(set).is_some_and(|template| same_template(&template, wanted)));
    same.min_by_key(|set| age_key(set)).cloned()
}

/// Orders sets by creation, then by name.
pub(super) fn age_key(set: &ReplicaSet) -> (Option<jiff::Timestamp>, String) {
    let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created, set.metadata.name.clone().unwrap_or_default())
}

/// A short hash of the template that is a valid part of a name and spells no word.
pub(super) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    // FNV-1a: the value must stay the same from version to version, which std's hasher does not promise.
    let mut state: u32 = 0x811c_9dc5;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            state = (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    // A template that was read from JSON can be written as JSON.
    feed(&serde_json::to_vec(template).unwrap_or_default());
    if let Some(collisions) = collisions {
        feed(&collisions.to_le_bytes());
    }
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    state.to_string().bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

pub(super) fn revision(set: &ReplicaSet) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The revision a new template gets.
pub(super) fn next_revision(old: &[Arc<ReplicaSet>]) -> i64 {
    old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
}

/// The annotations of the new set after it became revision `wanted`; `existing` are those it has.
pub(super) fn new_set_annotations(
    deployment: &Deployment,
    existing: Option<&BTreeMap<String, String>>,
    wanted: i64,
) -> BTreeMap<String, String> {
    let mut annotations = existing.cloned().unwrap_or_default();
    let ours = [LAST_APPLIED, REVISION, HISTORY, DESIRED, MAX, ROLLBACK];
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !ours.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let before = annotations.get(REVISION).cloned();
    let known: i64 = before.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
    if known < wanted {
        annotations.insert(REVISION.to_owned(), wanted.to_string());
        if let Some(before) = before {
            let history = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
            let mut entries: Vec<&str> = history.split(',').filter(|entry| !entry.is_empty()).collect();
            entries.push(&before);
            while entries.len() > 1 && entries.iter().map(|e| e.len() + 1).sum::<usize>() > HISTORY_LIMIT {
                entries.remove(0);
            }
            let joined = entries.join(",");
            annotations.insert(HISTORY.to_owned(), joined);
        }
    }
    if existing.is_none() {
        annotations.extend(size_annotations(deployment));
    }
    annotations
}

/// How many pods the deployment wants, and how many it may have while it rolls.
pub(super) fn size_annotations(deployment: &Deployment) -> [(String, String); 2] {
    let wanted = replicas(deployment);
    [(DESIRED.to_owned(), wanted.to_string()), (MAX.to_owned(), (wanted + max_surge(deployment)).to_string())]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, surge: serde_json::Value, unavailable: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({"metadata": {"annotations": {"a": "b", LAST_APPLIED: "x", REVISION: "7"}},
            "spec": {"replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}}))
        .expect("a deployment")
    }

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let cases = [
            (3, json!("25%"), json!("25%"), 1, 0),
            (10, json!("25%"), json!("25%"), 3, 2),
            (1, json!(0), json!("25%"), 0, 1),
            (4, json!(1), json!(9), 1, 4),
            (0, json!("25%"), json!("25%"), 0, 0),
        ];
        for (count, surge, unavailable, expected_surge, expected_unavailable) in cases {
            let deployment = deployment(count, surge, unavailable);
            assert_eq!(max_surge(&deployment), expected_surge, "{count}");
            assert_eq!(max_unavailable(&deployment), expected_unavailable, "{count}");
        }
    }

    #[test]
    fn the_hash_label_and_empty_maps_do_not_matter() {
        let read = |value| serde_json::from_value::<PodTemplateSpec>(value).expect("a template");
        let a = read(json!({"metadata": {"labels": {"a": "b", HASH_LABEL: "x"}}}));
        let b =
            read(json!({"metadata": {"labels": {"a": "b"}, "annotations": {}, "creationTimestamp": null}}));
        assert!(same_template(&a, &b));
        assert!(!same_template(&a, &read(json!({"metadata": {"labels": {"a": "c"}}}))));
        assert_ne!(hash(&a, None), hash(&a, Some(1)));
        assert!(hash(&b, None).bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)));
    }

    #[test]
    fn a_revision_that_comes_back_remembers_where_it_was() {
        let deployment = deployment(3, json!(1), json!(1));
        let fresh = new_set_annotations(&deployment, None, 1);
        assert_eq!(fresh.get(REVISION).map(String::as_str), Some("1"));
        assert_eq!(fresh.get(DESIRED).map(String::as_str), Some("3"));
        assert_eq!(fresh.get(MAX).map(String::as_str), Some("4"));
        assert_eq!(fresh.get("a").map(String::as_str), Some("b"));
        assert!(!fresh.contains_key(LAST_APPLIED));
        let back = new_set_annotations(&deployment, Some(&fresh), 3);
        assert_eq!(back.get(REVISION).map(String::as_str), Some("3"));
        assert_eq!(back.get(HISTORY).map(String::as_str), Some("1"));
        assert_eq!(new_set_annotations(&deployment, Some(&back), 3), back);
    }
}
