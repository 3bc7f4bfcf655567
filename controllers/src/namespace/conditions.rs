//! What the deletion conditions of a namespace say.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};

use crate::{cache::Meta, discovery::Resource, queue::error_chain};

use super::Counts;

/// What was found while emptying a namespace.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Groups that could not be discovered.
    pub discovery_failures: Vec<String>,
    /// Deletions that failed.
    pub failures: Vec<String>,
    /// Objects that are still there, by resource.
    pub remaining: Counts,
    /// Finalizers on them.
    pub finalizers: Counts,
}

impl Findings {
    pub(super) fn is_empty(&self) -> bool {
        self.discovery_failures.is_empty() && self.failures.is_empty() && self.remaining.is_empty()
    }

    pub(super) fn note(&mut self, resource: &Resource, result: Result<Vec<Meta>, kube::Error>) {
        // `pods.` with the dot of an empty group is how upstream writes it.
        let name = format!("{}.{}", resource.plural, resource.group);
        match result {
            Ok(items) if items.is_empty() => {}
            Ok(items) => {
                for finalizer in items.iter().flat_map(|item| &item.finalizers) {
                    *self.finalizers.entry(finalizer.to_string()).or_default() += 1;
                }
                self.remaining.insert(name, items.len());
            }
            Err(error) => self.failures.push(format!("{name}: {}", error_chain(&error))),
        }
    }
}

/// Type, the reason and message of a problem if there is one, and the reason and message when there is none.
type Verdict<'a> = (&'a str, Option<(&'a str, String)>, &'a str, &'a str);

/// Brings the conditions in line with `findings`.
pub(super) fn apply(conditions: &mut Vec<NamespaceCondition>, findings: &Findings, now: Timestamp) {
    let list = |counts: &Counts, verb: &str| {
        let parts: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances")).collect();
        parts.join(", ")
    };
    let all: [Verdict<'_>; 5] = [
        (
            "NamespaceDeletionDiscoveryFailure",
            (!findings.discovery_failures.is_empty()).then(|| {
                let text = findings.discovery_failures.join(", ");
                ("DiscoveryFailed", format!("Discovery failed for some groups, {text}"))
            }),
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            (!findings.failures.is_empty()).then(|| {
                let text = findings.failures.join(", ");
                ("ContentDeletionFailed", format!("Failed to delete all resource types, {text}"))
            }),
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            (!findings.remaining.is_empty()).then(|| {
                let text = list(&findings.remaining, "has");
                ("SomeResourcesRemain", format!("Some resources are remaining: {text}"))
            }),
            "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            (!findings.finalizers.is_empty()).then(|| {
                let text = list(&findings.finalizers, "in");
                (
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {text}"),
                )
            }),
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    for (type_, problem, good_reason, good_message) in all {
        let (status, reason, message) = match problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", good_reason, good_message.to_owned()),
        };
        set(conditions, type_, status, reason, message, now);
    }
}

fn set(
    conditions: &mut Vec<NamespaceCondition>,
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let new = NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(known) if known.status == new.status && known.message == new.message => {}
        Some(known) => *known = new,
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_what_remains_and_then_that_nothing_does() {
        let mut findings = Findings::default();
        findings.remaining.insert("pods.".to_owned(), 3);
        findings.finalizers.insert("example.com/hold".to_owned(), 1);
        let mut conditions = Vec::new();
        apply(&mut conditions, &findings, Timestamp::UNIX_EPOCH);
        let message = |conditions: &[NamespaceCondition], type_: &str| {
            let condition = conditions.iter().find(|condition| condition.type_ == type_);
            condition.and_then(|condition| condition.message.clone()).unwrap_or_default()
        };
        assert_eq!(conditions.len(), 5);
        assert_eq!(
            message(&conditions, "NamespaceContentRemaining"),
            "Some resources are remaining: pods. has 3 resource instances"
        );
        assert_eq!(
            message(&conditions, "NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        apply(&mut conditions, &Findings::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(message(&conditions, "NamespaceContentRemaining"), "All content successfully removed");
        assert!(conditions.iter().all(|condition| condition.status == "False"));
    }
}
