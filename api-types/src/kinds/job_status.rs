//! What a Job's status may become: whoever manages it must keep its promises to its readers
//! (`ValidateJobStatusUpdate`, with the options of `getStatusValidationOptions`).
//!
//! Most rules are judged only when the fields they are about have changed, so that a status that broke them before
//! can still be worked on.

use std::collections::HashSet;

use serde_json::Value;

use super::check::{condition_is, condition_is_true, int, list, non_negative, part, text};
use super::job_policy::{intervals, overlap};
use super::job_spec::INDEXED;
use crate::field::{ErrorList, Path};

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const FAILURE_TARGET: &str = "FailureTarget";
const SUSPENDED: &str = "Suspended";
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
    completion(&c, errors);
    finished(&c, errors);
    indexes(&c, errors);
    ready(&c, errors);
    success(&c, errors);
    kept(&c, errors);
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

fn moment(t: Option<&str>) -> Option<jiff::Timestamp> {
    t.and_then(|t| t.parse().ok())
}

/// Conditions with a text why, and whether they are broken.
fn refuse(broken: &[(bool, &str)], path: &Path, errors: &mut ErrorList) {
    for (_, text) in broken.iter().filter(|(broken, _)| *broken) {
        errors.invalid_unshown(path, text);
    }
}

fn completion(c: &Change<'_>, errors: &mut ErrorList) {
    let (conditions, path) = (c.path.child("conditions"), c.path.child("completionTime"));
    let (start, end) = (text(c.status(), "startTime"), text(c.status(), "completionTime"));
    let complete = c.has(COMPLETE);
    let with_failed = (c.turned(COMPLETE) || c.turned(FAILED)) && complete && c.has(FAILED);
    let with_target = (c.turned(COMPLETE) || c.turned(FAILURE_TARGET)) && complete && c.has(FAILURE_TARGET);
    refuse(
        &[
            (with_failed, "cannot set Complete=True and Failed=true conditions"),
            (with_target, "cannot set Complete=True and FailureTarget=true conditions"),
        ],
        &conditions,
        errors,
    );
    if c.turned(COMPLETE) || c.changed("completionTime") {
        match end {
            Some(t) if !complete => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&path, t, why);
            }
            None if complete => errors.required(&path, "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    if (c.changed("startTime") || c.changed("completionTime"))
        && let (Some(s), Some(e)) = (moment(start), moment(end))
        && e < s
    {
        errors.invalid(&path, end, "must be equal to or after `startTime`");
    }
    let untargeted =
        (c.turned(FAILED) || c.changed("failedIndexes")) && c.has(FAILED) && !c.has(FAILURE_TARGET);
    let unmet =
        (c.turned(COMPLETE) || c.turned(SUCCESS_CRITERIA_MET)) && complete && !c.has(SUCCESS_CRITERIA_MET);
    refuse(
        &[
            (untargeted, "cannot set Failed=True condition without the FailureTarget=true condition"),
            (unmet, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
        ],
        &conditions,
        errors,
    );
}

/// What a Job that has finished has no more.
fn finished(c: &Change<'_>, errors: &mut ErrorList) {
    if !c.finished() {
        return;
    }
    let judged = |field: &str| c.finish_turned() || c.changed(field);
    let count = |field: &str| int(c.status(), field).filter(|n| *n > 0 && judged(field));
    if let Some(n) = count("active") {
        errors.invalid(&c.path.child("active"), n, "active>0 is invalid for finished job");
    }
    let spec = part(c.new, "spec");
    // One that was never to run pods has finished without having started.
    let empty = part(spec, "suspend").as_bool() == Some(true) && int(spec, "completions") == Some(0);
    if part(c.status(), "startTime").is_null() && judged("startTime") && !empty {
        errors.required(&c.path.child("startTime"), "startTime is required for finished job");
    }
    let pods = part(c.status(), "uncountedTerminatedPods");
    let some = ["succeeded", "failed"].iter().any(|f| !list(pods, f).is_empty());
    if some && judged("uncountedTerminatedPods") {
        let at = c.path.child("uncountedTerminatedPods");
        errors.invalid(&at, pods.clone(), "must be empty for finished job");
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

fn ready(c: &Change<'_>, errors: &mut ErrorList) {
    let terminating = int(c.status(), "terminating").filter(|n| *n > 0 && c.finished());
    if let Some(n) = terminating.filter(|_| c.finish_turned() || c.changed("terminating")) {
        errors.invalid(&c.path.child("terminating"), n, "terminating>0 is invalid for finished job");
    }
    if let Some(n) = int(c.status(), "ready").filter(|n| *n > int(c.status(), "active").unwrap_or(0))
        && (c.changed("ready") || c.changed("active"))
    {
        errors.invalid(&c.path.child("ready"), n, "cannot set more ready pods than active");
    }
}

fn success(c: &Change<'_>, errors: &mut ErrorList) {
    let met = c.has(SUCCESS_CRITERIA_MET);
    let with_policy = !part(part(c.new, "spec"), "successPolicy").is_null();
    refuse(
        &[
            (met && c.has(FAILED), "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
            (
                met && c.has(FAILURE_TARGET),
                "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            ),
            (
                with_policy && !met && c.has(COMPLETE),
                "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
            ),
        ],
        &c.path.child("conditions"),
        errors,
    );
}

/// What was said once and stays.
fn kept(c: &Change<'_>, errors: &mut ErrorList) {
    let conditions = c.path.child("conditions");
    for terminal in [FAILED, COMPLETE, FAILURE_TARGET] {
        if c.had(terminal) && !c.has(terminal) {
            let why = format!("cannot disable the terminal {terminal}=True condition");
            errors.invalid_unshown(&conditions, why);
        }
    }
    let spec = part(c.new, "spec");
    // An Indexed Job whose completions follow its parallelism can be made smaller.
    let elastic =
        text(spec, "completionMode") == Some(INDEXED) && int(spec, "completions") == int(spec, "parallelism");
    for (field, judged) in [("failed", true), ("succeeded", !elastic)] {
        let n = int(c.status(), field).unwrap_or(0);
        if judged && n < int(c.before(), field).unwrap_or(0) {
            errors.invalid(&c.path.child(field), n, format!("cannot decrease the {field} counter"));
        }
    }
    let end = text(c.status(), "completionTime");
    if let (Some(was), Some(is)) = (moment(text(c.before(), "completionTime")), moment(end))
        && was != is
    {
        errors.invalid(&c.path.child("completionTime"), end, "field is immutable");
    }
    let suspended = part(spec, "suspend").as_bool() == Some(true);
    let resuming = c.had(SUSPENDED) && condition_is(c.new, SUSPENDED, "False");
    if text(c.before(), "startTime").is_some() && c.changed("startTime") && !suspended && !resuming {
        let why = "field is immutable for unsuspended job once set";
        errors.invalid(&c.path.child("startTime"), text(c.status(), "startTime"), why);
    }
    let (met, was_met) = (c.has(SUCCESS_CRITERIA_MET), c.had(SUCCESS_CRITERIA_MET));
    refuse(
        &[
            (was_met && !met, "cannot disable the SuccessCriteriaMet=True condition"),
            (
                c.had(COMPLETE) && !was_met && met,
                "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
            ),
        ],
        &conditions,
        errors,
    );
}
