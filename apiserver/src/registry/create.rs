//! Create.

use api_types::catalog::Kind;
use api_types::field::ErrorList;
use api_types::kinds::object_meta;
use api_types::meta;
use api_types::status::Status;
use bytes::Bytes;
use serde_json::Value;

use super::{Registry, Write, encode, names, storage_status};
use crate::admission::{Attributes, Operation};
use crate::cache::splice;
use crate::storage::StorageError;

/// How often a generated name that is taken is replaced by another.
const NAME_TRIES: usize = 8;

impl Registry {
    /// Creates an object; gives it as stored, with its resource version.
    pub async fn create(
        &self,
        kind: &Kind,
        namespace: &str,
        object: Value,
        write: &Write<'_>,
    ) -> Result<Value, Status> {
        self.create_encoded(kind, namespace, object, write).await.map(|(object, _)| object)
    }

    /// The same, with the bytes of the answer: what was stored, so that it is encoded once. `None` for a dry run.
    pub async fn create_encoded(
        &self,
        kind: &Kind,
        namespace: &str,
        object: Value,
        write: &Write<'_>,
    ) -> Result<(Value, Option<Bytes>), Status> {
        let generated = meta::name(&object).is_empty() && !meta::field(&object, "generateName").is_empty();
        for _ in 1..if generated { NAME_TRIES } else { 1 } {
            match self.create_once(kind, namespace, object.clone(), write).await {
                Err(s) if s.reason == "AlreadyExists" => {}
                other => return other,
            }
        }
        self.create_once(kind, namespace, object, write).await
    }

    async fn create_once(
        &self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        write: &Write<'_>,
    ) -> Result<(Value, Option<Bytes>), Status> {
        if !meta::resource_version(&object).is_empty() {
            // Upstream's store says this, and its registry passes it on without a reason.
            return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        check_namespace(kind, namespace, &mut object)?;
        let stem = meta::name(&object).is_empty().then(|| meta::field(&object, "generateName").to_owned());
        begin(kind, &mut object);
        kind.strategy.default(&mut object);
        super::owners::on_create(kind, &mut object, write);
        let attributes = Attributes::new(Operation::Create, kind, namespace, write, &mut object, None);
        self.admission.admit(self, &mut attributes.with_stem(stem)).await?;
        // After the plugins: the status of a new object may follow from what they have put in.
        kind.strategy.prepare_for_create(&mut object);
        kind.strategy.note_requester(&mut object, &write.user.as_requester());
        let name = meta::name(&object).to_owned();
        let mut errors = ErrorList::new();
        object_meta::validate(&object, kind, &mut errors);
        kind.strategy.validate(&object, &mut errors);
        kind.strategy.validate_create(&object, &mut errors);
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, &name, &errors));
        }
        write.warnings.add(kind.strategy.warnings(&object, None));
        let attributes = Attributes::new(Operation::Create, kind, namespace, write, &mut object, None);
        let charges = self.admission.validate(self, &attributes).await?;
        let claim = match self.allocators.on_create(kind, &mut object, write.dry_run).await {
            Ok(claim) => claim,
            Err(e) => {
                self.admission.refund(self, charges).await;
                return Err(e);
            }
        };
        if write.dry_run {
            self.freshen(super::read::Freshness::Consistent).await?;
            if self.peek(kind, namespace, &name).is_some() {
                return Err(Status::already_exists(kind.group, kind.plural, &name));
            }
            return Ok((object, None));
        }
        let value = super::owners::encoded(kind, &mut object, write);
        match self.storage.create(&kind.key(namespace, &name), value.clone(), Self::ttl(kind)).await {
            Ok(revision) => {
                claim.keep().await;
                encode::set_revision(&mut object, revision);
                Ok((object, splice::with_resource_version(&value, revision).ok()))
            }
            Err(e) => {
                if matches!(e, StorageError::Ambiguous { .. }) {
                    // It may be there: what it was given must not be given to another.
                    claim.keep().await;
                } else {
                    claim.undo().await;
                    self.admission.refund(self, charges).await;
                }
                Err(storage_status(kind, &name, e))
            }
        }
    }
}

/// The namespace of the body and of the path must agree.
pub(super) fn check_namespace(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), Status> {
    let own = meta::namespace(object);
    if kind.namespaced() {
        if own.is_empty() {
            meta::metadata_mut(object).insert("namespace".into(), namespace.into());
        } else if own != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// What the system, not the client, writes into new metadata.
fn begin(kind: &Kind, object: &mut Value) {
    let m = meta::metadata_mut(object);
    for f in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        m.remove(f);
    }
    m.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    m.insert("creationTimestamp".into(), meta::now().into());
    if kind.strategy.counts_generations() {
        m.insert("generation".into(), 1.into());
    }
    let name = m.get("name").and_then(Value::as_str).unwrap_or("");
    let stem = m.get("generateName").and_then(Value::as_str).unwrap_or("");
    if name.is_empty() && !stem.is_empty() {
        let name = names::generate(stem);
        m.insert("name".into(), name.into());
    }
}
