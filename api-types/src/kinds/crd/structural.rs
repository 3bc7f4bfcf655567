//! Structural schemas: every field and item has a type, and what is under `allOf` and the like only narrows values
//! (`apiextensions-apiserver/pkg/apiserver/schema`). Errors are sorted by their text, as upstream sorts them.

use serde_json::Value;

use super::complete;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{below, entries, flag, list, set, text};

pub const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
pub const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
pub const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const VALIDATIONS: &str = "x-kubernetes-validations";

/// What OpenAPI knows and structural schemas cannot say, and how messages call it.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("id", "id"),
    ("$schema", "schema"),
    ("$ref", "$ref"),
    ("patternProperties", "patternProperties"),
    ("dependencies", "dependencies"),
    ("additionalItems", "additionalItems"),
    ("definitions", "definitions"),
];

/// Where in an object a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Why a schema has no structural form at all.
pub fn unsupported(s: &Value) -> Option<String> {
    for (field, shown) in UNSUPPORTED {
        if set(s, field).is_some_and(|v| !is_empty(v)) {
            return Some(format!("OpenAPIV3Schema '{shown}' is not supported"));
        }
    }
    if set(s, PRESERVE).is_some() && !flag(s, PRESERVE) {
        return Some(format!("internal error: '{PRESERVE}' must be true or undefined"));
    }
    if !list(s, "items").is_empty() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".into());
    }
    let branches = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|j| list(s, j));
    let single = ["not", "items", "additionalProperties"].into_iter().filter_map(|f| schema_at(s, f));
    let properties = entries(s, "properties").map(|(_, p)| p);
    branches.chain(single).chain(properties).find_map(unsupported)
}

/// Whether a schema can be, and is, structural.
pub fn is_structural(s: &Value) -> bool {
    let mut errors = ErrorList::new();
    validate(s, &Path::new(""), &mut errors);
    unsupported(s).is_none() && errors.is_empty()
}

/// Reasons to refuse a schema that has a structural form.
pub fn validate(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let mut found = ErrorList::new();
    invariants(schema, Level::Root, path, &mut found);
    complete::validate(schema, schema, path, path, &mut found);
    found.0.sort_by_key(ToString::to_string);
    errors.0.append(&mut found.0);
}

/// The schema of a field that may also be a truth value or a list.
pub fn schema_at<'a>(s: &'a Value, field: &str) -> Option<&'a Value> {
    s.get(field).filter(|v| v.is_object())
}

