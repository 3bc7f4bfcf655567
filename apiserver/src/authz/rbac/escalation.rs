//! Nobody grants what they do not have: the check of writes to roles and bindings.
//!
//! The error is the cause of a 403 (`<resource> "<name>" is forbidden: <cause>`).

use std::collections::BTreeSet;

use super::Rbac;
use super::policy::RoleRef;
use super::rules::{Rule, compact, missing};
use crate::authn::UserInfo;
use crate::authn::user::SYSTEM_MASTERS;
use crate::authz::forbidden::quote;
use crate::authz::{Attributes, Authorizer};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Why a write to a role or binding is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EscalationError {
    /// The text of the 403's cause.
    #[error("{0}")]
    Forbidden(String),
    /// The role that is to be bound does not exist: answer 404.
    #[error("{0}")]
    RoleNotFound(String),
}

/// A write of a role or cluster role. `name` is empty for a create whose name is not in the URL.
#[derive(Debug, Clone, Copy)]
pub struct RoleWrite<'a> {
    /// `roles` or `clusterroles`.
    pub resource: &'a str,
    /// Its namespace; empty for cluster roles.
    pub namespace: &'a str,
    /// The name in the request's URL.
    pub name: &'a str,
    /// The rules it is to have.
    pub rules: &'a [Rule],
    /// Whether it has, or had, an aggregation rule.
    pub aggregates: bool,
}

/// Whether `user` may write this role.
pub fn check_role(
    rbac: &Rbac,
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    write: RoleWrite<'_>,
) -> Result<(), EscalationError> {
    if user.is_in(SYSTEM_MASTERS) {
        return Ok(());
    }
    let escalate = Attributes::resource(user, "escalate", GROUP, "v1", write.resource)
        .in_namespace(write.namespace)
        .named(write.name);
    if authorizer.authorize(&escalate).is_allowed() {
        return Ok(());
    }
    confirm(rbac, user, write.namespace, write.rules)?;
    if write.aggregates && confirm(rbac, user, write.namespace, &full_authority()).is_err() {
        let text = "must have cluster-admin privileges to use the aggregationRule";
        return Err(EscalationError::Forbidden(text.to_owned()));
    }
    Ok(())
}

/// Whether `user` may bind this role in `namespace` (empty: everywhere).
pub fn check_binding(
    rbac: &Rbac,
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    namespace: &str,
    role: &RoleRef,
) -> Result<(), EscalationError> {
    if user.is_in(SYSTEM_MASTERS) {
        return Ok(());
    }
    let resource = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
    let bind =
        Attributes::resource(user, "bind", GROUP, "v1", resource).in_namespace(namespace).named(&role.name);
    if authorizer.authorize(&bind).is_allowed() {
        return Ok(());
    }
    let policy = rbac.policy();
    let rules = policy.resolve(role, namespace).map_err(|e| EscalationError::RoleNotFound(e.to_string()))?;
    confirm(rbac, user, namespace, rules)
}

/// Whether `user` has all of `wanted` in `namespace`.
pub fn confirm(
    rbac: &Rbac,
    user: &UserInfo,
    namespace: &str,
    wanted: &[Rule],
) -> Result<(), EscalationError> {
    let (owned, errors) = rbac.rules_for(user, namespace);
    let missing = compact(missing(&owned, wanted));
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = missing.iter().map(Rule::describe).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let groups: Vec<String> = user.groups.iter().map(|group| quote(group)).collect();
    let mut text = format!(
        "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&user.name),
        groups.join(" "),
        lines.join("\n")
    );
    if !errors.is_empty() {
        let errors =
            if let [one] = errors.as_slice() { one.clone() } else { format!("[{}]", errors.join(", ")) };
        text.push_str(&format!("; resolution errors: [{errors}]"));
    }
    Err(EscalationError::Forbidden(text))
}

fn full_authority() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}
