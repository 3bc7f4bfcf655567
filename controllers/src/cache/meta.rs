//! The part of object metadata that controllers look at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, Deserializer};

/// Metadata of a watched object, without managed fields and with few annotations.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name of the object.
    #[serde(deserialize_with = "null_default")]
    pub name: Box<str>,
    /// Namespace, empty for cluster-scoped objects.
    #[serde(deserialize_with = "null_default")]
    pub namespace: Box<str>,
    /// Identity of this incarnation of the name.
    #[serde(deserialize_with = "null_default")]
    pub uid: Box<str>,
    /// Version of the object as the server told it.
    #[serde(deserialize_with = "null_default")]
    pub resource_version: Box<str>,
    /// Labels.
    #[serde(deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// The few annotations that are looked at.
    #[serde(deserialize_with = "null_default")]
    pub annotations: Annotations,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When deletion was asked for.
    pub deletion_timestamp: Option<Timestamp>,
    /// Grace period the deletion was asked for with.
    pub deletion_grace_period_seconds: Option<i64>,
    /// Owners.
    #[serde(deserialize_with = "null_default")]
    pub owner_references: Vec<Owner>,
    /// Finalizers.
    #[serde(deserialize_with = "null_default")]
    pub finalizers: Vec<Box<str>>,
}

/// The annotations that controllers look at; all others are dropped while decoding.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// How dear a pod is when its set is scaled down.
    #[serde(rename = "controller.kubernetes.io/pod-deletion-cost")]
    pub deletion_cost: Option<Box<str>>,
}

/// An owner reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    /// Group and version of the owner.
    pub api_version: Box<str>,
    /// Kind of the owner.
    pub kind: Box<str>,
    /// Name of the owner.
    pub name: Box<str>,
    /// Identity of the owner.
    pub uid: Box<str>,
    /// Whether this owner is the managing controller.
    #[serde(deserialize_with = "null_default")]
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    #[serde(deserialize_with = "null_default")]
    pub block_owner_deletion: bool,
}

impl Meta {
    /// The managing controller, if there is one.
    pub fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

impl From<&OwnerReference> for Owner {
    fn from(reference: &OwnerReference) -> Self {
        Owner {
            api_version: reference.api_version.as_str().into(),
            kind: reference.kind.as_str().into(),
            name: reference.name.as_str().into(),
            uid: reference.uid.as_str().into(),
            controller: reference.controller.unwrap_or(false),
            block_owner_deletion: reference.block_owner_deletion.unwrap_or(false),
        }
    }
}

/// Reads `null` as the default value: Go's encoder writes `null` for empty lists and times.
pub fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
