//! The quotas of a namespace: what an object counts for is charged before it is written, and given back when the
//! write fails after all.
//!
//! A charge is a swap of the quota's status by its revision, so that neither two writers nor two API servers can
//! use the same rest; within this process the writers of a namespace take turns. What is deleted is given back by
//! the controller, which counts. Rules and words: upstream's `apiserver/pkg/admission/plugin/resourcequota`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use api_types::amounts::{self, Amounts};
use api_types::catalog::{self, Kind};
use api_types::meta;
use api_types::quantity::{Format, Quantity};
use api_types::quota;
use api_types::status::Status;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use super::{Attributes, Operation, cached};
use crate::registry::{Registry, encode, parse_stored, storage_status};
use crate::storage::StorageError;

/// How often a charge is derived anew when the quota changes meanwhile.
const TRIES: usize = 10;
const TURNS: usize = 64;
/// Quotas remembered a turn: only until the cache has them.
const REMEMBERED: usize = 64;

/// A quota as this process wrote it last.
type Written = HashMap<String, (u64, Value)>;

pub struct ResourceQuota {
    turns: Vec<Mutex<Written>>,
    hasher: RandomState,
}

/// What was taken from a quota.
struct Charge {
    key: String,
    /// Of the quota with the charge.
    revision: u64,
    /// The quota without it.
    before: Value,
}

/// What was taken for a write. Must be given back when nothing is written.
#[must_use]
#[derive(Default)]
pub struct Charges {
    turn: usize,
    taken: Vec<Charge>,
}

/// A quota that an object counts in.
struct Concerned {
    key: String,
    revision: u64,
    quota: Value,
}

impl ResourceQuota {
    pub const NAME: &str = "ResourceQuota";

    pub fn new() -> Self {
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        Self { turns, hasher: RandomState::new() }
    }

    /// Charges the quotas of the namespace for the write; when it is only tried, judges and charges nothing.
    pub async fn charge(&self, registry: &Registry, a: &Attributes<'_>) -> Result<Charges, Status> {
        if !is_counted(a) {
            return Ok(Charges::default());
        }
        let Some(kind) = quotas() else {
            return Ok(Charges::default());
        };
        if cached(registry, kind, &a.namespace)?.is_empty() {
            return Ok(Charges::default());
        }
        let turn = usize::try_from(self.hasher.hash_one(&a.namespace) % TURNS as u64).unwrap_or(0);
        let mut written = self.turns[turn].lock().await;
        let mut concerned = Vec::new();
        for found in cached(registry, kind, &a.namespace)? {
            let known = written.get(&*found.key).filter(|(revision, _)| *revision > found.revision);
            let (revision, quota) = match known {
                Some((revision, quota)) => (*revision, quota.clone()),
                None => (found.revision, parse_stored(&found.bytes)?),
            };
            if concerns(a, &quota)? {
                concerned.push(Concerned { key: found.key.to_string(), revision, quota });
            }
        }
        let delta = delta(a)?;
        if concerned.is_empty() || delta.is_empty() {
            return Ok(Charges::default());
        }
        for c in &concerned {
            charged(a, &c.quota, &delta)?;
        }
        let mut charges = Charges { turn, taken: Vec::new() };
        if a.dry_run {
            return Ok(charges);
        }
        for c in concerned {
            match take(registry, kind, &mut written, a, c, &delta).await {
                Ok(Some(charge)) => charges.taken.push(charge),
                Ok(None) => {}
                Err(e) => {
                    give_back(registry, written, charges.taken).await;
                    return Err(e);
                }
            }
        }
        Ok(charges)
    }

    /// Gives back what was taken for a write that was not made. A quota that others have charged since keeps it
    /// until the controller has counted.
    pub async fn refund(&self, registry: &Registry, charges: Charges) {
        if !charges.taken.is_empty() {
            give_back(registry, self.turns[charges.turn].lock().await, charges.taken).await;
        }
    }
}

fn quotas() -> Option<&'static Kind> {
    catalog::by_resource("", "v1", "resourcequotas")
}

/// Whether quotas look at such writes at all.
fn is_counted(a: &Attributes<'_>) -> bool {
    let (group, plural) = (a.kind.group, a.kind.plural);
    if a.namespace.is_empty() || plural == "namespaces" || (group.is_empty() && plural == "events") {
        return false;
    }
    let changes = group.is_empty() && ["pods", "services", "persistentvolumeclaims"].contains(&plural);
    match a.operation {
        Operation::Create => a.subresource.is_empty(),
        Operation::Update => changes && (a.subresource.is_empty() || a.subresource == "resize"),
        Operation::Delete => false,
    }
}

/// The resources of a quota that the object counts for.
fn counted<'a>(a: &'a Attributes<'_>, quota: &'a Value) -> impl Iterator<Item = &'a str> {
    let hard = meta::at(quota, &["status", "hard"]).and_then(Value::as_object);
    let names = hard.into_iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| quota::tracks(a.kind.group, a.kind.plural, name))
}

