//! LimitRanges.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::check::{list, part, text};
use super::pod_defaults::objects;
use super::resource_names::{self, quantity};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::names;
use crate::quantity::{Format, Quantity};

/// The strategy of limit ranges.
pub struct LimitRange;

const MAPS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

impl Strategy for LimitRange {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        for item in objects(object_mut(root, "spec").get_mut("limits")) {
            if item.get("type").and_then(Value::as_str) == Some("Container") {
                container_defaults(item);
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        // The one kind that needs no name: it is given a unique one, and the uid is.
        if meta::name(object).is_empty() {
            let name = meta::uid(object).to_owned();
            meta::metadata_mut(object).insert("name".into(), name.into());
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let path = Path::new("spec").child("limits");
        let mut seen = HashSet::new();
        for (i, item) in list(part(object, "spec"), "limits").iter().enumerate() {
            let path = path.index(i);
            let kind = text(item, "type").unwrap_or("");
            limit_type(kind, &path.child("type"), errors);
            if !seen.insert(kind) {
                errors.duplicate(&path.child("type"), kind);
            }
            limits(item, kind, &path, errors);
        }
    }
}

/// A limit follows the maximum, a request the limit and then the minimum.
fn container_defaults(item: &mut Map<String, Value>) {
    let amounts = |item: &Map<String, Value>, f: &str| {
        item.get(f).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (max, min) = (amounts(item, "max"), amounts(item, "min"));
    let limits = object_mut(item, "default");
    for (name, amount) in max {
        default_to(limits, &name, amount);
    }
    let limits = limits.clone();
    let requests = object_mut(item, "defaultRequest");
    for (name, amount) in limits.into_iter().chain(min) {
        default_to(requests, &name, amount);
    }
    for f in ["default", "defaultRequest"] {
        if amounts(item, f).is_empty() {
            item.remove(f);
        }
    }
}

fn limit_type(kind: &str, path: &Path, errors: &mut ErrorList) {
    let reasons = names::qualified_name(kind);
    let fine = reasons.is_empty();
    errors.invalid_all(path, kind, reasons);
    if fine && !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind) {
        errors.invalid(path, kind, "must be a standard limit type or fully qualified");
    }
}

fn limits(item: &Value, kind: &str, path: &Path, errors: &mut ErrorList) {
    let mut resources = BTreeSet::new();
    for field in MAPS {
        let map = part(item, field).as_object().filter(|m| !m.is_empty());
        if kind == "Pod" && ["default", "defaultRequest"].contains(&field) {
            if map.is_some() {
                errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, _) in map.into_iter().flatten() {
            let path = path.child(field).key(name);
            if ["Pod", "Container"].contains(&kind) {
                resource_names::of_container(name, &path, errors);
            } else {
                resource_names::any(name, &path, errors);
            }
            resources.insert(name.as_str());
        }
    }
    let has_storage = |f: &str| part(item, f).get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !has_storage("min") && !has_storage("max") {
        errors.required(
            &path.child("limits"),
            "either minimum or maximum storage value is required, but neither was provided",
        );
    }
    for name in resources {
        resource(item, kind, name, path, errors);
    }
}

/// The five amounts of one resource must be in order.
fn resource(item: &Value, kind: &str, name: &str, path: &Path, errors: &mut ErrorList) {
    let amount = |field: &str| {
        let hidden = kind == "Pod" && ["default", "defaultRequest"].contains(&field);
        let value = part(item, field).get(name).filter(|_| !hidden)?;
        Some((quantity(value)?, value.as_str().unwrap_or("")))
    };
    // (smaller, its name, larger, its name, the field blamed, whether the smaller is shown)
    for (a, a_name, b, b_name, field, first) in [
        ("min", "min value", "max", "max value", "min", true),
        ("min", "min value", "defaultRequest", "default request value", "defaultRequest", false),
        ("defaultRequest", "default request value", "max", "max value", "defaultRequest", true),
        ("defaultRequest", "default request value", "default", "default limit value", "defaultRequest", true),
        ("min", "min value", "default", "default value", "default", true),
        ("default", "default value", "max", "max value", "default", false),
    ] {
        if let (Some((x, x_text)), Some((y, y_text))) = (amount(a), amount(b))
            && x > y
        {
            let shown = if first { x_text } else { y_text };
            let why = format!("{a_name} {x_text} is greater than {b_name} {y_text}");
            errors.invalid(&path.child(field).key(name), shown, why);
        }
    }
    ratio(amount("maxLimitRequestRatio"), amount("min"), amount("max"), name, path, errors);
    if let (false, Some((d, limit)), Some((r, request))) =
        (resource_names::may_overcommit(name), amount("default"), amount("defaultRequest"))
        && d != r
    {
        let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
        errors.invalid(&path.child("defaultRequest").key(name), request, why);
    }
}

type Amount<'a> = Option<(Quantity, &'a str)>;

fn ratio(ratio: Amount, min: Amount, max: Amount, name: &str, path: &Path, errors: &mut ErrorList) {
    let Some((ratio, shown)) = ratio else { return };
    let path = path.child("maxLimitRequestRatio").key(name);
    if ratio < Quantity::from_value(1, Format::DecimalSi) {
        errors.invalid(&path, shown, format!("ratio {shown} is less than 1"));
    }
    let (Some((min, _)), Some((max, _))) = (min, max) else { return };
    // Printed with six digits, compared as the same floating point number.
    #[allow(clippy::cast_precision_loss)]
    let (asked, limit) =
        (ratio.milli_value() as f64 / 1000.0, max.milli_value() as f64 / min.milli_value() as f64);
    if asked > limit {
        errors.invalid(&path, shown, format!("ratio {shown} is greater than max/min = {limit:.6}"));
    }
}
