//! What claims ask of devices, and what classes say about them. Expressions are kept, not compiled.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::fields::{self, below, int, list, set, text, texts};
use super::pod_defaults::objects;
use crate::field::{ErrorList, Path};
use crate::meta::default_to;
use crate::names;

const MAX_REQUESTS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_EXPRESSION: usize = 10 * 1024;
const MAX_PARAMETERS: usize = 10 * 1024;
const MAX_ID: usize = 32;
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// The requests of a claim, with the names of their alternatives.
pub type RequestNames<'a> = HashMap<&'a str, HashSet<&'a str>>;

/// Refuses a list that is too long; whether it is short enough to be looked into.
pub fn bounded(v: &Value, field: &str, max: usize, path: &Path, errors: &mut ErrorList) -> bool {
    let count = list(v, field).len();
    if count > max {
        errors.too_many(&path.child(field), count, max);
    }
    count <= max
}

/// Fills in what a claim's requests leave out.
pub fn defaults(devices: &mut Map<String, Value>) {
    for request in objects(devices.get_mut("requests")) {
        if let Some(Value::Object(exactly)) = request.get_mut("exactly") {
            request_defaults(exactly);
        }
        for alternative in objects(request.get_mut("firstAvailable")) {
            request_defaults(alternative);
        }
    }
}

fn request_defaults(request: &mut Map<String, Value>) {
    if request.get("allocationMode").and_then(Value::as_str).unwrap_or("").is_empty() {
        request.insert("allocationMode".into(), "ExactCount".into());
    }
    let counted = request["allocationMode"] == "ExactCount";
    if counted && request.get("count").and_then(Value::as_i64).unwrap_or(0) == 0 {
        request.insert("count".into(), 1.into());
    }
    for t in objects(request.get_mut("tolerations")) {
        default_to(t, "operator", "Equal");
    }
}

/// The names that constraints and configurations may refer to.
pub fn request_names(devices: &Value) -> RequestNames<'_> {
    let of = |r| list(r, "firstAvailable").iter().map(|a| text(a, "name")).collect();
    list(devices, "requests").iter().map(|r| (text(r, "name"), of(r))).collect()
}

/// Reasons to refuse what a claim asks.
pub fn claim(devices: &Value, path: &Path, errors: &mut ErrorList) {
    let known = request_names(devices);
    if bounded(devices, "requests", MAX_REQUESTS, path, errors) {
        let at = path.child("requests");
        for (i, r) in list(devices, "requests").iter().enumerate() {
            request(r, &at.index(i), errors);
        }
        unique_names(list(devices, "requests"), &at, errors);
    }
    if bounded(devices, "constraints", MAX_REQUESTS, path, errors) {
        for (i, c) in list(devices, "constraints").iter().enumerate() {
            constraint(c, &known, &path.child("constraints").index(i), errors);
        }
    }
    if bounded(devices, "config", MAX_REQUESTS, path, errors) {
        for (i, c) in list(devices, "config").iter().enumerate() {
            let path = path.child("config").index(i);
            request_refs(c, &known, &path, errors);
            opaque(c, &path, errors);
        }
    }
}

/// Refuses elements whose name another has.
pub fn unique_names(items: &[Value], path: &Path, errors: &mut ErrorList) {
    let all: Vec<&str> = items.iter().map(|i| text(i, "name")).collect();
    fields::no_repeats(&all, path, errors);
}

fn label(v: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    errors.invalid_all(&path.child(field), text(v, field), names::dns1123_label(text(v, field)));
}

fn request(r: &Value, path: &Path, errors: &mut ErrorList) {
    label(r, "name", path, errors);
    let alternatives = list(r, "firstAvailable");
    match (set(r, "exactly"), alternatives.is_empty()) {
        (None, true) => {
            errors.required(path, "exactly one of `exactly` or `firstAvailable` is required");
        }
        (Some(_), false) => errors.invalid(
            path,
            Value::Null,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        ),
        (Some(exactly), true) => one_request(exactly, &path.child("exactly"), errors),
        (None, false) => {
            if !bounded(r, "firstAvailable", MAX_ALTERNATIVES, path, errors) {
                return;
            }
            let at = path.child("firstAvailable");
            for (i, a) in alternatives.iter().enumerate() {
                label(a, "name", &at.index(i), errors);
                one_request(a, &at.index(i), errors);
            }
            unique_names(alternatives, &at, errors);
        }
    }
}

fn one_request(r: &Value, path: &Path, errors: &mut ErrorList) {
    fields::required_name(r, "deviceClassName", names::dns1123_subdomain, path, errors);
    selectors(r, path, errors);
    let (mode, count) = (text(r, "allocationMode"), int(r, "count"));
    match mode {
        "All" if count != 0 => {
            let text = format!("must not be specified when allocationMode is '{mode}'");
            errors.invalid(&path.child("count"), count, text);
        }
        "ExactCount" if count <= 0 => {
            errors.invalid(&path.child("count"), count, "must be greater than zero");
        }
        "All" | "ExactCount" => {}
        _ => errors.not_supported(&path.child("allocationMode"), mode, &["All", "ExactCount"]),
    }
    if !bounded(r, "tolerations", 16, path, errors) {
        return;
    }
    for (i, t) in list(r, "tolerations").iter().enumerate() {
        toleration(t, &path.child("tolerations").index(i), errors);
    }
}

