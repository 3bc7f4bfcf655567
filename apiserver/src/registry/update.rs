//! Update, patch and status updates: derive a new object from the current one and swap it in.

use api_types::apply::managers;
use api_types::catalog::Kind;
use api_types::field::ErrorList;
use api_types::kinds::object_meta;
use api_types::meta;
use api_types::status::Status;
use serde_json::Value;

use super::create::check_namespace;
use super::{Registry, Write, encode, storage_status};
use crate::admission::{Attributes, Operation};
use crate::storage::StorageError;

/// How often a change is derived anew when others write in between.
const CONFLICT_TRIES: usize = 10;

/// Which part of an object an update is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    #[default]
    Whole,
    /// The status.
    Status,
    /// Whether a certificate request is granted.
    Approval,
    /// The resources of a running pod.
    Resize,
    /// What the handler of a subresource has put in place itself (a binding, a namespace's finalizers).
    Prepared,
}

/// How an update behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateOptions {
    /// The object may be created when it is not there.
    pub create: bool,
    /// Derive the change anew when someone else has written (patches, scale); otherwise that is a conflict.
    pub retry: bool,
    /// What may change.
    pub part: Part,
}

impl Registry {
    /// Replaces an object by what `derive` makes of the current one (`None` when it is not there and may be
    /// created). Gives (object, created).
    pub async fn update<F>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: UpdateOptions,
        write: &Write<'_>,
        derive: F,
    ) -> Result<(Value, bool), Status>
    where
        F: Fn(Option<&Value>) -> Result<Value, Status>,
    {
        self.freshen(super::read::Freshness::Consistent).await?;
        let key = kind.key(namespace, name);
        let mut current = match self.resource(kind)?.get(&key) {
            Some(c) => Some((encode::parsed(kind, &c.bytes)?, c.revision)),
            None => None,
        };
        for _ in 0..CONFLICT_TRIES {
            let Some((old, revision)) = &current else {
                if !options.create {
                    return Err(Self::not_found(kind, name));
                }
                let mut fresh = derive(None)?;
                meta::metadata_mut(&mut fresh).remove("resourceVersion");
                return self.create(kind, namespace, fresh, write).await.map(|o| (o, true));
            };
            let new = derive(Some(old))?;
            let explicit = meta::resource_version(&new).to_owned();
            match self.swap(kind, namespace, name, old, *revision, new, options, write).await {
                Err(Swap::Refused(status)) => return Err(status),
                Err(Swap::Changed(entry)) => {
                    // A client that named the version it changes must look again itself.
                    if !options.retry && !explicit.is_empty() {
                        return Err(Status::modified(kind.group, kind.plural, name));
                    }
                    current = match entry {
                        Some((bytes, revision)) => {
                            let mut value = encode::parsed(kind, &bytes)?;
                            api_types::catalog::older::upgrade(kind, &mut value);
                            encode::set_revision(&mut value, revision);
                            Some((value, revision))
                        }
                        None => None,
                    };
                }
                Ok(object) => return Ok((object, false)),
            }
        }
        Err(Status::modified(kind.group, kind.plural, name))
    }

    #[allow(clippy::too_many_arguments)]
    async fn swap(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        old: &Value,
        revision: u64,
        mut new: Value,
        options: UpdateOptions,
        write: &Write<'_>,
    ) -> Result<Value, Swap> {
        let asked = meta::resource_version(&new);
        if asked.is_empty() {
            if !kind.strategy.allows_unconditional_update() {
                let mut errors = ErrorList::new();
                errors.invalid(
                    &api_types::field::Path::new("metadata").child("resourceVersion"),
                    0,
                    "must be specified for an update",
                );
                // Upstream names the resource here, not the kind.
                return Err(Status::invalid(kind.group, kind.plural, name, &errors).into());
            }
        } else if asked.parse::<u64>() != Ok(revision) {
            return Err(Status::modified(kind.group, kind.plural, name).into());
        }
        check_namespace(kind, namespace, &mut new)?;
        let sent_uid = meta::uid(&new);
        if !sent_uid.is_empty() && sent_uid != meta::uid(old) {
            return Err(Status::conflict(
                kind.group,
                kind.plural,
                name,
                &format!(
                    "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent_uid}, UID in object meta: {}",
                    kind.key(namespace, name),
                    meta::uid(old)
                ),
            )
            .into());
        }
        keep_system_fields(&mut new, old);
        kind.strategy.default(&mut new);
        encode::compact(kind, &mut new);
        let owners = super::owners::on_update(kind, old, &mut new, write);
        match options.part {
            Part::Whole => kind.strategy.prepare_for_update(&mut new, old),
            Part::Status => kind.strategy.prepare_for_status_update(&mut new, old),
            Part::Approval => kind.strategy.prepare_for_approval(&mut new, old),
            Part::Resize => kind.strategy.prepare_for_resize(&mut new, old),
            Part::Prepared => {}
        }
        managers::set(&mut new, owners);
        encode::compact(kind, &mut new);
        let counted = matches!(options.part, Part::Whole | Part::Resize);
        if counted && kind.strategy.counts_generations() && differs_beyond_metadata(&new, old) {
            let next = meta::generation(old) + 1;
            meta::metadata_mut(&mut new).insert("generation".into(), next.into());
        }
        let mut attributes = Attributes::new(Operation::Update, kind, namespace, write, &mut new, Some(old));
        self.admission.admit(self, &mut attributes).await?;
        encode::compact(kind, &mut new);
        super::owners::settle(&mut new, old);
        let mut errors = ErrorList::new();
        object_meta::validate(&new, kind, &mut errors);
        object_meta::validate_update(&new, old, &mut errors);
        match options.part {
            Part::Whole => {
                kind.strategy.validate(&new, &mut errors);
                kind.strategy.validate_update(&new, old, &mut errors);
            }
            Part::Status => kind.strategy.validate_status_update(&new, old, &mut errors),
            Part::Approval => kind.strategy.validate_approval(&new, old, &mut errors),
            Part::Resize => {
                kind.strategy.validate(&new, &mut errors);
                kind.strategy.validate_resize(&new, old, &mut errors);
            }
            Part::Prepared => {}
        }
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, name, &errors).into());
        }
        match options.part {
            Part::Whole => write.warnings.add(kind.strategy.warnings(&new, Some(old))),
            Part::Status => write.warnings.add(kind.strategy.status_warnings(&new, old)),
            Part::Approval | Part::Resize | Part::Prepared => {}
        }
        let attributes = Attributes::new(Operation::Update, kind, namespace, write, &mut new, Some(old));
        let charges = self.admission.validate(self, &attributes).await?;
        let claim = match self.allocators.on_update(kind, &mut new, old, write.dry_run).await {
            Ok(claim) => claim,
            Err(e) => {
                self.admission.refund(self, charges).await;
                return Err(e.into());
            }
        };
        if write.dry_run {
            return Ok(new);
        }
        let key = kind.key(namespace, name);
        if super::delete::is_finished(kind, &new) {
            // The last finalizer is gone: the update is the deletion.
            let revision =
                self.storage.delete(&key, revision).await.map_err(|e| Swap::from_storage(kind, name, e))?;
            self.allocators.on_delete(kind, old).await;
            encode::set_revision(&mut new, revision);
            return Ok(new);
        }
        let mut unchanged = new.clone();
        encode::set_revision(&mut unchanged, revision);
        if unchanged == *old {
            // Writing the same again costs a revision and wakes every watcher for nothing.
            return Ok(unchanged);
        }
        let value = super::owners::encoded(kind, &mut new, write);
        match self.storage.update(&key, value, revision, Self::ttl(kind)).await {
            Ok(revision) => {
                claim.keep().await;
                encode::set_revision(&mut new, revision);
                Ok(new)
            }
            Err(e) => {
                if matches!(e, StorageError::Ambiguous { .. }) {
                    // It may be written: neither what it was given nor what it had may go to another.
                    claim.forget();
                } else {
                    claim.undo().await;
                    self.admission.refund(self, charges).await;
                }
                Err(Swap::from_storage(kind, name, e))
            }
        }
    }
}