/// Whether the object counts in the quota. Refuses objects that cannot be counted.
fn concerns(a: &Attributes<'_>, quota: &Value) -> Result<bool, Status> {
    let (group, plural) = (a.kind.group, a.kind.plural);
    if counted(a, quota).next().is_none() || !quota::in_scope(quota, group, plural, a.object) {
        return Ok(false);
    }
    if group.is_empty()
        && plural == "pods"
        && let Some(why) = quota::missing(counted(a, quota), a.object)
    {
        return Err(a.forbidden(&format!("failed quota: {}: {why}", meta::name(quota))));
    }
    let known = |name: &str| meta::at(quota, &["status", "used", name]).is_some();
    if counted(a, quota).all(known) {
        return Ok(true);
    }
    let names: Vec<&str> = counted(a, quota).collect();
    let why = format!("status unknown for quota: {}, resources: {}", meta::name(quota), names.join(","));
    Err(a.forbidden(&why))
}

/// How much more is used with the write than without.
fn delta(a: &Attributes<'_>) -> Result<Amounts, Status> {
    let now = Timestamp::now();
    let usage = |object: &Value| quota::usage(a.kind.group, a.kind.plural, object, now);
    let mut delta = usage(a.object);
    let negative: Vec<&str> =
        delta.iter().filter(|(_, q)| q.is_negative()).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        let why = format!("quota usage is negative for resource(s): {}", negative.join(","));
        return Err(a.forbidden(&why));
    }
    if let Some(old) = a.old {
        for (name, before) in usage(old) {
            if let Some(q) = delta.get_mut(&name) {
                *q = *q - before;
            }
        }
    }
    delta.retain(|_, q| !q.is_zero() && !q.is_negative());
    Ok(delta)
}

/// The quota with the charge; `None` when it does not limit what is asked for.
fn charged(a: &Attributes<'_>, quota: &Value, delta: &Amounts) -> Result<Option<Value>, Status> {
    let side = |field: &str| amounts::read(meta::at(quota, &["status", field]));
    let (hard, mut used) = (side("hard"), side("used"));
    let before = used.clone();
    let (mut requested, mut exceeded) = (Amounts::new(), Vec::new());
    for (name, limit) in &hard {
        let Some(more) = delta.get(name) else { continue };
        requested.insert(name.clone(), *more);
        let zero = Quantity::from_value(0, Format::DecimalSi);
        let sum = used.get(name).copied().unwrap_or(zero) + *more;
        if sum > *limit {
            exceeded.push(name.as_str());
        }
        used.insert(name.clone(), sum);
    }
    if !exceeded.is_empty() {
        let shown = |amounts: &Amounts| {
            let some = exceeded.iter().filter_map(|n| amounts.get(*n).map(|q| format!("{n}={q}")));
            some.collect::<Vec<_>>().join(",")
        };
        return Err(a.forbidden(&format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            meta::name(quota),
            shown(&requested),
            shown(&before),
            shown(&hard)
        )));
    }
    if requested.is_empty() {
        return Ok(None);
    }
    let mut new = quota.clone();
    let shown = used.into_iter().map(|(name, q)| (name, Value::from(q.to_string())));
    new["status"]["used"] = Value::Object(shown.collect());
    Ok(Some(new))
}

async fn take(
    registry: &Registry,
    kind: &Kind,
    written: &mut Written,
    a: &Attributes<'_>,
    concerned: Concerned,
    delta: &Amounts,
) -> Result<Option<Charge>, Status> {
    let Concerned { key, mut revision, mut quota } = concerned;
    let name = meta::name(&quota).to_owned();
    for _ in 0..TRIES {
        let Some(mut new) = charged(a, &quota, delta)? else { return Ok(None) };
        let value = encode::stored(kind, &mut new);
        match registry.storage().update(&key, value, revision, None).await {
            Ok(revision) => {
                remember(written, &key, revision, new);
                return Ok(Some(Charge { key, revision, before: quota }));
            }
            Err(StorageError::Conflict { current, .. }) => {
                quota = parse_stored(&current.value)?;
                revision = current.revision;
                if !concerns(a, &quota)? {
                    return Ok(None);
                }
            }
            // It has just been deleted.
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(storage_status(kind, &name, e)),
        }
    }
    Err(Status::modified(kind.group, kind.plural, &name))
}

async fn give_back(registry: &Registry, mut written: MutexGuard<'_, Written>, taken: Vec<Charge>) {
    let Some(kind) = quotas() else { return };
    for charge in taken {
        let mut before = charge.before;
        let value = encode::stored(kind, &mut before);
        // Only the very state that was charged: who has written since may have counted already.
        match registry.storage().update(&charge.key, value, charge.revision, None).await {
            Ok(revision) => remember(&mut written, &charge.key, revision, before),
            Err(StorageError::Conflict { .. } | StorageError::NotFound { .. }) => {
                tracing::debug!(
                    key = charge.key,
                    "the controller will count what a failed write was charged for"
                );
            }
            Err(e) => tracing::warn!(key = charge.key, error = %e, "a quota keeps a charge"),
        }
    }
}

fn remember(written: &mut Written, key: &str, revision: u64, quota: Value) {
    if written.len() >= REMEMBERED {
        written.clear();
    }
    written.insert(key.to_owned(), (revision, quota));
}
