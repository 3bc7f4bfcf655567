//! What a ServiceCIDR needs, from itself, its siblings and the addresses in use. Pure.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{FINALIZER, views::ServiceCidr};

/// How long after its deletion a ServiceCIDR stays at least, so that every API server has heard of the deletion
/// and gives out no more addresses of it.
const DELETION_GRACE: Duration = Duration::from_secs(10);

pub(super) const READY: &str = "Kubernetes Service CIDR is ready";
pub(super) const TERMINATING: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Nobody may remove it without us.
    AddFinalizer,
    /// Its addresses may be given out. Since when, where that is known already.
    MarkReady(Option<Timestamp>),
    /// Addresses would be left without a range. Since when, where that is known already.
    MarkTerminating(Option<Timestamp>),
    /// API servers may not have heard of its deletion yet.
    Wait(Duration),
    /// It may go.
    RemoveFinalizer,
}

/// What `cidr`, one of `all`, needs while these addresses are in use.
pub(super) fn plan(
    cidr: &ServiceCidr,
    all: &[Arc<ServiceCidr>],
    used: &BTreeSet<IpAddr>,
    now: Timestamp,
) -> Vec<Action> {
    let held = cidr.metadata.finalizers.iter().any(|finalizer| **finalizer == *FINALIZER);
    let Some(deleted) = cidr.deleted() else {
        let mut actions = Vec::new();
        if !held {
            actions.push(Action::AddFinalizer);
        }
        if !says(cidr, "True", READY) {
            actions.push(Action::MarkReady(since(cidr, "True")));
        }
        return actions;
    };
    if !held {
        return Vec::new();
    }
    if orphans(cidr, all, used) {
        return if says(cidr, "False", TERMINATING) {
            Vec::new()
        } else {
            vec![Action::MarkTerminating(since(cidr, "False"))]
        };
    }
    let age = Duration::try_from(now.duration_since(deleted)).unwrap_or_default();
    match DELETION_GRACE.checked_sub(age) {
        Some(rest) if !rest.is_zero() => vec![Action::Wait(rest)],
        _ => vec![Action::RemoveFinalizer],
    }
}

fn says(cidr: &ServiceCidr, status: &str, message: &str) -> bool {
    cidr.ready().is_some_and(|ready| &*ready.condition.status == status && ready.message == message)
}

/// When the condition last became what it is to be.
fn since(cidr: &ServiceCidr, status: &str) -> Option<Timestamp> {
    let ready = cidr.ready().filter(|ready| &*ready.condition.status == status)?;
    ready.condition.last_transition_time
}

