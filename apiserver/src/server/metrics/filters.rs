//! Who asks and whether they may: how often, how long, with what result.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::{self, Histogram};
use super::labels;
use crate::authz::Decision;

type Count = Counter<u64, AtomicU64>;

/// Names that are told; upstream's, so that there are never many.
const USERS: [&str; 7] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "system:serviceaccount:kube-system:default",
    "email_id",
    "other",
];
const EMAIL: usize = 5;
const OTHER: usize = 6;

/// One result, and how often and after how long it came.
struct Outcome {
    count: Count,
    duration: Histogram,
}

impl Outcome {
    fn came(&self, took: Duration) {
        self.count.inc();
        self.duration.took(took);
    }
}

/// The counters of authentication and authorization.
pub struct Filters {
    success: Outcome,
    failure: Outcome,
    error: Outcome,
    allowed: Outcome,
    denied: Outcome,
    no_opinion: Outcome,
    users: [Count; USERS.len()],
}

impl Filters {
    /// With its families in the registry.
    pub fn register(r: &mut Registry) -> Self {
        let durations = || -> Family<labels::Result, Histogram, fn() -> Histogram> {
            Family::new_with_constructor(|| Histogram::of_durations(histogram::FILTER))
        };
        let (attempts, authorizations): (Family<labels::Result, Count>, Family<labels::Result, Count>) =
            Default::default();
        let (authn, authz) = (durations(), durations());
        let users: Family<labels::User, Count> = Family::default();
        r.register("authentication_attempts", "[ALPHA] Counter of authenticated attempts", attempts.clone());
        r.register(
            "authentication_duration_seconds",
            "[ALPHA] Authentication duration in seconds broken out by result",
            authn.clone(),
        );
        r.register(
            "authenticated_user_requests",
            "[ALPHA] Counter of authenticated requests broken out by username",
            users.clone(),
        );
        r.register(
            "authorization_attempts",
            "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'",
            authorizations.clone(),
        );
        r.register(
            "authorization_duration_seconds",
            "[ALPHA] Authorization duration in seconds broken out by result",
            authz.clone(),
        );
        let outcome = |counts: &Family<labels::Result, Count>,
                       durations: &Family<labels::Result, Histogram, fn() -> Histogram>,
                       result| {
            let labels = labels::Result { result };
            Outcome {
                count: counts.get_or_create(&labels).clone(),
                duration: durations.get_or_create(&labels).clone(),
            }
        };
        Self {
            success: outcome(&attempts, &authn, "success"),
            failure: outcome(&attempts, &authn, "failure"),
            error: outcome(&attempts, &authn, "error"),
            allowed: outcome(&authorizations, &authz, "allowed"),
            denied: outcome(&authorizations, &authz, "denied"),
            no_opinion: outcome(&authorizations, &authz, "no-opinion"),
            users: USERS.map(|username| users.get_or_create(&labels::User { username }).clone()),
        }
    }

    /// It is known who asks.
    pub fn authenticated(&self, name: &str, took: Duration) {
        self.success.came(took);
        self.users[user(name)].inc();
    }

    /// It is not; `offered` tells whether anything was shown that turned out to be bad.
    pub fn unauthenticated(&self, offered: bool, took: Duration) {
        if offered { &self.error } else { &self.failure }.came(took);
    }

    /// It is decided whether they may.
    pub fn authorized(&self, decision: &Decision, took: Duration) {
        match decision {
            Decision::Allow(_) => &self.allowed,
            Decision::Deny(_) => &self.denied,
            Decision::NoOpinion(_) => &self.no_opinion,
        }
        .came(took);
    }
}

fn user(name: &str) -> usize {
    let known = USERS[..EMAIL].iter().position(|known| *known == name);
    known.unwrap_or(if name.contains('@') { EMAIL } else { OTHER })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_few() {
        for (name, told) in [
            ("admin", "admin"),
            ("system:serviceaccount:kube-system:default", "system:serviceaccount:kube-system:default"),
            ("jane@example.com", "email_id"),
            ("email_id", "other"),
            ("system:node:n1", "other"),
        ] {
            assert_eq!(USERS[user(name)], told, "{name}");
        }
    }
}
