//! Admission: the last word before a write, one plugin a file.
//!
//! Plugins run in the order of upstream's recommended list, in two rounds: the first may change the object and runs
//! before it is validated, the second only judges what will be written. The last to judge is the quota: what it
//! charges is given back when the write fails after all. A plugin that calls out (a webhook) fits the same trait.

mod certificate_approval;
mod certificate_signers;
mod certificate_signing;
mod certificate_subject_restriction;
mod chain;
mod default_classes;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod limit_ranger;
mod mountable_secrets;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_resize;
mod policy_params;
mod priority;
mod rbac_escalation;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod switches;
mod taint_nodes_by_condition;

use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use crate::authn::UserInfo;
use crate::cache::CachedObject;
use crate::registry::{Registry, Write};
pub use chain::Chain;
pub use resource_quota::Charges;
pub use switches::Switches;

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
}

impl Operation {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// What a plugin sees of a write.
pub struct Attributes<'a> {
    /// What is done.
    pub operation: Operation,
    /// To an object of this kind.
    pub kind: &'a Kind,
    /// In this namespace.
    pub namespace: String,
    /// With this name.
    pub name: String,
    /// Through this subresource.
    pub subresource: &'static str,
    /// By whom.
    pub user: &'a UserInfo,
    /// Whether it is only tried.
    pub dry_run: bool,
    /// The object to be written.
    pub object: &'a mut Value,
    /// The object as it is.
    pub old: Option<&'a Value>,
    /// What refusals call an object that has got its generated name only within the registry: upstream's plugins
    /// that change objects see the stem.
    pub stem: Option<String>,
}

impl<'a> Attributes<'a> {
    /// The attributes of a write.
    pub fn new(
        operation: Operation,
        kind: &'a Kind,
        namespace: &str,
        write: &Write<'a>,
        object: &'a mut Value,
        old: Option<&'a Value>,
    ) -> Self {
        Self {
            operation,
            kind,
            namespace: namespace.to_owned(),
            name: meta::name(object).to_owned(),
            subresource: write.subresource,
            user: write.user,
            dry_run: write.dry_run,
            object,
            old,
            stem: None,
        }
    }

    /// The same, with the stem that the name is generated from.
    pub fn with_stem(self, stem: Option<String>) -> Self {
        Self { stem, ..self }
    }

    /// Whether this is a write of a core kind itself, not of one of its subresources.
    fn is_core(&self, plural: &str) -> bool {
        self.kind.group.is_empty() && self.kind.plural == plural && self.subresource.is_empty()
    }

    /// A refusal.
    fn forbidden(&self, why: &str) -> Status {
        let name = self.stem.as_ref().unwrap_or(&self.name);
        Status::forbidden(self.kind.group, self.kind.plural, name, why)
    }
}

/// In which rounds a plugin has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// In the first, that may change the object.
    Admit,
    /// In the second, that only judges.
    Validate,
    /// In both.
    Both,
}

/// One rule about writes. Must not write anything itself.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Its name in `--enable-admission-plugins`.
    fn name(&self) -> &'static str;

    /// In which rounds it is asked; each plugin says so, for one that is not asked refuses nothing.
    fn rounds(&self) -> Rounds;

    /// Changes or refuses the write, before the object is validated.
    async fn admit(&self, _registry: &Registry, _attributes: &mut Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses the write, when the object is known to be valid and as it would be written. Not asked about deletions.
    async fn validate(&self, _registry: &Registry, _attributes: &Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// The objects of a kind in a namespace (all, for one without namespaces), as the cache has them. Costs one look-up
/// when there are none.
fn cached(registry: &Registry, kind: &Kind, namespace: &str) -> Result<Vec<Arc<CachedObject>>, Status> {
    let snapshot = registry.resource(kind)?.snapshot();
    if snapshot.is_empty() {
        return Ok(Vec::new());
    }
    Ok(snapshot.range(&kind.key(namespace, ""), None).cloned().collect())
}