/// Whether an address in use is in no other range. Ranges that are on their way out do not count, unlike upstream:
/// two equal ones that are deleted together would let each other go.
fn orphans(cidr: &ServiceCidr, all: &[Arc<ServiceCidr>], used: &BTreeSet<IpAddr>) -> bool {
    let staying = all.iter().filter(|other| other.name() != cidr.name() && other.deleted().is_none());
    let others: Vec<_> = staying.flat_map(|other| other.ranges()).collect();
    cidr.ranges().iter().any(|range| {
        if others.iter().any(|other| other.covers(range)) {
            return false;
        }
        let inside = used.range(range.network()..=range.last());
        inside.filter(|ip| range.serves(**ip)).any(|ip| !others.iter().any(|other| other.serves(*ip)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn cidr(name: &str, ranges: &[&str], more: &Value) -> Arc<ServiceCidr> {
        let mut metadata = json!({"name": name, "finalizers": [FINALIZER]});
        for (key, value) in more["metadata"].as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        let object = json!({"metadata": metadata, "spec": {"cidrs": ranges}, "status": more["status"]});
        let object = serde_json::from_value(match &more["status"] {
            Value::Null => json!({"metadata": metadata, "spec": {"cidrs": ranges}}),
            _ => object,
        });
        Arc::new(object.expect("a ServiceCIDR"))
    }

    fn condition(status: &str, message: &str) -> Value {
        json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": "", "message": message,
            "lastTransitionTime": "2025-01-01T00:00:00Z"}]}})
    }

    fn deleted(at: &str) -> Value {
        json!({"metadata": {"deletionTimestamp": at}})
    }

    fn run(cidr: &Arc<ServiceCidr>, others: &[Arc<ServiceCidr>], used: &[&str]) -> Vec<Action> {
        let used = used.iter().map(|ip| ip.parse().expect("an address")).collect();
        let all: Vec<_> = others.iter().cloned().chain([cidr.clone()]).collect();
        plan(cidr, &all, &used, NOW.parse().expect("a time"))
    }

    #[test]
    fn one_that_stays_is_held_and_ready() {
        let then: Timestamp = "2025-01-01T00:00:00Z".parse().expect("a time");
        for (more, expected) in [
            (json!({"metadata": {"finalizers": []}}), vec![Action::AddFinalizer, Action::MarkReady(None)]),
            (json!({}), vec![Action::MarkReady(None)]),
            (condition("True", READY), vec![]),
            // The API server has said so first, in other words.
            (
                condition("True", "Kubernetes default Service CIDR is ready"),
                vec![Action::MarkReady(Some(then))],
            ),
            (condition("False", TERMINATING), vec![Action::MarkReady(None)]),
        ] {
            assert_eq!(run(&cidr("a", &["10.0.0.0/24"], &more), &[], &["10.0.0.9"]), expected, "{more}");
        }
    }

    #[test]
    fn one_that_goes_waits_for_its_addresses() {
        let old = deleted("2026-01-01T00:00:00Z");
        let (blocked, free) = (vec![Action::MarkTerminating(None)], vec![Action::RemoveFinalizer]);
        for (name, others, used, expected) in [
            ("nothing is used", vec![], vec![], &free),
            ("an address is used", vec![], vec!["10.0.0.9"], &blocked),
            ("one of the second family is used", vec![], vec!["2001:db8::5"], &blocked),
            ("addresses of other ranges are used", vec![], vec!["10.0.1.9", "9.255.255.255"], &free),
            (
                "the network's and the broadcast address are nobody's",
                vec![],
                vec!["10.0.0.0", "10.0.0.255"],
                &free,
            ),
            (
                "a larger one has it all",
                vec![cidr("b", &["10.0.0.0/16", "2001:db8::/32"], &json!({}))],
                vec!["10.0.0.9", "2001:db8::5"],
                &free,
            ),
            (
                "an equal one has it all",
                vec![cidr("b", &["10.0.0.0/24", "2001:db8::/64"], &json!({}))],
                vec!["10.0.0.9", "2001:db8::5"],
                &free,
            ),
            (
                "a larger one has the first family only",
                vec![cidr("b", &["10.0.0.0/16"], &json!({}))],
                vec!["10.0.0.9", "2001:db8::5"],
                &blocked,
            ),
            (
                "a smaller one has the address",
                vec![cidr("b", &["10.0.0.0/28"], &json!({}))],
                vec!["10.0.0.9"],
                &free,
            ),
            (
                "a smaller one has one of two",
                vec![cidr("b", &["10.0.0.0/28"], &json!({}))],
                vec!["10.0.0.9", "10.0.0.99"],
                &blocked,
            ),
            (
                "the address is the broadcast address of the smaller one",
                vec![cidr("b", &["10.0.0.0/28"], &json!({}))],
                vec!["10.0.0.15"],
                &blocked,
            ),
            ("an equal one goes too", vec![cidr("b", &["10.0.0.0/24"], &old)], vec!["10.0.0.9"], &blocked),
        ] {
            let going = cidr("a", &["10.0.0.0/24", "2001:db8::/64"], &old);
            assert_eq!(run(&going, &others, &used), *expected, "{name}");
        }
    }

    #[test]
    fn one_that_goes_is_let_go_when_everybody_knows() {
        let going = |more: &Value| cidr("a", &["10.0.0.0/24"], more);
        let recent = going(&deleted("2026-01-01T00:00:54Z"));
        assert_eq!(run(&recent, &[], &[]), [Action::Wait(Duration::from_secs(4))]);
        let ahead = going(&deleted("2026-01-01T00:02:00Z"));
        assert_eq!(run(&ahead, &[], &[]), [Action::Wait(DELETION_GRACE)]);
        let not_ours =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}});
        assert_eq!(run(&going(&not_ours), &[], &["10.0.0.9"]), []);
        let mut told = condition("False", TERMINATING);
        told["metadata"] = deleted("2026-01-01T00:00:00Z")["metadata"].clone();
        assert_eq!(run(&going(&told), &[], &["10.0.0.9"]), []);
    }
}
