//! Role-based access control over the cached roles and bindings.
//!
//! Owns an index of parsed rules by subject, replaced as a whole when a role or binding changes (the
//! parts that did not change are shared), so that a request is judged by a few map look-ups and string
//! comparisons, without lock or parse. What wakes it: the watches of the four kinds.

pub mod escalation;
mod feed;
pub mod policy;
pub mod rules;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Attributes, Authorizer, Decision, Reason};
use crate::authn::UserInfo;
use crate::storage::Revision;
pub use feed::RbacCaches;
pub use policy::{Policy, RoleRef};
pub use rules::Rule;

/// The RBAC authorizer.
#[derive(Debug)]
pub struct Rbac {
    policy: ArcSwap<Policy>,
    /// Up to which revision each of the four kinds has been read; `None` before the first time.
    seen: watch::Sender<[Option<Revision>; 4]>,
    /// Makes the feed say how far it is.
    nudge: watch::Sender<()>,
    /// What it is fed from, once it is.
    caches: OnceLock<RbacCaches>,
}

impl Default for Rbac {
    fn default() -> Self {
        Self {
            policy: ArcSwap::default(),
            seen: watch::Sender::new([None; 4]),
            nudge: watch::Sender::new(()),
            caches: OnceLock::new(),
        }
    }
}

impl Rbac {
    /// Allows nothing until it is fed, by [`Rbac::run`] or [`Rbac::change`].
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The policy now.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Replaces the policy by a changed copy.
    pub fn change(&self, mut change: impl FnMut(&mut Policy)) {
        self.policy.rcu(|now| {
            let mut next = Policy::clone(now);
            change(&mut next);
            next
        });
    }

    /// Every rule that applies to `user` in `namespace` (empty: cluster-wide ones only), and what could
    /// not be resolved.
    #[must_use]
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        self.policy.load().visit(user, namespace, |_, found| {
            match found {
                Ok(rule) => rules.push(rule.clone()),
                Err(missing) => errors.push(missing.to_string()),
            }
            true
        });
        (rules, errors)
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let mut allowed = None;
        let mut missing = Vec::new();
        self.policy.load().visit(attributes.user, attributes.namespace, |grant, found| {
            match found {
                Ok(rule) if rule.allows(attributes) => allowed = Some(Reason::grant(grant.clone())),
                Ok(_) => {}
                Err(error) => missing.push(error.to_string()),
            }
            allowed.is_none()
        });
        if let Some(reason) = allowed {
            return Decision::Allow(reason);
        }
        missing.dedup();
        Decision::NoOpinion(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests;