fn is_empty(v: &Value) -> bool {
    match v {
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

fn invariants(s: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    let kind = text(s, "type");
    if kind == "array" && set(s, "items").is_none() {
        errors.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = schema_at(s, "items") {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    for (name, p) in entries(s, "properties") {
        invariants(p, Level::Field, &path.child("properties").key(name), errors);
    }
    if set(s, "additionalProperties").is_some() {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&path, "must not be used at the root");
        }
        if let Some(more) = schema_at(s, "additionalProperties") {
            invariants(more, Level::Field, &path, errors);
        }
        if flag(s, EMBEDDED) {
            errors.forbidden(&path, "must not be used if x-kubernetes-embedded-resource is set");
        }
    }
    for other in [PRESERVE, EMBEDDED] {
        if flag(s, INT_OR_STRING) && flag(s, other) {
            errors.invalid(&path.child(other), true, "must be false if x-kubernetes-int-or-string is true");
        }
    }
    let first = list(s, "allOf").first().is_some_and(|b| is_int_or_string(list(b, "anyOf")));
    values(s, is_int_or_string(list(s, "anyOf")), first, path, errors);
    type_rules(s, kind, level, path, errors);
    type_meta(s, level, path, errors);
    if flag(s, EMBEDDED) && !flag(s, PRESERVE) && entries(s, "properties").next().is_none() {
        errors.required(
            &path.child("properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
}

/// The one way to say under `anyOf` what a value is.
fn is_int_or_string(branches: &[Value]) -> bool {
    let only = |b: &Value, kind: &str| b.as_object().is_some_and(|b| b.len() == 1) && text(b, "type") == kind;
    matches!(branches, [a, b] if only(a, "integer") && only(b, "string"))
}

fn type_rules(s: &Value, kind: &str, level: Level, path: &Path, errors: &mut ErrorList) {
    let at = path.child("type");
    if flag(s, EMBEDDED) && kind != "object" {
        let text = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() { errors.required(&at, text) } else { errors.invalid(&at, kind, text) }
    } else if kind.is_empty() && !flag(s, INT_OR_STRING) && !flag(s, PRESERVE) {
        let text = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&at, text);
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.invalid(&at, kind, "must be object at the root");
    }
}

/// `kind`, `apiVersion` and `metadata` of whole objects.
fn type_meta(s: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    if level != Level::Root && !flag(s, EMBEDDED) {
        return;
    }
    let properties = below(s, "properties");
    for name in ["kind", "apiVersion"] {
        if let Some(p) = set(properties, name).filter(|p| text(p, "type") != "string") {
            let path = path.child("properties").key(name).child("type");
            errors.invalid(&path, text(p, "type"), "must be string");
        }
    }
    let Some(metadata) = set(properties, "metadata") else { return };
    let path = path.child("properties").key("metadata");
    if text(metadata, "type") != "object" {
        errors.invalid(&path.child("type"), text(metadata, "type"), "must be object");
    }
    let names_only = entries(metadata, "properties").all(|(n, _)| n == "name" || n == "generateName");
    // A default is refused elsewhere.
    let may = |field: &str| ["type", "properties", "default"].contains(&field);
    let bare =
        metadata.as_object().is_some_and(|m| m.iter().all(|(f, v)| may(f) || is_empty(v) || *v == false));
    if level == Level::Root && !(names_only && bare) {
        errors.forbidden(
            &path,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
}

/// Rules about values: those under `allOf` and the like, and patterns. `any` and `first` tell that `anyOf`, or that of
/// the first under `allOf`, says integer or string.
fn values(s: &Value, any: bool, first: bool, path: &Path, errors: &mut ErrorList) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        for (i, b) in list(s, junctor).iter().enumerate().filter(|_| !(junctor == "anyOf" && any)) {
            let skipped = junctor == "allOf" && i == 0 && first;
            nested(b, skipped, &path.child(junctor).index(i), errors);
        }
    }
    if let Some(not) = set(s, "not") {
        nested(not, false, &path.child("not"), errors);
    }
    let pattern = text(s, "pattern");
    if let Some(why) = super::pattern::problem(pattern) {
        let text = format!("must be a valid regular expression, but isn't: {why}");
        errors.invalid(&path.child("pattern"), pattern, text);
    }
}

/// A schema under a junctor: it says nothing of what a value is.
fn nested(s: &Value, any: bool, path: &Path, errors: &mut ErrorList) {
    values(s, any, false, path, errors);
    if let Some(items) = schema_at(s, "items") {
        nested(items, false, &path.child("items"), errors);
    }
    for (name, p) in entries(s, "properties") {
        nested(p, false, &path.child("properties").key(name), errors);
    }
    for (field, must) in [
        ("type", "empty"),
        ("title", "empty"),
        ("description", "empty"),
        ("additionalProperties", "undefined"),
        ("default", "undefined"),
        ("nullable", "false"),
        (PRESERVE, "false"),
        (EMBEDDED, "false"),
        (INT_OR_STRING, "false"),
        ("x-kubernetes-list-map-keys", "empty"),
        ("x-kubernetes-list-type", "undefined"),
        ("x-kubernetes-map-type", "undefined"),
        (VALIDATIONS, "empty"),
    ] {
        let said = |v: &Value| match must {
            "empty" => !is_empty(v),
            "false" => *v == true,
            // No further properties is what a schema says anyhow.
            _ => field != "additionalProperties" || *v != false,
        };
        if set(s, field).is_some_and(said) {
            errors.forbidden(&path.child(field), format!("must be {must} to be structural"));
        }
    }
    if set(below(s, "properties"), "metadata").is_some() {
        let path = path.child("properties").key("metadata");
        errors.forbidden(&path, "must not be specified in a nested context");
    }
}

#[cfg(test)]
mod tests;