/// Reasons to refuse selectors of devices, beyond what compiling would find.
pub fn selectors(owner: &Value, path: &Path, errors: &mut ErrorList) {
    if !bounded(owner, "selectors", MAX_REQUESTS, path, errors) {
        return;
    }
    for (i, s) in list(owner, "selectors").iter().enumerate() {
        let path = path.child("selectors").index(i).child("cel");
        match set(s, "cel") {
            None => errors.required(&path, ""),
            Some(cel) if text(cel, "expression").len() > MAX_EXPRESSION => {
                errors.too_long(&path.child("expression"), MAX_EXPRESSION);
            }
            Some(_) => {}
        }
    }
}

/// Reasons to refuse a toleration of a taint of devices.
pub fn toleration(t: &Value, path: &Path, errors: &mut ErrorList) {
    let (key, value) = (text(t, "key"), text(t, "value"));
    if !key.is_empty() {
        fields::label_name(key, &path.child("key"), errors);
    }
    match text(t, "operator") {
        "Exists" if !value.is_empty() => {
            errors.invalid(&path.child("value"), value, "must be empty for operator `Exists`");
        }
        "Exists" => {}
        "Equal" => errors.invalid_all(&path.child("value"), value, names::label_value(value)),
        "" => errors.required(&path.child("operator"), ""),
        other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
    }
    if !text(t, "effect").is_empty() {
        fields::word(t, "effect", EFFECTS, path, errors);
    }
}

/// Reasons to refuse a taint of a device.
pub fn taint(t: &Value, path: &Path, errors: &mut ErrorList) {
    fields::label_name(text(t, "key"), &path.child("key"), errors);
    let value = text(t, "value");
    errors.invalid_all(&path.child("value"), value, names::label_value(value));
    if fields::required(t, "effect", path, errors).is_some() {
        fields::word(t, "effect", EFFECTS, path, errors);
    }
}

fn constraint(c: &Value, known: &RequestNames<'_>, path: &Path, errors: &mut ErrorList) {
    request_refs(c, known, path, errors);
    for field in ["matchAttribute", "distinctAttribute"] {
        if let Some(name) = fields::set_text(c, field) {
            qualified(name, &path.child(field), errors);
            if !name.contains('/') {
                let text = "a fully qualified name must be a domain and a name separated by a slash";
                errors.invalid(&path.child(field), name, text);
            }
            return;
        }
    }
    let text =
        "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
    errors.required(path, text);
}

/// Reasons to refuse the names of requests that something is for.
pub fn request_refs(owner: &Value, known: &RequestNames<'_>, path: &Path, errors: &mut ErrorList) {
    if !bounded(owner, "requests", MAX_REQUESTS, path, errors) {
        return;
    }
    let (all, path) = (texts(owner, "requests"), path.child("requests"));
    for (i, name) in all.iter().enumerate() {
        request_ref(name, known, &path.index(i), errors);
    }
    fields::no_repeats(&all, &path, errors);
}

/// Reasons to refuse the name of a request, or of one of its alternatives.
pub fn request_ref(name: &str, known: &RequestNames<'_>, path: &Path, errors: &mut ErrorList) {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 {
        errors.invalid(path, name, NO_REQUEST);
        return;
    }
    for p in &parts {
        errors.invalid_all(path, p, names::dns1123_label(p));
    }
    let found = known.get(parts[0]).is_some_and(|alternatives| {
        parts.get(1).is_none_or(|alternative| alternatives.contains(alternative))
    });
    if !found {
        errors.invalid(path, name, NO_REQUEST);
    }
}

/// Reasons to refuse a configuration for a driver.
pub fn opaque(config: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("opaque");
    let Some(o) = set(config, "opaque") else {
        errors.required(&path, "");
        return;
    };
    fields::driver_name(text(o, "driver"), &path.child("driver"), errors);
    json_object(below(o, "parameters"), MAX_PARAMETERS, &path.child("parameters"), errors);
}

/// Refuses what is no object of JSON, or too long a one.
pub fn json_object(v: &Value, max: usize, path: &Path, errors: &mut ErrorList) {
    if v.is_null() {
        errors.required(path, "");
    } else if v.to_string().len() > max {
        errors.too_long(path, max);
    } else if !v.is_object() {
        errors.invalid(path, "<value omitted>", "must be a valid JSON object");
    }
}

/// The name of an attribute or a capacity: a C identifier, below a domain if need be.
pub fn qualified(name: &str, path: &Path, errors: &mut ErrorList) {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            if domain.is_empty() {
                errors.invalid(path, "", "the domain must not be empty");
            } else {
                fields::driver_name(domain, path, errors);
            }
            if id.is_empty() {
                errors.invalid(path, "", "the name must not be empty");
            } else {
                identifier(id, path, errors);
            }
        }
        _ => errors.invalid(path, name, "must not contain more than one slash"),
    }
}

fn identifier(id: &str, path: &Path, errors: &mut ErrorList) {
    if id.len() > MAX_ID {
        errors.too_long(path, MAX_ID);
    }
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    if id.is_empty() || id.starts_with(|c: char| c.is_ascii_digit()) || !id.bytes().all(word) {
        errors.invalid(
            path,
            id,
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
        );
    }
}
