//! Groups of the Kubernetes community, which are not anybody's to use.

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::meta;
use crate::url::Url;

const ANNOTATION: &str = "api-approved.kubernetes.io";

/// What the reviewers of the Kubernetes community say of a group of theirs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Nothing.
    Missing,
    /// That they were not asked.
    Bypassed,
    /// Where they agreed.
    Given,
    /// Something else.
    Malformed,
}

impl Approval {
    /// The word of a definition's annotation.
    pub fn of(object: &Value) -> Self {
        let word = meta::str_at(object, &["metadata", "annotations", ANNOTATION]);
        let url = || Url::parse_request(word).is_ok_and(|u| !u.host.is_empty() && !u.scheme.is_empty());
        match word {
            "" => Self::Missing,
            w if w.starts_with("unapproved") => Self::Bypassed,
            _ if url() => Self::Given,
            _ => Self::Malformed,
        }
    }
}

/// Reasons to refuse a group of the Kubernetes community: it needs the word of its reviewers.
pub fn validate(object: &Value, state: Approval, errors: &mut ErrorList) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = meta::str_at(object, &["spec", "group"]);
    let protected = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(ANNOTATION);
    match state {
        Approval::Missing => {
            let text = format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}");
            errors.required(&path, &text);
        }
        Approval::Malformed => {
            let word = meta::str_at(object, &["metadata", "annotations", ANNOTATION]);
            let text = format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
            );
            errors.invalid(&path, word, text);
        }
        Approval::Bypassed | Approval::Given => {}
    }
}