/// Why an object was not swapped.
enum Swap {
    /// The client is told.
    Refused(Status),
    /// Someone else was faster: what is there now, if anything.
    Changed(Option<(bytes::Bytes, u64)>),
}

impl From<Status> for Swap {
    fn from(s: Status) -> Self {
        Self::Refused(s)
    }
}

impl Swap {
    fn from_storage(kind: &Kind, name: &str, error: StorageError) -> Self {
        match error {
            StorageError::Conflict { current, .. } => Self::Changed(Some((current.value, current.revision))),
            StorageError::NotFound { .. } => Self::Changed(None),
            other => Self::Refused(storage_status(kind, name, other)),
        }
    }
}

/// Metadata that only the system writes.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let m = meta::metadata_mut(new);
    let deleting = meta::is_deleting(old);
    let graceful = deleting && meta::at(old, &["metadata", "deletionGracePeriodSeconds"]).is_some();
    for f in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ] {
        // What an update says of a deletion that is not under way, or of its time, is refused by validation.
        let said = match f {
            "deletionTimestamp" => !deleting,
            "deletionGracePeriodSeconds" => !graceful || m.contains_key(f),
            _ => false,
        };
        if said {
            continue;
        }
        match meta::at(old, &["metadata", f]) {
            Some(v) => m.insert(f.into(), v.clone()),
            None => m.remove(f),
        };
    }
    if m.get("name").is_none() {
        m.insert("name".into(), meta::name(old).into());
    }
}

/// Whether anything but metadata and status has changed.
fn differs_beyond_metadata(new: &Value, old: &Value) -> bool {
    let (Value::Object(new), Value::Object(old)) = (new, old) else { return true };
    let rest = |m: &serde_json::Map<String, Value>| {
        m.iter().filter(|(k, _)| !["metadata", "status", "apiVersion", "kind"].contains(&k.as_str())).count()
    };
    rest(new) != rest(old)
        || new
            .iter()
            .filter(|(k, _)| !["metadata", "status", "apiVersion", "kind"].contains(&k.as_str()))
            .any(|(k, v)| old.get(k) != Some(v))
}
