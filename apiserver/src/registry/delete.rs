//! Delete: at once, or first a mark, while finalizers or a grace period keep the object.

use api_types::catalog::Kind;
use api_types::meta;
use api_types::status::{self, Status};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Registry, Write, encode, storage_status};
use crate::admission::{Attributes, Operation};
use crate::storage::StorageError;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const CONFLICT_TRIES: usize = 10;

/// `DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds of grace.
    pub grace_period: Option<i64>,
    /// `Orphan`, `Background` or `Foreground`.
    pub propagation: Option<String>,
    /// Only this incarnation.
    pub uid: Option<String>,
    /// Only this version.
    pub resource_version: Option<String>,
}

/// What a deletion has come to.
#[derive(Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Value),
    /// The object is marked and waits for its finalizers or its grace period.
    Marked(Value),
}

impl Deleted {
    /// The answer to the client.
    pub fn into_response(self, kind: &Kind) -> Value {
        match self {
            Self::Gone(o) if kind.returns_deleted() => o,
            Self::Gone(o) => status::deleted(kind.group, kind.plural, meta::name(&o), meta::uid(&o)),
            Self::Marked(o) => o,
        }
    }
}

/// Whether nothing keeps an object that is being deleted.
pub fn is_finished(kind: &Kind, object: &Value) -> bool {
    let grace =
        meta::at(object, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
    meta::is_deleting(object)
        && meta::finalizers(object).is_empty()
        && grace == 0
        && !namespace_holds(kind, object)
}

/// A namespace stays while the finalizers of its spec do.
fn namespace_holds(kind: &Kind, object: &Value) -> bool {
    kind.plural == "namespaces"
        && kind.group.is_empty()
        && meta::at(object, &["spec", "finalizers"]).and_then(Value::as_array).is_some_and(|f| !f.is_empty())
}

impl Registry {
    /// Deletes one object.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
        write: &Write<'_>,
    ) -> Result<Deleted, Status> {
        self.freshen(super::read::Freshness::Consistent).await?;
        let key = kind.key(namespace, name);
        let cached = self.resource(kind)?.get(&key).ok_or_else(|| Self::not_found(kind, name))?;
        let (mut object, mut revision) = (encode::parsed(kind, &cached.bytes)?, cached.revision);
        for _ in 0..CONFLICT_TRIES {
            check_preconditions(kind, name, &object, revision, options)?;
            match self.delete_once(kind, namespace, name, object, revision, options, write).await {
                Ok(deleted) => return Ok(deleted),
                Err(Attempt::Refused(s)) => return Err(s),
                Err(Attempt::Changed(bytes, at)) => {
                    object = encode::parsed(kind, &bytes)?;
                    api_types::catalog::older::upgrade(kind, &mut object);
                    encode::set_revision(&mut object, at);
                    revision = at;
                }
            }
        }
        Err(Status::modified(kind.group, kind.plural, name))
    }

    #[allow(clippy::too_many_arguments)]
    async fn delete_once(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        object: Value,
        revision: u64,
        options: &DeleteOptions,
        write: &Write<'_>,
    ) -> Result<Deleted, Attempt> {
        let mut marked = object.clone();
        let mut attributes =
            Attributes::new(Operation::Delete, kind, namespace, write, &mut marked, Some(&object));
        attributes.name = name.to_owned();
        self.admission.admit(self, &mut attributes).await?;
        apply_propagation(kind, &mut marked, options);
        mark(kind, &mut marked, options);
        let key = kind.key(namespace, name);
        if is_finished(kind, &marked) {
            if write.dry_run {
                return Ok(Deleted::Gone(object));
            }
            let at = self
                .storage
                .delete(&key, revision)
                .await
                .map_err(|e| Attempt::from_storage(kind, name, e))?;
            self.allocators.on_delete(kind, &object).await;
            encode::set_revision(&mut marked, at);
            return Ok(Deleted::Gone(marked));
        }
        let mut same = marked.clone();
        encode::set_revision(&mut same, revision);
        if write.dry_run || same == object {
            return Ok(Deleted::Marked(same));
        }
        let value = encode::stored(kind, &mut marked);
        let at = self
            .storage
            .update(&key, value, revision, Self::ttl(kind))
            .await
            .map_err(|e| Attempt::from_storage(kind, name, e))?;
        encode::set_revision(&mut marked, at);
        if kind.plural == "namespaces" && kind.group.is_empty() {
            // Admission looks into the cache: who was told that a namespace ends must find it closed.
            if let Err(e) = self.freshen(super::read::Freshness::NotOlderThan(at)).await {
                tracing::warn!(name, error = %e, "the cache does not follow the deletion of a namespace");
            }
        }
        Ok(Deleted::Marked(marked))
    }
}

enum Attempt {
    Refused(Status),
    Changed(bytes::Bytes, u64),
}

impl From<Status> for Attempt {
    fn from(s: Status) -> Self {
        Self::Refused(s)
    }
}

impl Attempt {
    fn from_storage(kind: &Kind, name: &str, error: StorageError) -> Self {
        match error {
            StorageError::Conflict { current, .. } => Self::Changed(current.value, current.revision),
            other => Self::Refused(storage_status(kind, name, other)),
        }
    }
}

