//! A change of `replicas`, also in the middle of a rollout: sizes are shared out in proportion.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::{
    Look,
    revision::{DESIRED, MAX, age_key, annotation, max_surge, replicas, set_replicas, sum},
    rolling::{Resize, available},
};

/// Whether the deployment was resized since its sets were last told.
pub(super) fn is_scaling_event(look: &Look) -> bool {
    let wanted = look.replicas();
    look.all().iter().filter(|set| set_replicas(set) > 0).any(|set| {
        annotation(set, DESIRED)
            .and_then(|text| text.parse::<i32>().ok())
            .is_some_and(|known| known != wanted)
    })
}

/// The sizes all sets shall have after a resize of the deployment.
pub(super) fn plan(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
) -> Vec<Resize> {
    let wanted = replicas(deployment);
    let all: Vec<Arc<ReplicaSet>> = old.iter().chain(new).cloned().collect();
    let mut active: Vec<Arc<ReplicaSet>> = all.iter().filter(|set| set_replicas(set) > 0).cloned().collect();
    let only = match active.len() {
        0 => new.cloned().or_else(|| old.iter().max_by_key(|set| age_key(set)).cloned()),
        1 => active.first().cloned(),
        _ => None,
    };
    if let Some(only) = only {
        return if set_replicas(&only) == wanted { Vec::new() } else { vec![(only, wanted)] };
    }
    if new.is_some_and(|new| is_saturated(deployment, new)) {
        let left = old.iter().filter(|set| set_replicas(set) > 0);
        return left.map(|set| (set.clone(), 0)).collect();
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return Vec::new();
    }
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - sum(&active);
    // The largest gets what rounding leaves; among equals the newest when growing, the oldest when shrinking.
    if to_add > 0 {
        active.sort_by_key(|set| (Reverse(set_replicas(set)), Reverse(age_key(set))));
    } else {
        active.sort_by_key(|set| (Reverse(set_replicas(set)), age_key(set)));
    }
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let part = if to_add == 0 { 0 } else { proportion(deployment, set, to_add, added) };
        added += part;
        sizes.push(set_replicas(set) + part);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    // Also those that keep their size: their annotations have to follow.
    active.into_iter().zip(sizes).collect()
}

fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    let size = set_replicas(set);
    if size == 0 || to_add == added {
        return 0;
    }
    let allowed = to_add - added;
    let share = share(deployment, set);
    if to_add > 0 { share.min(allowed) } else { share.max(allowed) }
}

/// By how much `set` would have to change to keep its share of the deployment.
fn share(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let size = set_replicas(set);
    if replicas(deployment) == 0 {
        return -size;
    }
    let total = f64::from(replicas(deployment) + max_surge(deployment));
    let known = annotation(set, MAX).and_then(|text| text.parse::<i32>().ok());
    let status = || deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let before = known.unwrap_or_else(status);
    if before <= 0 {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "pod counts are far below 2^31")]
    let scaled = (f64::from(size) * total / f64::from(before)).round() as i32;
    scaled - size
}

fn is_saturated(deployment: &Deployment, new: &ReplicaSet) -> bool {
    let wanted = replicas(deployment);
    let desired = annotation(new, DESIRED).and_then(|text| text.parse::<i32>().ok());
    set_replicas(new) == wanted && desired == Some(wanted) && available(new) == wanted
}

#[cfg(test)]
mod tests {
    use super::{
        super::rolling::tests::{deployment, set},
        *,
    };

    fn annotated(name: &str, size: i32, max: i32) -> Arc<ReplicaSet> {
        let mut set = (*set(name, size, size)).clone();
        set.metadata.annotations = Some([(MAX.to_owned(), max.to_string())].into());
        Arc::new(set)
    }

    fn sizes(wanted: i32, surge: i32, new: Arc<ReplicaSet>, old: &[Arc<ReplicaSet>]) -> Vec<(String, i32)> {
        let sizes = plan(&deployment(wanted, surge, 0), Some(&new), old);
        let mut sizes: Vec<_> =
            sizes.iter().map(|(set, size)| (set.metadata.name.clone().unwrap_or_default(), *size)).collect();
        sizes.sort();
        sizes
    }

    fn expect(pairs: &[(&str, i32)]) -> Vec<(String, i32)> {
        pairs.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn one_active_set_takes_it_all() {
        assert_eq!(sizes(10, 3, annotated("new", 3, 4), &[set("old", 0, 0)]), expect(&[("new", 10)]));
        assert!(sizes(3, 3, annotated("new", 3, 4), &[]).is_empty());
    }

    #[test]
    fn sizes_are_shared_in_proportion() {
        let grow = sizes(20, 0, annotated("new", 5, 10), &[annotated("old", 5, 10)]);
        assert_eq!(grow, expect(&[("new", 10), ("old", 10)]));
        let shrink = sizes(5, 0, annotated("new", 4, 10), &[annotated("old", 6, 10)]);
        assert_eq!(shrink, expect(&[("new", 2), ("old", 3)]));
        let to_nothing = sizes(0, 3, annotated("new", 4, 10), &[annotated("old", 6, 10)]);
        assert_eq!(to_nothing, expect(&[("new", 0), ("old", 0)]));
    }
}
