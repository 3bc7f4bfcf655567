//! May they: attributes of a request, the authorizers that judge them, and upstream's way of saying no.
//!
//! An authorizer allows, denies, or has no opinion; the first that allows or denies decides, and a
//! request nobody allows is forbidden. Judging takes no lock and no I/O.

pub mod bootstrap;
mod build;
pub mod forbidden;
pub mod node;
pub mod rbac;
pub mod union;

use std::fmt;

use futures::future::BoxFuture;
use serde::{Serialize, Serializer};

use crate::authn::UserInfo;

pub use build::{Authorization, build};
pub use forbidden::Forbidden;
pub use union::{PrivilegedGroup, Union};

/// What a request wants to do.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or another the
    /// rules know; the lower-case method for requests that are not for a resource.
    pub verb: &'a str,
    /// The resource's group; empty for the core one.
    pub api_group: &'a str,
    /// Its version.
    pub api_version: &'a str,
    /// The resource, e.g. `pods`.
    pub resource: &'a str,
    /// The subresource, e.g. `log`.
    pub subresource: &'a str,
    /// The object's name; for lists and watches the one selected by `metadata.name`, if any.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Fields a list or watch requires to have a value, e.g. `("spec.nodeName", "n1")`.
    pub field_selectors: &'a [(&'a str, &'a str)],
    /// Whether it is a request for a resource; otherwise `path` counts.
    pub resource_request: bool,
    /// The path of the URL.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// A request for a resource.
    #[must_use]
    pub fn resource(
        user: &'a UserInfo,
        verb: &'a str,
        api_group: &'a str,
        api_version: &'a str,
        resource: &'a str,
    ) -> Self {
        Self { api_group, api_version, resource, resource_request: true, ..Self::path(user, verb, "") }
    }

    /// A request for something else.
    #[must_use]
    pub fn path(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Self {
            user,
            verb,
            api_group: "",
            api_version: "",
            resource: "",
            subresource: "",
            name: "",
            namespace: "",
            field_selectors: &[],
            resource_request: false,
            path,
        }
    }

    /// Of this subresource.
    #[must_use]
    pub fn with_subresource(self, subresource: &'a str) -> Self {
        Self { subresource, ..self }
    }

    /// Of the object with this name.
    #[must_use]
    pub fn named(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    /// In this namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: &'a str) -> Self {
        Self { namespace, ..self }
    }

    /// With these required field values.
    #[must_use]
    pub fn selecting(self, field_selectors: &'a [(&'a str, &'a str)]) -> Self {
        Self { field_selectors, ..self }
    }
}

/// Why something is allowed; often there is nothing to tell. Put into words only when somebody asks, so
/// that allowing costs no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason(Option<rbac::policy::Grant>);

impl Reason {
    /// By this grant.
    #[must_use]
    pub fn grant(grant: rbac::policy::Grant) -> Self {
        Self(Some(grant))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |grant| write!(f, "RBAC: allowed by {grant}"))
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An authorizer's judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed, and why.
    Allow(Reason),
    /// Forbidden, whatever others say; with a reason (may be empty).
    Deny(String),
    /// Not allowed by this one; with a reason (may be empty).
    NoOpinion(String),
}

impl Decision {
    /// Allowed, without a reason worth telling.
    pub const ALLOW: Self = Self::Allow(Reason(None));

    /// Whether it is `Allow`.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// Judges requests.
pub trait Authorizer: Send + Sync {
    /// Judges one.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// Every rule that applies to `user` in `namespace`, as far as it works by rules, and what could not be resolved.
    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> (Vec<rbac::Rule>, Vec<String>) {
        (Vec::new(), Vec::new())
    }

    /// Waits until it judges by everything that was written before the call.
    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The error to answer with unless `authorizer` allows.
pub fn require(authorizer: &dyn Authorizer, attributes: &Attributes<'_>) -> Result<(), Forbidden> {
    match authorizer.authorize(attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(Forbidden::new(attributes, &reason)),
    }
}
