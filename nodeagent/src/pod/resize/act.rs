//! Carries out a resize: memory, then CPU, each first where it grows (the pod's cgroup before its containers) and last
//! where it shrinks (after them). Stops at the first failure; the worker tries what is left again.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;

use super::amounts::Amounts;
use super::plan::{Actions, Update};
use crate::cgroups::Change;
use crate::pod::context::PodContext;
use crate::pod::{kill, resources, spec};
use crate::runtime::ContainerRecord;

/// How a resize went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What containers, by id, have now.
    pub given: Vec<(String, Amounts)>,
    /// The containers as the runtime tells of them afterwards.
    pub records: Vec<ContainerRecord>,
    /// What went wrong.
    pub failure: Option<String>,
}

/// Does what `actions` says about `pod`.
pub async fn run(ctx: &PodContext, pod: &Pod, actions: &Actions) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(message) = all(ctx, pod, actions, &mut outcome.given).await {
        outcome.failure = Some(message);
    }
    for (id, _) in &outcome.given {
        match kill::read_container(ctx, id).await {
            Ok(record) => outcome.records.push(record),
            Err(error) => tracing::debug!(%error, "cannot read a container just resized"),
        }
    }
    outcome
}

type Given = Vec<(String, Amounts)>;

async fn all(ctx: &PodContext, pod: &Pod, actions: &Actions, given: &mut Given) -> Result<(), String> {
    let (before, after) = (&actions.before, &actions.after);
    if !actions.memory.is_empty() {
        enough_memory(ctx, actions).await?;
        let change = |bytes| Change { memory: Some(bytes), ..Change::default() };
        let (raise, lower) = ordered(before.memory, after.memory);
        set(ctx, pod, raise.map(change))?;
        update(ctx, pod, &actions.memory, Amounts::with_memory, given).await?;
        set(ctx, pod, lower.map(change))?;
    }
    if !actions.cpu.is_empty() {
        let quota = |quota| Change { quota: Some(quota), ..Change::default() };
        let shares = |shares| Change { shares: Some(shares), ..Change::default() };
        let (raise, lower) = ordered(before.quota, after.quota);
        let (more, less) = ordered(Some(before.shares), Some(after.shares));
        set(ctx, pod, raise.map(quota))?;
        set(ctx, pod, more.map(shares))?;
        update(ctx, pod, &actions.cpu, Amounts::with_cpu, given).await?;
        set(ctx, pod, less.map(shares))?;
        set(ctx, pod, lower.map(quota))?;
    }
    Ok(())
}

/// What to set before the containers change, and what after. Without a limit there is all; limits are never removed.
fn ordered(before: Option<i64>, after: Option<i64>) -> (Option<i64>, Option<i64>) {
    match (before, after) {
        (Some(before), Some(after)) if after > before => (Some(after), None),
        (before, Some(after)) if before != Some(after) => (None, Some(after)),
        _ => (None, None),
    }
}

fn set(ctx: &PodContext, pod: &Pod, change: Option<Change>) -> Result<(), String> {
    let Some(change) = change else { return Ok(()) };
    ctx.cgroups.change(pod, &change).map_err(|error| format!("{error}: {}", error.cause()))
}

/// Gives each container what `merge` takes of its new resources.
async fn update(
    ctx: &PodContext,
    pod: &Pod,
    updates: &[Update],
    merge: fn(Amounts, Amounts) -> Amounts,
    given: &mut Given,
) -> Result<(), String> {
    let qos = resources::qos_class(&spec::spec(pod));
    for update in updates {
        let known = given.iter().position(|(id, _)| *id == update.id);
        let has = known.map_or(update.from, |at| given[at].1);
        let wanted = merge(has, update.to);
        let linux = resources::linux(wanted, qos, ctx.memory);
        ctx.runtime.update_container(&update.id, linux).await.map_err(|error| error.message)?;
        match known {
            Some(at) => given[at].1 = wanted,
            None => given.push((update.id.clone(), wanted)),
        }
    }
    Ok(())
}

/// A limit below what is used would end processes: refuses to lower it so far.
async fn enough_memory(ctx: &PodContext, actions: &Actions) -> Result<(), String> {
    let lowered = |from: i64, to: i64| to > 0 && (from == 0 || to < from);
    let containers: Vec<&Update> = actions
        .memory
        .iter()
        .filter(|update| lowered(update.from.memory_limit, update.to.memory_limit))
        .collect();
    if containers.is_empty() {
        return Ok(());
    }
    let stats = ctx.runtime.list_stats().await.map_err(|error| error.message)?;
    let used: HashMap<String, i64> = stats
        .into_iter()
        .filter_map(|stat| {
            let usage = stat.memory?.usage_bytes?.value;
            Some((stat.attributes?.id, i64::try_from(usage).unwrap_or(i64::MAX)))
        })
        .collect();
    let problems: Vec<String> = containers
        .into_iter()
        .filter_map(|update| {
            let (name, limit) = (&update.name, update.to.memory_limit);
            match used.get(&update.id) {
                None => Some(format!("missing container {name:?} memory usage")),
                Some(used) if *used >= limit => Some(format!(
                    "attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
                )),
                Some(_) => None,
            }
        })
        .collect();
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("cannot decrease memory limits: {one}")),
        many => Err(format!("cannot decrease memory limits: [{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_grow_before_their_containers_and_shrink_after_them() {
        for (before, after, expected) in [
            (Some(1), Some(2), (Some(2), None)),
            (Some(2), Some(1), (None, Some(1))),
            (None, Some(1), (None, Some(1))),
            (Some(1), Some(1), (None, None)),
            (Some(1), None, (None, None)),
        ] {
            assert_eq!(ordered(before, after), expected, "{before:?} {after:?}");
        }
    }
}
