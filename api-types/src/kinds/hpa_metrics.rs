//! The metrics an autoscaler goes by: what is refused, and what its table shows of them.

use serde_json::Value;

use super::check::{int, part, text};
use super::horizontalpodautoscaler::reference;
use super::{fields, resource_names};
use crate::field::{ErrorList, Path};
use crate::names;

/// (type, its field), in the order in which upstream looks at the fields.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// This many metrics are shown.
const SHOWN: usize = 2;

/// Reasons to refuse one metric.
pub fn validate(metric: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = text(metric, "type").unwrap_or("");
    let wanted = SOURCES.iter().find(|(t, _)| *t == kind).map(|(_, f)| *f);
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    if wanted.is_none() {
        errors.not_supported(&path.child("type"), kind, &TYPES);
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, f)| *f).filter(|f| fields::set(metric, f).is_some()).collect();
    if let Some(first) = present.first() {
        source(first, part(metric, first), &path.child(first), errors);
    }
    match wanted {
        None => errors.not_supported(&path.child("type"), kind, &TYPES),
        Some(w) if !present.contains(&w) => {
            errors.required(&path.child(w), "must populate information for the given metric source");
        }
        Some(_) => {}
    }
    if present.len() != 1 {
        for other in present.iter().filter(|f| Some(**f) != wanted) {
            errors.forbidden(&path.child(other), "must populate the given metric source only");
        }
    }
}

fn source(field: &str, source: &Value, path: &Path, errors: &mut ErrorList) {
    let target = part(source, "target");
    let has = |f: &str| fields::set(target, f).is_some();
    let of_target = path.child("target");
    match field {
        "object" => reference(part(source, "describedObject"), &path.child("describedObject"), errors),
        "containerResource" => container_resource(source, path, errors),
        "resource" if text(source, "name").unwrap_or("").is_empty() => {
            errors.required(&path.child("name"), "must specify a resource name");
        }
        _ => {}
    }
    if ["object", "external", "pods"].contains(&field) {
        identifier(part(source, "metric"), &path.child("metric"), errors);
    }
    validate_target(target, &of_target, errors);
    match field {
        "object" if !has("value") && !has("averageValue") => {
            errors
                .required(&of_target.child("averageValue"), "must set either a target value or averageValue");
        }
        "external" if !has("value") && !has("averageValue") => errors.required(
            &of_target.child("averageValue"),
            "must set either a target value for metric or a per-pod target",
        ),
        "external" if has("value") && has("averageValue") => errors.forbidden(
            &of_target.child("value"),
            "may not set both a target value for metric and a per-pod target",
        ),
        "pods" if !has("averageValue") => {
            errors.required(&of_target.child("averageValue"), "must specify a positive target averageValue")
        }
        "resource" | "containerResource" => match (has("averageUtilization"), has("averageValue")) {
            (false, false) => errors.required(
                &of_target.child("averageUtilization"),
                "must set either a target raw value or a target utilization",
            ),
            (true, true) => errors.forbidden(
                &of_target.child("averageValue"),
                "may not set both a target raw value and a target utilization",
            ),
            _ => {}
        },
        _ => {}
    }
}

fn container_resource(source: &Value, path: &Path, errors: &mut ErrorList) {
    match text(source, "name").unwrap_or("") {
        "" => errors.required(&path.child("name"), "must specify a resource name"),
        name => resource_names::of_container(name, &path.child("name"), errors),
    }
    match text(source, "container").unwrap_or("") {
        "" => errors.required(&path.child("container"), "must specify a container"),
        name => errors.invalid_all(&path.child("container"), name, names::dns1123_label(name)),
    }
}

fn identifier(metric: &Value, path: &Path, errors: &mut ErrorList) {
    match text(metric, "name").unwrap_or("") {
        "" => errors.required(&path.child("name"), "must specify a metric name"),
        name => errors.invalid_all(&path.child("name"), name, names::path_segment(name)),
    }
}

fn validate_target(target: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = text(target, "type").unwrap_or("");
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        errors.invalid(&path.child("type"), kind, "must be either Utilization, Value, or AverageValue");
    }
    for f in ["value", "averageValue"] {
        let amount = part(target, f);
        if resource_names::quantity(amount).is_some_and(|q| q.is_negative() || q.is_zero()) {
            errors.invalid(&path.child(f), amount.clone(), "must be positive");
        }
    }
    if let Some(n) = int(target, "averageUtilization").filter(|n| *n < 1) {
        errors.invalid(&path.child("averageUtilization"), n, "must be greater than 0");
    }
}

/// `cpu: 50%/80%`: what is there and what is aimed at.
pub fn targets(specs: &[Value], statuses: &[Value]) -> String {
    if specs.is_empty() {
        return "<none>".into();
    }
    let nothing = Value::Null;
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(i, spec)| one(spec, statuses.get(i).unwrap_or(&nothing)))
        .collect();
    let mut text = shown.join(", ");
    if specs.len() > SHOWN {
        text.push_str(&format!(" + {} more...", specs.len() - SHOWN));
    }
    text
}

fn one(spec: &Value, status: &Value) -> String {
    let kind = text(spec, "type").unwrap_or("");
    let Some((_, field)) = SOURCES.iter().find(|(t, _)| *t == kind) else {
        return "<unknown type>".into();
    };
    let source = part(spec, field);
    let (target, current) = (part(source, "target"), part(part(status, field), "current"));
    let amount = |f: &str| text(current, f).unwrap_or("<unknown>").to_owned();
    let wanted = |f: &str| text(target, f).unwrap_or("").to_owned();
    let average = fields::set(target, "averageValue").is_some();
    let name = text(source, "name").unwrap_or("");
    match (*field, average) {
        ("pods", _) => format!("{}/{}", amount("averageValue"), wanted("averageValue")),
        ("object" | "external", true) => {
            format!("{}/{} (avg)", amount("averageValue"), wanted("averageValue"))
        }
        ("object" | "external", false) => format!("{}/{}", amount("value"), wanted("value")),
        (_, true) => format!("{name}: {}/{}", amount("averageValue"), wanted("averageValue")),
        (_, false) => {
            let percent = |v: &Value| int(v, "averageUtilization").map(|n| format!("{n}%"));
            let is = percent(current).unwrap_or_else(|| "<unknown>".into());
            format!("{name}: {is}/{}", percent(target).unwrap_or_else(|| "<auto>".into()))
        }
    }
}
