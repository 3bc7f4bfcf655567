//! Which parameters of a request go together, and what is said of those that do not: everything at once, in upstream's
//! order (`apimachinery/pkg/apis/meta/v1/validation` and `meta/internalversion/validation`).

use api_types::field::{ErrorList, Path};
use api_types::kinds::object_meta::manager;
use api_types::status::Status;

use super::query::{FieldValidation, Query};

const NOT_OLDER_THAN: &str = "NotOlderThan";
const EXACT: &str = "Exact";
const PROPAGATIONS: [&str; 3] = ["Foreground", "Background", "Orphan"];

/// 422 of the options of a request, if there is anything to say.
fn refuse(options: &str, errors: &ErrorList) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", options, "", errors)) }
}

/// How a write is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// POST or PUT.
    Object,
    /// A PATCH.
    Patch,
    /// A PATCH that applies a configuration.
    Apply,
}

/// Judges the parameters of a write, which are `options` (`CreateOptions`) to upstream.
pub fn write(query: &Query, options: &str, manner: Manner) -> Result<(), Status> {
    let mut errors = ErrorList::new();
    match manner {
        Manner::Apply if query.get("fieldManager").is_none() => {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }
        Manner::Patch if query.optional_flag("force").is_some() => {
            errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        }
        _ => {}
    }
    if let Some(name) = query.get("fieldManager") {
        manager(name, &Path::new("fieldManager"), &mut errors);
    }
    dry_run(query.all("dryRun"), &mut errors);
    if let Some(level) = query.get("fieldValidation").filter(|level| FieldValidation::named(level).is_none())
    {
        let supported = ["", "Ignore", "Strict", "Warn"];
        errors.not_supported(&Path::new("fieldValidation"), level, &supported);
    }
    refuse(options, &errors)
}

fn dry_run(values: &[String], errors: &mut ErrorList) {
    if values.iter().any(|v| v != "All" && !v.is_empty()) {
        errors.not_supported(&Path::new("dryRun"), values.to_vec(), &["All"]);
    }
}

/// Judges how a deletion is asked for: whether dependents are to be orphaned by the older parameter, what becomes of
/// them by the newer one, and the values of `dryRun`.
pub fn delete(orphan: Option<bool>, propagation: Option<&str>, dry_runs: &[String]) -> Result<(), Status> {
    let mut errors = ErrorList::new();
    let path = Path::new("propagationPolicy");
    if let Some(propagation) = propagation {
        if orphan.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.invalid(&path, propagation, why);
        }
        if !PROPAGATIONS.contains(&propagation) {
            errors.not_supported(&path, propagation, &["Foreground", "Background", "Orphan", "nil"]);
        }
    }
    dry_run(dry_runs, &mut errors);
    refuse("DeleteOptions", &errors)
}

/// Judges the parameters of a list.
pub fn list(query: &Query) -> Result<(), Status> {
    let mut errors = ErrorList::new();
    if let Some(wanted) = query.get("resourceVersionMatch") {
        let path = Path::new("resourceVersionMatch");
        let version = query.get("resourceVersion");
        if version.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.forbidden(&path, why);
        }
        no_continue(query, &path, &mut errors);
        if ![EXACT, NOT_OLDER_THAN].contains(&wanted) {
            errors.not_supported(&path, wanted, &[EXACT, NOT_OLDER_THAN, ""]);
        }
        if wanted == EXACT && version == Some("0") {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.forbidden(&path, why);
        }
    }
    if query.optional_flag("sendInitialEvents").is_some() {
        errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
    refuse("ListOptions", &errors)
}

