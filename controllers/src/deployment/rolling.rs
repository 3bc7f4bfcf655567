//! The sizes of ReplicaSets during a rolling update: pure functions of what is there.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::revision::{age_key, max_surge, max_unavailable, replicas, set_replicas, sum};

/// A ReplicaSet and the size it shall have.
pub(super) type Resize = (Arc<ReplicaSet>, i32);

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// How large the new set may become: what surge leaves room for. `current` is its size so far.
pub(super) fn new_set_size(deployment: &Deployment, total: i32, current: i32) -> i32 {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return replicas(deployment);
    }
    let room = replicas(deployment) + max_surge(deployment) - total;
    if room <= 0 {
        return current;
    }
    current + room.min(replicas(deployment) - current)
}

/// The size the new set shall have now, if it is another one.
pub(super) fn scale_new(deployment: &Deployment, all: &[Arc<ReplicaSet>], new: &ReplicaSet) -> Option<i32> {
    let (wanted, current) = (replicas(deployment), set_replicas(new));
    if current == wanted {
        return None;
    }
    let size = if current > wanted { wanted } else { new_set_size(deployment, sum(all), current) };
    (size != current).then_some(size)
}

/// The sizes old sets shall have now. Pods that are not available go first and from every old set: keeping them
/// helps nobody, and a broken old template must not block the new one.
pub(super) fn scale_old(
    deployment: &Deployment,
    all: &[Arc<ReplicaSet>],
    old: &[Arc<ReplicaSet>],
    new: &ReplicaSet,
) -> Vec<Resize> {
    if sum(old) == 0 {
        return Vec::new();
    }
    let min_available = replicas(deployment) - max_unavailable(deployment);
    let new_unavailable = set_replicas(new) - available(new);
    let may_go = sum(all) - min_available - new_unavailable;
    if may_go <= 0 {
        return Vec::new();
    }
    let mut sets = old.to_vec();
    sets.sort_by_key(|set| age_key(set));
    let mut sizes: Vec<i32> = sets.iter().map(|set| set_replicas(set)).collect();

    let mut left = may_go;
    for (set, size) in sets.iter().zip(&mut sizes) {
        let unhealthy = (*size - available(set)).max(0).min(left);
        *size -= unhealthy;
        left -= unhealthy;
    }
    let mut left = all.iter().map(|set| available(set)).sum::<i32>() - min_available;
    for size in &mut sizes {
        let healthy = (*size).min(left).max(0);
        *size -= healthy;
        left -= healthy;
    }
    sets.into_iter().zip(sizes).filter(|(set, size)| set_replicas(set) != *size).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn deployment(replicas: i32, surge: i32, unavailable: i32) -> Deployment {
        serde_json::from_value(json!({"metadata": {"name": "d", "generation": 1},
            "spec": {"replicas": replicas, "selector": {}, "template": {}, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}}))
        .expect("a deployment")
    }

    pub(crate) fn set(name: &str, replicas: i32, available: i32) -> Arc<ReplicaSet> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "uid": name},
                "spec": {"replicas": replicas, "selector": {}},
                "status": {"replicas": replicas, "availableReplicas": available, "readyReplicas": available}}))
            .expect("a replica set"),
        )
    }

    #[test]
    fn the_new_set_grows_into_the_surge() {
        // replicas, surge, old size, new size, expected
        let cases = [
            (3, 1, 3, 0, Some(1)),
            (3, 1, 3, 1, None),
            (3, 1, 2, 1, Some(2)),
            (3, 1, 0, 3, None),
            (3, 0, 3, 0, None),
            (10, 3, 8, 5, None),
            (10, 0, 8, 0, Some(2)),
            (2, 1, 0, 5, Some(2)),
        ];
        for (replicas, surge, old, new, expected) in cases {
            let new = set("new", new, new);
            let all = [set("old", old, old), new.clone()];
            assert_eq!(scale_new(&deployment(replicas, surge, 0), &all, &new), expected, "{replicas} {old}");
        }
    }

    #[test]
    fn old_sets_shrink_only_as_far_as_availability_allows() {
        // replicas, unavailable, old (size, available), new (size, available), expected size of old
        let cases = [
            (10, 2, (10, 10), (0, 0), Some(8)),
            (10, 2, (10, 8), (0, 0), Some(8)),
            (10, 2, (10, 7), (3, 0), Some(8)),
            (10, 0, (10, 10), (3, 0), None),
            (10, 0, (10, 10), (3, 3), Some(7)),
            (3, 0, (3, 3), (1, 1), Some(2)),
            (3, 1, (0, 0), (3, 1), None),
        ];
        for (replicas, unavailable, old, new, expected) in cases {
            let old = [set("old", old.0, old.1)];
            let new = set("new", new.0, new.1);
            let all = [old[0].clone(), new.clone()];
            let sizes = scale_old(&deployment(replicas, 3, unavailable), &all, &old, &new);
            assert_eq!(sizes.first().map(|(_, size)| *size), expected, "{replicas} {unavailable}");
        }
    }

    #[test]
    fn broken_old_pods_make_room_for_new_ones() {
        // A second bad template: its pods never become available and must all be able to go.
        let old = [set("a-good", 8, 8), set("b-bad", 5, 0)];
        let new = set("new", 0, 0);
        let all = [old[0].clone(), old[1].clone(), new.clone()];
        let sizes = scale_old(&deployment(10, 3, 2), &all, &old, &new);
        let sizes: Vec<_> = sizes.iter().map(|(set, size)| (set.metadata.name.as_deref(), *size)).collect();
        assert_eq!(sizes, [(Some("b-bad"), 0)]);
    }
}
