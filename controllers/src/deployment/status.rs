//! The status of a deployment: counters, and the story its conditions tell.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    Look,
    revision::{max_unavailable, replicas, sum},
};

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = status.conditions.as_mut() {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

/// Sets the condition unless status and reason are already the same.
fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(current) = get(status, &new.type_) {
        if current.status == new.status && current.reason == new.reason {
            return;
        }
        if current.status == new.status {
            new.last_transition_time = current.last_transition_time.clone();
        }
    }
    remove(status, &new.type_.clone());
    status.conditions.get_or_insert_default().push(new);
}

fn deadline(deployment: &Deployment) -> Option<i32> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then_some(seconds)
}

/// Notes in the Progressing condition that the deployment was paused or resumed.
pub(super) fn note_pause(deployment: &mut Deployment, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    let status = deployment.status.get_or_insert_default();
    let reason = get(status, PROGRESSING).and_then(|condition| condition.reason.as_deref());
    match (paused, reason) {
        (_, Some(TIMED_OUT)) => {}
        (true, reason) if reason != Some(PAUSED) => {
            set(status, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned(), now));
        }
        (false, Some(PAUSED)) => {
            let message = "Deployment is resumed".to_owned();
            set(status, condition(PROGRESSING, "Unknown", "DeploymentResumed", message, now));
        }
        _ => {}
    }
}

/// Notes which set runs the template, when nothing is known of progress yet.
pub(super) fn note_new_set(deployment: &mut Deployment, created: bool, name: &str, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let status = deployment.status.get_or_insert_default();
    if created {
        let message = format!("Created new replica set \"{name}\"");
        set(status, condition(PROGRESSING, "True", "NewReplicaSetCreated", message, now));
    } else if get(status, PROGRESSING).is_none() {
        let message = format!("Found new replica set \"{name}\"");
        set(status, condition(PROGRESSING, "True", "FoundNewReplicaSet", message, now));
    }
}

/// Notes that the new set could not be made.
pub(super) fn note_create_error(deployment: &mut Deployment, name: &str, error: &str, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let message = format!("Failed to create new replica set \"{name}\": {error}");
    let status = deployment.status.get_or_insert_default();
    set(status, condition(PROGRESSING, "False", "ReplicaSetCreateError", message, now));
}

/// Counters and availability; nothing about progress.
pub(super) fn counted(look: &Look) -> DeploymentStatus {
    let deployment = &look.deployment;
    let all = look.all();
    let total = |count: fn(&ReplicaSet) -> Option<i32>| -> i32 {
        all.iter().map(|set| count(set).unwrap_or(0)).sum()
    };
    let available = total(|set| set.status.as_ref()?.available_replicas);
    let actual = |set: &Arc<ReplicaSet>| set.status.as_ref().map_or(0, |status| status.replicas);
    let terminating: Vec<i32> =
        all.iter().filter_map(|set| set.status.as_ref()?.terminating_replicas).collect();
    let old = deployment.status.clone().unwrap_or_default();
    let count = |number: i32| (number != 0).then_some(number);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(all.iter().map(actual).sum()),
        updated_replicas: count(look.new.as_ref().map_or(0, actual)),
        ready_replicas: count(total(|set| set.status.as_ref()?.ready_replicas)),
        available_replicas: count(available),
        unavailable_replicas: count((sum(&all) - available).max(0)),
        terminating_replicas: (!terminating.is_empty()).then(|| terminating.iter().sum()),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let enough = available >= replicas(deployment) - max_unavailable(deployment);
    let (value, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, condition(AVAILABLE, value, reason, message.to_owned(), look.now));
    status
}

/// [`counted`], and how the rollout goes.
pub(super) fn rolled_out(look: &Look) -> DeploymentStatus {
    let (deployment, now) = (&look.deployment, look.now);
    let mut status = counted(look);
    if deadline(deployment).is_none() {
        remove(&mut status, PROGRESSING);
    }
    let current = get(&status, PROGRESSING).cloned();
    let finished = status.replicas == status.updated_replicas
        && current.as_ref().is_some_and(|condition| condition.reason.as_deref() == Some(NEW_SET_AVAILABLE));
    if deadline(deployment).is_some() && !finished {
        let subject = match &look.new {
            Some(new) => format!("ReplicaSet \"{}\"", new.metadata.name.as_deref().unwrap_or_default()),
            None => format!("Deployment \"{}\"", look.key.name),
        };
        if is_complete(deployment, &status) {
            let message = format!("{subject} has successfully progressed.");
            set(&mut status, condition(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now));
        } else if has_progressed(look.cached.status.as_ref(), &status) {
            let message = format!("{subject} is progressing.");
            let mut new = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
            if let Some(current) = current.filter(|current| current.status == "True") {
                new.last_transition_time = current.last_transition_time;
            }
            // Removed first: the update time must move although status and reason may stay.
            remove(&mut status, PROGRESSING);
            set(&mut status, new);
        } else if has_timed_out(deployment, &status, now) {
            let message = format!("{subject} has timed out progressing.");
            set(&mut status, condition(PROGRESSING, "False", TIMED_OUT, message, now));
        }
    }
    match replica_failure(look) {
        Some(failure) => set(&mut status, failure),
        None => remove(&mut status, REPLICA_FAILURE),
    }
    status
}

pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    let is = |count: Option<i32>| count.unwrap_or(0) == wanted;
    is(status.updated_replicas)
        && is(status.replicas)
        && is(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(old: Option<&DeploymentStatus>, new: &DeploymentStatus) -> bool {
    let empty = DeploymentStatus::default();
    let old = old.unwrap_or(&empty);
    let value = |count: Option<i32>| count.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| value(status.replicas) - value(status.updated_replicas);
    value(new.updated_replicas) > value(old.updated_replicas)
        || outdated(new) < outdated(old)
        || value(new.ready_replicas) > value(old.ready_replicas)
        || value(new.available_replicas) > value(old.available_replicas)
}

fn passed_deadline(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let seconds = deadline(deployment)?;
    let last = get(status, PROGRESSING)?.last_update_time.as_ref()?.0;
    last.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(progress) = get(status, PROGRESSING) else { return false };
    match progress.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => passed_deadline(deployment, status).is_some_and(|at| at < now),
    }
}

/// How long until the progress deadline, when the rollout is neither complete nor already late.
pub(super) fn until_deadline(deployment: &Deployment, now: Timestamp) -> Option<Duration> {
    let status = deployment.status.as_ref()?;
    let progress = get(status, PROGRESSING)?;
    if is_complete(deployment, status) || progress.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let at = passed_deadline(deployment, status)?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

fn replica_failure(look: &Look) -> Option<DeploymentCondition> {
    let failure = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE).cloned()
    };
    let found = look.new.as_ref().and_then(failure).or_else(|| look.old.iter().find_map(failure))?;
    Some(DeploymentCondition {
        type_: found.type_,
        status: found.status,
        reason: found.reason,
        message: found.message,
        last_update_time: found.last_transition_time.clone(),
        last_transition_time: found.last_transition_time,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::rolling::tests::{deployment, set as replica_set},
        *,
    };
    use crate::cache::ObjectKey;

    fn look(cached: Deployment, new: (i32, i32), old: (i32, i32), now: Timestamp) -> Look {
        Look {
            key: ObjectKey::new("ns", "d"),
            deployment: cached.clone(),
            cached: Arc::new(cached),
            new: Some(replica_set("d-new", new.0, new.1)),
            old: vec![replica_set("d-old", old.0, old.1)],
            now,
        }
    }

    fn reason(status: &DeploymentStatus, type_: &str) -> String {
        get(status, type_).and_then(|condition| condition.reason.clone()).unwrap_or_default()
    }

    #[test]
    fn a_rollout_progresses_completes_or_times_out() {
        let start = Timestamp::UNIX_EPOCH;
        let mut cached = deployment(3, 1, 0);
        note_new_set(&mut cached, true, "d-new", start);

        let status = rolled_out(&look(cached.clone(), (1, 0), (3, 3), start));
        assert_eq!(reason(&status, PROGRESSING), "ReplicaSetUpdated");
        assert_eq!(reason(&status, AVAILABLE), "MinimumReplicasAvailable");
        assert_eq!(status.replicas, Some(4));
        assert_eq!(status.updated_replicas, Some(1));
        assert_eq!(status.unavailable_replicas, Some(1));

        cached.status = Some(status);
        let wait = until_deadline(&cached, start);
        assert_eq!(wait, Some(Duration::from_secs(600)));
        let late = start + SignedDuration::from_secs(601);
        let status = rolled_out(&look(cached.clone(), (1, 0), (3, 3), late));
        assert_eq!(reason(&status, PROGRESSING), TIMED_OUT);
        let progressing = get(&status, PROGRESSING).and_then(|condition| condition.message.as_deref());
        assert_eq!(progressing, Some("ReplicaSet \"d-new\" has timed out progressing."));

        let status = rolled_out(&look(cached, (3, 3), (0, 0), late));
        assert_eq!(reason(&status, PROGRESSING), NEW_SET_AVAILABLE);
    }

    #[test]
    fn pausing_is_told_once() {
        let mut paused = deployment(1, 1, 0);
        if let Some(spec) = paused.spec.as_mut() {
            spec.paused = Some(true);
        }
        note_pause(&mut paused, Timestamp::UNIX_EPOCH);
        let first = paused.status.clone();
        note_pause(&mut paused, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(9));
        assert_eq!(paused.status, first);
        if let Some(spec) = paused.spec.as_mut() {
            spec.paused = None;
        }
        note_pause(&mut paused, Timestamp::UNIX_EPOCH);
        assert_eq!(reason(&paused.status.unwrap_or_default(), PROGRESSING), "DeploymentResumed");
    }
}
