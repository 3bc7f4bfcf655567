//! Jobs (`pkg/registry/batch/job/strategy.go`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::check::{condition_is_true, int, list, name_makes_hostnames, part, text};
use super::workload::{self, count, label_selector};
use super::{drop_status, job_spec, job_status, keep_status, typed};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::selector::Selector;
use crate::{names, table};

/// The strategy of jobs.
pub struct Job;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// The same without a prefix, from before there was one.
const LEGACY_UID_LABEL: &str = "controller-uid";
const LEGACY_NAME_LABEL: &str = "job-name";

impl Strategy for Job {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        job_spec::defaults(spec);
        let labels = spec["template"]["metadata"].get("labels").cloned();
        let metadata = object_mut(root, "metadata");
        let own = metadata.get("labels").and_then(Value::as_object);
        if let Some(labels) = labels.filter(|_| own.is_none_or(serde_json::Map::is_empty)) {
            metadata.insert("labels".into(), labels);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        super::pod_disabled::drop(object, &Value::Null, &["spec", "template", "spec"]);
        object["status"] = json!({});
        generate_selector(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::pod_disabled::drop(new, old, &["spec", "template", "spec"]);
    }

    fn not_selectable(&self, field: &str) -> String {
        format!("field label {field:?} not supported for Job")
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        job_spec::validate(spec, &path, errors);
        let selector: LabelSelector = typed(spec.get("selector"));
        if part(spec, "selector").is_null() {
            errors.required(&path.child("selector"), "");
        } else {
            label_selector(&selector, &path.child("selector"), errors);
        }
        let parsed = if part(spec, "selector").is_null() {
            Some(Selector::nothing())
        } else {
            Selector::from_label_selector(&selector).ok()
        };
        workload::selects_template(parsed.as_ref(), part(spec, "template"), &path.child("template"), errors);
        let last = int(spec, "completions").filter(|n| *n > 0).map(|n| n - 1);
        if let Some(last) = last.filter(|_| text(spec, "completionMode") == Some(job_spec::INDEXED)) {
            let host = format!("{}-{last}", meta::name(object));
            if !names::dns1123_label(&host).is_empty() {
                errors.invalid(
                    &Path::new("metadata").child("name"),
                    meta::name(object),
                    format!("will not able to create pod with invalid DNS label: {host}"),
                );
            }
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        generated_selector(object, true, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let labels = meta::at(old, &["spec", "template", "metadata", "labels"]);
        let had = |l: &str| labels.is_some_and(|all| all.get(l).is_some());
        generated_selector(new, had(NAME_LABEL) && had(UID_LABEL), errors);
        let (new_spec, old_spec) = (part(new, "spec"), part(old, "spec"));
        let path = Path::new("spec");
        completions(new_spec, old_spec, &path, errors);
        errors.immutable(&path.child("selector"), new_spec.get("selector"), old_spec.get("selector"));
        template(part(new_spec, "template"), old, &path.child("template"), errors);
        for f in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
        {
            errors.immutable(&path.child(f), new_spec.get(f), old_spec.get(f));
        }
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        job_status::validate_update(new, old, errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut all = if old.is_none() { name_makes_hostnames(object) } else { Vec::new() };
        if old.is_none_or(|o| meta::generation(o) != meta::generation(object)) {
            all.extend(job_spec::warnings(part(object, "spec"), &Path::new("spec")));
        }
        all
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let succeeded = count(o, &["status", "succeeded"]);
        let parallelism = count(o, &["spec", "parallelism"]);
        let completions = match meta::at(o, &["spec", "completions"]).and_then(Value::as_i64) {
            Some(n) => format!("{succeeded}/{n}"),
            None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            None => format!("{succeeded}/1"),
        };
        let template = meta::at(o, &["spec", "template", "spec"]);
        vec![
            meta::name(o).into(),
            state(o).into(),
            completions.into(),
            duration(o, now).into(),
            table::age(o, now).into(),
            table::containers(template, "name").into(),
            table::containers(template, "image").into(),
            table::label_selector(meta::at(o, &["spec", "selector"])).into(),
        ]
    }
}

fn state(o: &Value) -> &'static str {
    let is = |c: &str| condition_is_true(o, c);
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if meta::is_deleting(o) {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn duration(o: &Value, now: jiff::Timestamp) -> String {
    let moment = |f: &str| meta::str_at(o, &["status", f]).parse::<jiff::Timestamp>().ok();
    let Some(start) = moment("startTime") else { return String::new() };
    let end = moment("completionTime").unwrap_or(now);
    table::human_duration(end.as_second() - start.as_second())
}

/// Selects the pods of this very Job, unless its creator selects by hand. Labels that are there stay; those that
/// do not fit are refused later.
fn generate_selector(object: &mut Value) {
    let (name, uid) = (meta::name(object).to_owned(), meta::uid(object).to_owned());
    let Value::Object(root) = object else { return };
    let spec = object_mut(root, "spec");
    if spec.get("manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let labels = object_mut(object_mut(object_mut(spec, "template"), "metadata"), "labels");
    for label in [LEGACY_NAME_LABEL, NAME_LABEL] {
        default_to(labels, label, name.as_str());
    }
    for label in [LEGACY_UID_LABEL, UID_LABEL] {
        default_to(labels, label, uid.as_str());
    }
    default_to(object_mut(object_mut(spec, "selector"), "matchLabels"), UID_LABEL, uid);
}

/// Refuses a selector and labels that are not those that [`generate_selector`] makes.
fn generated_selector(object: &Value, prefixed: bool, errors: &mut ErrorList) {
    let spec = part(object, "spec");
    if part(spec, "manualSelector").as_bool() == Some(true) || part(spec, "selector").is_null() {
        return;
    }
    let (name, uid) = (meta::name(object), meta::uid(object));
    let metadata = part(part(spec, "template"), "metadata");
    let path = Path::new("spec").child("template").child("metadata").child("labels");
    let mut expected = vec![(LEGACY_UID_LABEL, uid), (LEGACY_NAME_LABEL, name)];
    if prefixed {
        expected.extend([(UID_LABEL, uid), (NAME_LABEL, name)]);
    }
    for (label, want) in &expected {
        let why = format!("must be '{want}'");
        match text(part(metadata, "labels"), label) {
            None => errors.required(&path.key(label), &why),
            Some(is) if is != *want => {
                errors.invalid(&path.key(label), part(metadata, "labels").clone(), why)
            }
            Some(_) => {}
        }
    }
    let labels = expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let selector: LabelSelector = typed(spec.get("selector"));
    let labels: std::collections::BTreeMap<String, String> = labels;
    if Selector::from_label_selector(&selector).is_ok_and(|s| !s.matches(&labels)) {
        errors.invalid(
            &Path::new("spec").child("selector"),
            part(spec, "selector").clone(),
            "`selector` not auto-generated",
        );
    }
}

/// Completions may follow the parallelism of an Indexed Job and never change otherwise.
fn completions(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("completions");
    let (before, after) = (old.get("completions"), new.get("completions"));
    if text(new, "completionMode") != Some(job_spec::INDEXED) {
        errors.immutable(&path, after, before);
    } else if after.is_some() && before != after && after != new.get("parallelism") {
        errors.invalid(&path, after.cloned(), "can only be modified in tandem with spec.parallelism");
    }
}

/// The template may change only while a Job is suspended and has no pods: in where they are to run, and in what they ask
/// for.
fn template(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let mut allowed = meta::at(old, &["spec", "template"]).cloned().unwrap_or_default();
    let suspended = meta::at(old, &["spec", "suspend"]).and_then(Value::as_bool) == Some(true);
    let idle = count(old, &["status", "active"]) == 0;
    let rests = meta::str_at(old, &["status", "startTime"]).is_empty() || condition_is_true(old, "Suspended");
    let Value::Object(template) = &mut allowed else { return };
    if !(suspended && idle && rests) {
        errors.immutable(path, Some(new), Some(&allowed));
        return;
    }
    let (spec, new_spec) = (object_mut(template, "spec"), part(new, "spec"));
    take(spec, new_spec, &["nodeSelector", "tolerations", "schedulingGates"]);
    let mut affinity = spec.get("affinity").cloned().unwrap_or_else(|| json!({}));
    if let Value::Object(map) = &mut affinity {
        take(map, part(new_spec, "affinity"), &["nodeAffinity"]);
    }
    let none = affinity.as_object().is_none_or(serde_json::Map::is_empty);
    if none && part(new_spec, "affinity").is_null() {
        spec.remove("affinity");
    } else {
        spec.insert("affinity".into(), affinity);
    }
    for field in ["containers", "initContainers"] {
        let wanted = list(new_spec, field);
        if wanted.len() != spec.get(field).and_then(Value::as_array).map_or(0, Vec::len) {
            continue;
        }
        for (c, w) in super::pod_defaults::objects(spec.get_mut(field)).zip(wanted) {
            if c.get("name") == w.get("name") {
                take(c, w, &["resources"]);
            }
        }
    }
    errors.immutable(&path.child("spec"), Some(new_spec), template.get("spec"));
}

/// Makes some fields those of `from`.
fn take(to: &mut serde_json::Map<String, Value>, from: &Value, fields: &[&str]) {
    for f in fields {
        match from.get(f) {
            Some(v) => to.insert((*f).to_owned(), v.clone()),
            None => to.remove(*f),
        };
    }
}
