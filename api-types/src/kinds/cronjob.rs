//! CronJobs (`pkg/registry/batch/cronjob/strategy.go`).

use serde_json::{Value, json};

use super::check::{list, name_makes_hostnames, non_negative, part, text};
use super::{drop_status, job_spec, keep_status, pod_spec};
use crate::catalog::Strategy;
use crate::cron::{self, Schedule};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::table;

/// The strategy of cron jobs.
pub struct CronJob;

/// What is left of a Job's 63 characters when the controller has appended its moment.
const MAX_NAME: usize = 52;

impl Strategy for CronJob {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        default_to(spec, "concurrencyPolicy", "Allow");
        default_to(spec, "suspend", false);
        default_to(spec, "successfulJobsHistoryLimit", 3);
        default_to(spec, "failedJobsHistoryLimit", 1);
        let job = object_mut(spec, "jobTemplate");
        object_mut(job, "metadata");
        job_spec::pods(object_mut(job, "spec"));
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        super::pod_disabled::drop(object, &Value::Null, &["spec", "jobTemplate", "spec", "template", "spec"]);
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::pod_disabled::drop(new, old, &["spec", "jobTemplate", "spec", "template", "spec"]);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        if text(spec, "schedule").unwrap_or("").is_empty() {
            errors.required(&path.child("schedule"), "");
        }
        non_negative(
            spec,
            &["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
            &path,
            errors,
        );
        pod_spec::one_of(
            text(spec, "concurrencyPolicy"),
            &["Allow", "Forbid", "Replace"],
            &path.child("concurrencyPolicy"),
            errors,
        );
        let job = part(part(spec, "jobTemplate"), "spec");
        let path = path.child("jobTemplate").child("spec");
        job_spec::validate(job, &path, errors);
        if !part(job, "selector").is_null() {
            errors.invalid(
                &path.child("selector"),
                part(job, "selector").clone(),
                "`selector` will be auto-generated",
            );
        }
        if part(job, "manualSelector").as_bool() == Some(true) {
            errors.not_supported(&path.child("manualSelector"), true, &["nil", "false"]);
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        schedule(spec, false, errors);
        time_zone(spec, errors);
        let name = meta::name(object);
        if name.len() > MAX_NAME {
            let path = Path::new("metadata").child("name");
            errors.invalid(&path, name, format!("must be no more than {MAX_NAME} characters"));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (new, old) = (part(new, "spec"), part(old, "spec"));
        schedule(new, text(old, "schedule").is_some_and(|s| s.contains("TZ")), errors);
        if new.get("timeZone") != old.get("timeZone") {
            time_zone(new, errors);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut all = if old.is_none() { name_makes_hostnames(object) } else { Vec::new() };
        if old.is_none_or(|o| meta::generation(o) != meta::generation(object)) {
            let spec = part(part(part(object, "spec"), "jobTemplate"), "spec");
            all.extend(job_spec::warnings(spec, &Path::new("spec").child("jobTemplate").child("spec")));
        }
        if old.is_some() && meta::str_at(object, &["spec", "schedule"]).contains("TZ") {
            // The path is upstream's.
            all.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
        }
        all
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = part(o, "spec");
        let job = part(part(spec, "jobTemplate"), "spec");
        let template = meta::at(job, &["template", "spec"]);
        let suspended = match part(spec, "suspend").as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let last = meta::str_at(o, &["status", "lastScheduleTime"]);
        vec![
            meta::name(o).into(),
            text(spec, "schedule").unwrap_or("").into(),
            text(spec, "timeZone").unwrap_or("<none>").into(),
            suspended.into(),
            list(part(o, "status"), "active").len().into(),
            if last.is_empty() { "<none>".into() } else { table::since(last, now).into() },
            table::age(o, now).into(),
            table::containers(template, "name").into(),
            table::containers(template, "image").into(),
            table::label_selector(job.get("selector")).into(),
        ]
    }
}

/// A time zone belongs into its own field; a schedule that had one before may keep it.
fn schedule(spec: &Value, zone_allowed: bool, errors: &mut ErrorList) {
    let Some(schedule) = text(spec, "schedule").filter(|s| !s.is_empty()) else { return };
    let path = Path::new("spec").child("schedule");
    if let Err(e) = Schedule::parse(schedule) {
        errors.invalid(&path, schedule, e);
    }
    if !schedule.contains("TZ") {
        return;
    }
    if !zone_allowed {
        errors.invalid(&path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if text(spec, "timeZone").is_some() {
        errors.invalid(&path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
}

fn time_zone(spec: &Value, errors: &mut ErrorList) {
    let Some(zone) = text(spec, "timeZone") else { return };
    let path = Path::new("spec").child("timeZone");
    if zone.is_empty() {
        errors.invalid(&path, zone, "timeZone must be nil or non-empty string");
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        errors.invalid(
            &path,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    // Go knows the zone of its machine under this name.
    if zone != "Local" && cron::time_zone(zone).is_none() {
        errors.invalid(&path, zone, format!("unknown time zone {zone}"));
    }
}
