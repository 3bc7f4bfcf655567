//! Defaults and validation of a Job's spec, also inside the template of a CronJob
//! (`pkg/apis/batch/v1/defaults.go`, `pkg/apis/batch/validation/validation.go`).

use serde_json::{Map, Value};

use super::check::{int, list, non_negative, part, text};
use super::{job_policy, pod_warnings, workload};
use crate::field::{ErrorList, Path};
use crate::meta::default_to;

/// The completion mode with an index a pod.
pub const INDEXED: &str = "Indexed";

/// Bounds of Indexed Jobs: they keep the status' lists of indexes short.
const MAX_PARALLELISM: i64 = 100_000;
const MAX_FAILED_INDEXES: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const MAX_PARALLELISM_OF_MANY: i64 = 10_000;
const MAX_FAILED_INDEXES_OF_MANY: i64 = 10_000;
/// Bytes of `managedBy`.
const MAX_MANAGED_BY: usize = 63;

/// Fills in the spec of a Job; that of a CronJob's template only gets the defaults of its pods.
pub fn defaults(spec: &mut Map<String, Value>) {
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        default_to(spec, "completions", 1);
    }
    default_to(spec, "parallelism", 1);
    // Failures are counted for each index where that is limited.
    let limit = if spec.contains_key("backoffLimitPerIndex") { i32::MAX } else { 6 };
    default_to(spec, "backoffLimit", limit);
    default_to(spec, "completionMode", "NonIndexed");
    default_to(spec, "suspend", false);
    default_to(spec, "manualSelector", false);
    let policy = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    default_to(spec, "podReplacementPolicy", policy);
    pods(spec);
}

/// Fills in the pods of a Job.
pub fn pods(spec: &mut Map<String, Value>) {
    workload::template_defaults(spec);
    job_policy::defaults(spec);
}

/// Reasons to refuse a spec, its selector aside.
pub fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    non_negative(
        spec,
        &[
            "parallelism",
            "completions",
            "activeDeadlineSeconds",
            "backoffLimit",
            "ttlSecondsAfterFinished",
            "backoffLimitPerIndex",
            "maxFailedIndexes",
        ],
        path,
        errors,
    );
    if int(spec, "maxFailedIndexes").is_some() && int(spec, "backoffLimitPerIndex").is_none() {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = text(spec, "managedBy") {
        super::check::domain_prefixed_path(manager, &path.child("managedBy"), errors);
        if manager.len() > MAX_MANAGED_BY {
            errors.too_long(&path.child("managedBy"), MAX_MANAGED_BY);
        }
    }
    indexes(spec, path, errors);
    if !part(spec, "podFailurePolicy").is_null() {
        job_policy::failure(spec, &path.child("podFailurePolicy"), errors);
    }
    if !part(spec, "successPolicy").is_null() {
        let path = path.child("successPolicy");
        if text(spec, "completionMode") == Some(INDEXED) {
            job_policy::success(spec, &path, errors);
        } else {
            errors.invalid(&path, part(spec, "successPolicy").clone(), "requires indexed completion mode");
        }
    }
    job_policy::replacement(spec, &path.child("podReplacementPolicy"), errors);
    let template = part(spec, "template");
    workload::pod_template(template, &path.child("template"), errors);
    restart_policy(spec, text(part(template, "spec"), "restartPolicy").unwrap_or(""), path, errors);
}

fn indexes(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (completions, parallelism) = (int(spec, "completions"), int(spec, "parallelism"));
    let (per_index, max_failed) = (int(spec, "backoffLimitPerIndex"), int(spec, "maxFailedIndexes"));
    let mode = text(spec, "completionMode");
    if let Some(m) = mode.filter(|m| *m != INDEXED && *m != "NonIndexed") {
        errors.not_supported(&path.child("completionMode"), m, &["NonIndexed", INDEXED]);
    }
    if mode.is_none_or(|m| m == "NonIndexed") {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(n) = int(spec, field) {
                errors.invalid(&path.child(field), n, "requires indexed completion mode");
            }
        }
    }
    if mode != Some(INDEXED) {
        return;
    }
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let mut at_most = |field: &str, value: Option<i64>, max: i64, why: &str| {
        if let Some(n) = value.filter(|n| *n > max) {
            errors.invalid(&path.child(field), n, format!("must be less than or equal to {max}{why}"));
        }
    };
    at_most("parallelism", parallelism, MAX_PARALLELISM, " when completion mode is Indexed");
    let many = completions.is_some_and(|n| n > MANY_COMPLETIONS) && per_index.is_some();
    at_most("maxFailedIndexes", max_failed, MAX_FAILED_INDEXES, "");
    if many {
        let why =
            format!(" when completions are above {MANY_COMPLETIONS} and used with backoff limit per index");
        at_most("parallelism", parallelism, MAX_PARALLELISM_OF_MANY, &why);
        at_most("maxFailedIndexes", max_failed, MAX_FAILED_INDEXES_OF_MANY, &why);
    }
    if let (Some(n), Some(completions)) = (max_failed, completions)
        && n > completions
    {
        errors.invalid(&path.child("maxFailedIndexes"), n, "must be less than or equal to completions");
    }
    if many && max_failed.is_none() {
        errors.required(
            &path.child("maxFailedIndexes"),
            &format!("must be specified when completions is above {MANY_COMPLETIONS}"),
        );
    }
}

fn restart_policy(spec: &Value, policy: &str, path: &Path, errors: &mut ErrorList) {
    let path = path.child("template").child("spec").child("restartPolicy");
    match policy {
        "" | "Always" => errors.required(&path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if !part(spec, "podFailurePolicy").is_null() => {
            errors.invalid(&path, policy, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(&path, other, &["OnFailure", "Never"]),
    }
}

/// What a writer of such a spec should know.
pub fn warnings(spec: &Value, path: &Path) -> Vec<String> {
    let mut all = many_indexes(spec, path);
    all.extend(pod_warnings::of_template(part(spec, "template"), &path.child("template")));
    all
}

fn many_indexes(spec: &Value, path: &Path) -> Vec<String> {
    let many = int(spec, "completions").is_some_and(|n| n > MANY_COMPLETIONS)
        && int(spec, "parallelism").is_some_and(|n| n > MAX_PARALLELISM_OF_MANY);
    if text(spec, "completionMode") != Some(INDEXED) || !many {
        return Vec::new();
    }
    vec![format!(
        "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
    )]
}

/// The names of the containers that exit codes may be asked of.
pub(super) fn container_names(spec: &Value) -> Vec<&str> {
    let pod = part(part(spec, "template"), "spec");
    ["containers", "initContainers"]
        .iter()
        .flat_map(|l| list(pod, l))
        .filter_map(|c| text(c, "name"))
        .collect()
}
