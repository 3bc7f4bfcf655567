//! What a Job's status may become: whoever manages it must keep its promises to its readers
//! (`ValidateJobStatusUpdate`, with the options of `getStatusValidationOptions`).
//!
//! Most rules are judged only when the fields they are about have changed, so that a status that broke them before
//! can still be worked on.

use std::collections::HashSet;

use serde_json::Value;

use super::check::{condition_is_true, int, list, non_negative, part, text};
use super::job_policy::{intervals, overlap};
use super::job_spec::INDEXED;
use crate::field::{ErrorList, Path};

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";

/// A Job before and after, and where its status is.
struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
    path: Path,
}

impl Change<'_> {
    fn status(&self) -> &Value {
        part(self.new, "status")
    }

    fn before(&self) -> &Value {
        part(self.old, "status")
    }

    fn has(&self, condition: &str) -> bool {
        condition_is_true(self.new, condition)
    }

    fn had(&self, condition: &str) -> bool {
        condition_is_true(self.old, condition)
    }

    fn turned(&self, condition: &str) -> bool {
        self.has(condition) != self.had(condition)
    }

    fn changed(&self, field: &str) -> bool {
        part(self.status(), field) != part(self.before(), field)
    }

    fn finished(&self) -> bool {
        self.has(COMPLETE) || self.has(FAILED)
    }

    fn finish_turned(&self) -> bool {
        self.finished() != (self.had(COMPLETE) || self.had(FAILED))
    }
}

/// Reasons to refuse a change of the status.
pub fn validate_update(new: &Value, old: &Value, errors: &mut ErrorList) {
    let c = Change { new, old, path: Path::new("status") };
    non_negative(c.status(), &["active", "succeeded", "failed", "ready", "terminating"], &c.path, errors);
    uncounted(&c, errors);
    times(&c, errors);
    conditions(&c, errors);
    finished(&c, errors);
    indexes(&c, errors);
    counters(&c, errors);
}