fn check_preconditions(
    kind: &Kind,
    name: &str,
    object: &Value,
    revision: u64,
    options: &DeleteOptions,
) -> Result<(), Status> {
    if let Some(uid) = &options.uid
        && uid != meta::uid(object)
    {
        // Upstream names the kind here, not the resource.
        return Err(Status::conflict(
            kind.group,
            kind.kind,
            name,
            &format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                meta::uid(object)
            ),
        ));
    }
    if let Some(v) = &options.resource_version
        && *v != revision.to_string()
    {
        return Err(Status::conflict(
            kind.group,
            kind.kind,
            name,
            &format!(
                "the ResourceVersion in the precondition ({v}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
            ),
        ));
    }
    Ok(())
}

/// The finalizers that the garbage collector works by.
fn apply_propagation(kind: &Kind, object: &mut Value, options: &DeleteOptions) {
    let mut finalizers = meta::finalizers(object);
    let decided = finalizers.iter().any(|f| f == ORPHAN || f == FOREGROUND);
    let policy = match options.propagation.as_deref() {
        Some(policy) => policy,
        None if kind.strategy.orphans_by_default() && !decided => "Orphan",
        None => return,
    };
    finalizers.retain(|f| f != ORPHAN && f != FOREGROUND);
    match policy {
        "Orphan" => finalizers.push(ORPHAN.into()),
        "Foreground" => finalizers.push(FOREGROUND.into()),
        _ => {}
    }
    meta::set_finalizers(object, finalizers);
}

/// Sets the deletion mark, or shortens the grace of one that is set already.
fn mark(kind: &Kind, object: &mut Value, options: &DeleteOptions) {
    let grace = kind.strategy.grace_period(object, options.grace_period);
    if meta::is_deleting(object) {
        let before = meta::at(object, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
        if let (Some(asked), Some(before)) =
            (grace.filter(|_| options.grace_period.is_some() || grace == Some(0)), before)
            && asked < before
        {
            let started = meta::field(object, "deletionTimestamp")
                .parse::<Timestamp>()
                .ok()
                .and_then(|t| t.checked_sub(SignedDuration::from_secs(before)).ok())
                .unwrap_or_else(Timestamp::now);
            set_mark(object, started, asked);
        }
    } else {
        set_mark(object, Timestamp::now(), grace.unwrap_or(0));
        let generation = meta::generation(object);
        if generation > 0 {
            meta::metadata_mut(object).insert("generation".into(), (generation + 1).into());
        }
    }
    if kind.plural == "namespaces" && kind.group.is_empty() {
        object["status"]["phase"] = "Terminating".into();
        meta::metadata_mut(object).remove("deletionGracePeriodSeconds");
    }
}

fn set_mark(object: &mut Value, started: Timestamp, grace: i64) {
    let end = started.checked_add(SignedDuration::from_secs(grace)).unwrap_or(started);
    let m = meta::metadata_mut(object);
    m.insert("deletionTimestamp".into(), meta::rfc3339(end).into());
    m.insert("deletionGracePeriodSeconds".into(), grace.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_types::catalog;
    use serde_json::json;

    #[test]
    fn propagation_becomes_finalizers() {
        let mut o = json!({"metadata": {"finalizers": ["x", "orphan"]}});
        let with = |p: &str| DeleteOptions { propagation: Some(p.into()), ..DeleteOptions::default() };
        let job = catalog::by_kind("batch", "v1", "Job").unwrap();
        apply_propagation(job, &mut o, &with("Foreground"));
        assert_eq!(meta::finalizers(&o), vec!["x", "foregroundDeletion"]);
        apply_propagation(job, &mut o, &DeleteOptions::default());
        assert_eq!(meta::finalizers(&o), vec!["x", "foregroundDeletion"], "it was decided before");
        apply_propagation(job, &mut o, &with("Background"));
        assert_eq!(meta::finalizers(&o), vec!["x"]);
        apply_propagation(job, &mut o, &DeleteOptions::default());
        assert_eq!(meta::finalizers(&o), vec!["x", "orphan"], "as ever with jobs");
        let pod = catalog::by_kind("", "v1", "Pod").unwrap();
        let mut o = json!({"metadata": {}});
        apply_propagation(pod, &mut o, &DeleteOptions::default());
        assert!(meta::finalizers(&o).is_empty());
    }

    #[test]
    fn grace_can_only_shrink() {
        let pods = catalog::by_kind("", "v1", "Pod").unwrap();
        let mut o = json!({"metadata": {"generation": 1}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}});
        mark(pods, &mut o, &DeleteOptions::default());
        assert_eq!(o["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(o["metadata"]["generation"], 2);
        assert!(!is_finished(pods, &o));
        mark(pods, &mut o, &DeleteOptions { grace_period: Some(60), ..DeleteOptions::default() });
        assert_eq!(o["metadata"]["deletionGracePeriodSeconds"], 30);
        mark(pods, &mut o, &DeleteOptions { grace_period: Some(0), ..DeleteOptions::default() });
        assert!(is_finished(pods, &o));
    }

    #[test]
    fn a_namespace_waits_for_its_spec() {
        let ns = catalog::by_kind("", "v1", "Namespace").unwrap();
        let mut o =
            json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        mark(ns, &mut o, &DeleteOptions::default());
        assert_eq!(o["status"]["phase"], "Terminating");
        assert!(!is_finished(ns, &o));
        o["spec"] = json!({});
        assert!(is_finished(ns, &o));
    }
}