/// Judges the parameters of a watch.
pub fn watch(query: &Query) -> Result<(), Status> {
    let mut errors = ErrorList::new();
    let path = Path::new("resourceVersionMatch");
    let wanted = query.get("resourceVersionMatch");
    let initial = query.optional_flag("sendInitialEvents");
    if initial.is_some() && wanted != Some(NOT_OLDER_THAN) {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.forbidden(&path, why);
    }
    if let Some(wanted) = wanted {
        if initial.is_none() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.forbidden(&path, why);
        }
        if wanted != NOT_OLDER_THAN {
            errors.not_supported(&path, wanted, &[NOT_OLDER_THAN]);
        }
        no_continue(query, &path, &mut errors);
    }
    refuse("ListOptions", &errors)
}

fn no_continue(query: &Query, path: &Path, errors: &mut ErrorList) {
    if query.get("continue").is_some() {
        errors.forbidden(path, "resourceVersionMatch is forbidden when continue is provided");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: Result<(), Status>, want: &[&str]) {
        let causes = got.err().map(|s| s.details["causes"].clone()).unwrap_or_default();
        let causes = causes.as_array().cloned().unwrap_or_default();
        let fields: Vec<_> = causes
            .iter()
            .map(|c| {
                let (field, message) = (c["field"].as_str(), c["message"].as_str());
                format!("{}: {}", field.unwrap_or(""), message.unwrap_or(""))
            })
            .collect();
        assert_eq!(fields, want);
    }

    #[test]
    fn writes() {
        use Manner::{Apply, Object, Patch};
        for (query, manner, want) in [
            ("dryRun=All&fieldManager=a&fieldValidation=Strict", Object, &[][..]),
            ("force=true", Object, &[]),
            ("force=true&fieldManager=a", Apply, &[]),
            (
                "force=false&dryRun=x&fieldManager=a%09b&fieldValidation=strict",
                Patch,
                &[
                    "force: Forbidden: may not be specified for non-apply patch",
                    "fieldManager: Invalid value: \"a\\tb\": invalid character U+0009 (at position 1)",
                    "dryRun: Unsupported value: [\"x\"]: supported values: \"All\"",
                    "fieldValidation: Unsupported value: \"strict\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
                ],
            ),
            ("", Apply, &["fieldManager: Required value: is required for apply patch"]),
        ] {
            check(write(&Query::parse(Some(query)), "PatchOptions", manner), want);
        }
    }

    #[test]
    fn deletions() {
        check(delete(None, Some("Orphan"), &["All".to_owned()]), &[]);
        check(delete(Some(true), None, &[]), &[]);
        check(
            delete(Some(false), Some("x"), &["y".to_owned()]),
            &[
                "propagationPolicy: Invalid value: \"x\": orphanDependents and deletionPropagation cannot be both set",
                "propagationPolicy: Unsupported value: \"x\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                "dryRun: Unsupported value: [\"y\"]: supported values: \"All\"",
            ],
        );
    }

    #[test]
    fn lists_and_watches() {
        const M: &str = "resourceVersionMatch: Forbidden: resourceVersionMatch";
        let exact_zero = format!("{M} \"exact\" is forbidden for resourceVersion \"0\"");
        let no_version = format!("{M} is forbidden unless resourceVersion is provided");
        let continued = format!("{M} is forbidden when continue is provided");
        let unsupported = "resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"";
        for (query, want) in [
            ("resourceVersion=3&resourceVersionMatch=Exact", &[][..]),
            ("resourceVersion=0&resourceVersionMatch=Exact", &[exact_zero.as_str()]),
            ("resourceVersionMatch=x&continue=c", &[no_version.as_str(), continued.as_str(), unsupported]),
            (
                "sendInitialEvents=false",
                &["sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"],
            ),
        ] {
            check(list(&Query::parse(Some(query))), want);
        }
        let alone = format!("{M} is forbidden for watch unless sendInitialEvents is provided");
        let needs = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let only = "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
        for (query, want) in [
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", &[][..]),
            ("sendInitialEvents=true", &[needs]),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", &[needs, only]),
            ("resourceVersionMatch=Exact&continue=c", &[alone.as_str(), only, continued.as_str()]),
        ] {
            check(watch(&Query::parse(Some(query))), want);
        }
    }
}