fn uncounted(c: &Change<'_>, errors: &mut ErrorList) {
    let pods = part(c.status(), "uncountedTerminatedPods");
    let mut seen = HashSet::new();
    for field in ["succeeded", "failed"] {
        for (i, uid) in list(pods, field).iter().enumerate() {
            let path = c.path.child("uncountedTerminatedPods").child(field).index(i);
            let uid = uid.as_str().unwrap_or("");
            if uid.is_empty() {
                errors.invalid(&path, uid, "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&path, uid);
            }
        }
    }
}

fn times(c: &Change<'_>, errors: &mut ErrorList) {
    let (start, completion) = (text(c.status(), "startTime"), text(c.status(), "completionTime"));
    let path = c.path.child("completionTime");
    if c.turned(COMPLETE) || c.changed("completionTime") {
        match completion {
            Some(t) if !c.has(COMPLETE) => {
                errors.invalid(
                    &path,
                    t,
                    "cannot set completionTime when there is no Complete=True condition",
                );
            }
            None if c.has(COMPLETE) => {
                errors.required(&path, "completionTime is required for Complete jobs");
            }
            _ => {}
        }
    }
    let moment = |t: Option<&str>| t.and_then(|t| t.parse::<jiff::Timestamp>().ok());
    if (c.changed("startTime") || c.changed("completionTime"))
        && let (Some(s), Some(e)) = (moment(start), moment(completion))
        && e < s
    {
        errors.invalid(&path, completion, "completionTime cannot be set before startTime");
    }
    let before = moment(text(c.before(), "completionTime"));
    if let (Some(was), Some(is)) = (before, moment(completion))
        && was != is
    {
        errors.invalid(&path, completion, "completionTime cannot be mutated");
    }
    let suspended = part(part(c.new, "spec"), "suspend").as_bool() == Some(true);
    if text(c.before(), "startTime").is_some() && c.changed("startTime") && !suspended {
        errors.required(&c.path.child("startTime"), "startTime cannot be removed for unsuspended job");
    }
}

fn conditions(c: &Change<'_>, errors: &mut ErrorList) {
    let path = c.path.child("conditions");
    let with_policy = !part(part(c.new, "spec"), "successPolicy").is_null();
    for (broken, text) in [
        (
            (c.turned(COMPLETE) || c.turned(FAILED)) && c.has(COMPLETE) && c.has(FAILED),
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            (c.turned(COMPLETE) || c.turned(FAILURE_TARGET)) && c.has(COMPLETE) && c.has(FAILURE_TARGET),
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            c.turned(FAILED) && c.has(FAILED) && !c.has(FAILURE_TARGET),
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            c.turned(COMPLETE) && c.has(COMPLETE) && !c.has(SUCCESS_CRITERIA_MET),
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (
            c.has(SUCCESS_CRITERIA_MET) && c.has(FAILED),
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
        ),
        (
            c.has(SUCCESS_CRITERIA_MET) && c.has(FAILURE_TARGET),
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
        (
            with_policy && !c.has(SUCCESS_CRITERIA_MET) && c.has(COMPLETE),
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
        (
            c.had(SUCCESS_CRITERIA_MET) && !c.has(SUCCESS_CRITERIA_MET),
            "cannot disable the SuccessCriteriaMet=True condition",
        ),
        (
            c.had(COMPLETE) && !c.had(SUCCESS_CRITERIA_MET) && c.has(SUCCESS_CRITERIA_MET),
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        ),
    ] {
        if broken {
            errors.invalid_unshown(&path, text);
        }
    }
    for terminal in [FAILED, COMPLETE, FAILURE_TARGET] {
        if c.had(terminal) && !c.has(terminal) {
            errors.invalid_unshown(&path, format!("cannot disable the terminal {terminal}=True condition"));
        }
    }
}

fn finished(c: &Change<'_>, errors: &mut ErrorList) {
    if !c.finished() {
        return;
    }
    for (field, text) in [
        ("active", "active>0 is invalid for finished job"),
        ("terminating", "terminating>0 is invalid for finished job"),
    ] {
        if let Some(n) = int(c.status(), field).filter(|n| *n > 0)
            && (c.finish_turned() || c.changed(field))
        {
            errors.invalid(&c.path.child(field), n, text);
        }
    }
    if part(c.status(), "startTime").is_null() && (c.finish_turned() || c.changed("startTime")) {
        errors.required(&c.path.child("startTime"), "startTime is required for finished job");
    }
    let pods = part(c.status(), "uncountedTerminatedPods");
    let some = ["succeeded", "failed"].iter().any(|f| !list(pods, f).is_empty());
    if some && (c.finish_turned() || c.changed("uncountedTerminatedPods")) {
        errors.invalid(
            &c.path.child("uncountedTerminatedPods"),
            pods.clone(),
            "uncountedTerminatedPods needs to be empty for finished job",
        );
    }
}

fn indexes(c: &Change<'_>, errors: &mut ErrorList) {
    let spec = part(c.new, "spec");
    let indexed = text(spec, "completionMode") == Some(INDEXED);
    let per_index = int(spec, "backoffLimitPerIndex").is_some();
    let completed = text(c.status(), "completedIndexes").unwrap_or("");
    let failed = text(c.status(), "failedIndexes");
    let completions = int(spec, "completions");
    let mut well_formed = |field: &str, value: &str| {
        if let Some(Err(why)) = completions.map(|n| intervals(value, n)) {
            errors.invalid(&c.path.child(field), value, format!("error parsing {field}: {why}"));
        }
    };
    if c.changed("completedIndexes") {
        well_formed("completedIndexes", completed);
    }
    if let Some(failed) = failed.filter(|_| c.changed("failedIndexes") && per_index) {
        well_formed("failedIndexes", failed);
    }
    if c.changed("completedIndexes") && !completed.is_empty() && !indexed {
        errors.invalid(
            &c.path.child("completedIndexes"),
            completed,
            "cannot set non-empty completedIndexes when non-indexed completion mode",
        );
    }
    let Some(failed) = failed else { return };
    let path = c.path.child("failedIndexes");
    if c.changed("failedIndexes") && !per_index {
        errors.invalid(&path, failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    if (c.changed("failedIndexes") || c.changed("completedIndexes"))
        && let Some(i) = completions.and_then(|n| overlap(completed, failed, n))
    {
        let text = format!("failedIndexes and completedIndexes overlap at index: {i}");
        errors.invalid(&path, failed, text);
    }
}

fn counters(c: &Change<'_>, errors: &mut ErrorList) {
    let spec = part(c.new, "spec");
    let count = |status: &Value, field: &str| int(status, field).unwrap_or(0);
    // An Indexed Job whose completions follow its parallelism can be made smaller.
    let elastic =
        text(spec, "completionMode") == Some(INDEXED) && int(spec, "completions") == int(spec, "parallelism");
    for (field, judged) in [("failed", true), ("succeeded", !elastic)] {
        let n = count(c.status(), field);
        if judged && n < count(c.before(), field) {
            errors.invalid(&c.path.child(field), n, format!("cannot decrease the {field} counter"));
        }
    }
    if let Some(n) = int(c.status(), "ready").filter(|n| *n > count(c.status(), "active"))
        && (c.changed("ready") || c.changed("active"))
    {
        errors.invalid(&c.path.child("ready"), n, "cannot set more ready pods than active");
    }
}
