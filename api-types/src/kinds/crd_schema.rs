//! Schemas of custom resources: what must hold for them to be structural
//! (`apiextensions-apiserver/pkg/apiserver/schema/validation.go`). Expressions in them are not compiled yet.

use serde_json::Value;

use super::fields::{self, below, entries, flag, list, set, text};
use crate::field::{ErrorList, Path};

/// Where in an object a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Sorted, as messages list them.
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// What OpenAPI knows and a structural schema must not have.
const UNSUPPORTED: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
/// Schemas deeper than this are not looked into; bodies are bounded below it.
const MAX_DEPTH: usize = 128;
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// Reasons to refuse the schema of a version; `path` is its `openAPIV3Schema`.
pub fn validate(schema: &Value, path: &Path, errors: &mut ErrorList) {
    if flag(schema, "nullable") {
        errors.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
    }
    let mut structural = ErrorList::new();
    invariants(schema, Level::Root, path, 0, &mut structural);
    structural.0.sort_by_key(ToString::to_string);
    errors.0.append(&mut structural.0);
    openapi(schema, path, 0, errors);
}

fn invariants(s: &Value, level: Level, path: &Path, depth: usize, errors: &mut ErrorList) {
    if depth > MAX_DEPTH {
        return;
    }
    let kind = text(s, "type");
    if kind == "array" && set(s, "items").is_none() {
        errors.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = s.get("items").filter(|i| i.is_object()) {
        invariants(items, Level::Item, &path.child("items"), depth + 1, errors);
    }
    for (name, p) in entries(s, "properties") {
        // The metadata of the root may say nothing but how names look, which is checked below.
        if !(level == Level::Root && name == "metadata") {
            invariants(p, Level::Field, &path.child("properties").key(name), depth + 1, errors);
        }
    }
    if let Some(more) = set(s, "additionalProperties") {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&path, "must not be used at the root");
        }
        if more.is_object() {
            invariants(more, Level::Field, &path, depth + 1, errors);
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
    junctors(s, path, depth, errors);
    type_rules(s, kind, level, path, errors);
    type_meta(s, level, path, errors);
    if flag(s, EMBEDDED) && !flag(s, PRESERVE) && entries(s, "properties").next().is_none() {
        errors.required(
            &path.child("properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
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
    let bare = metadata.as_object().is_some_and(|m| m.keys().all(|k| k == "type" || k == "properties"));
    if level == Level::Root && !(names_only && bare) {
        errors.forbidden(
            &path,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
}

/// Schemas under `allOf` and the like only narrow what is specified outside.
fn junctors(s: &Value, path: &Path, depth: usize, errors: &mut ErrorList) {
    let either = |any: &[Value]| {
        any.len() == 2
            && any.iter().all(|a| a.as_object().is_some_and(|a| a.len() == 1))
            && text(&any[0], "type") == "integer"
            && text(&any[1], "type") == "string"
    };
    for junctor in ["anyOf", "allOf", "oneOf"] {
        let branches = list(s, junctor);
        if junctor == "anyOf" && flag(s, INT_OR_STRING) && either(branches) {
            continue;
        }
        for (i, b) in branches.iter().enumerate() {
            let exempt = junctor == "allOf" && i == 0 && flag(s, INT_OR_STRING) && either(list(b, "anyOf"));
            if !exempt {
                nested(b, &path.child(junctor).index(i), depth + 1, errors);
            }
        }
    }
    if let Some(not) = set(s, "not") {
        nested(not, &path.child("not"), depth + 1, errors);
    }
}

fn nested(s: &Value, path: &Path, depth: usize, errors: &mut ErrorList) {
    if depth > MAX_DEPTH {
        return;
    }
    junctors(s, path, depth, errors);
    if let Some(items) = s.get("items").filter(|i| i.is_object()) {
        nested(items, &path.child("items"), depth + 1, errors);
    }
    for (name, p) in entries(s, "properties") {
        nested(p, &path.child("properties").key(name), depth + 1, errors);
    }
    for (field, what) in [("type", "empty"), ("additionalProperties", "undefined")] {
        if set(s, field).is_some() {
            errors.forbidden(&path.child(field), format!("must be {what} to be structural"));
        }
    }
    for field in ["title", "description", "default", "nullable"] {
        let there = set(s, field).is_some_and(|v| *v != false && *v != "");
        if there {
            let what = if field == "nullable" { "false" } else { "undefined" };
            let what = if field == "title" || field == "description" { "empty" } else { what };
            errors.forbidden(&path.child(field), format!("must be {what} to be structural"));
        }
    }
    for field in [PRESERVE, EMBEDDED, INT_OR_STRING] {
        if flag(s, field) {
            errors.forbidden(&path.child(field), "must be false to be structural");
        }
    }
}

/// What the OpenAPI standard allows.
fn openapi(s: &Value, path: &Path, depth: usize, errors: &mut ErrorList) {
    if depth > MAX_DEPTH {
        return;
    }
    let kind = text(s, "type");
    if !kind.is_empty() {
        fields::word(s, "type", TYPES, path, errors);
    }
    for field in UNSUPPORTED.iter().filter(|f| set(s, f).is_some()) {
        errors.forbidden(&path.child(field), format!("{field} is not supported"));
    }
    if flag(s, "uniqueItems") {
        errors.forbidden(
            &path.child("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    if set(s, "additionalProperties").is_some() && entries(s, "properties").next().is_some() {
        let text = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(&path.child("additionalProperties"), text);
    }
    list_type(s, path, errors);
    for (name, p) in entries(s, "properties") {
        openapi(p, &path.child("properties").key(name), depth + 1, errors);
    }
    match set(s, "items") {
        Some(Value::Array(_)) => {
            errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
        }
        Some(items) => openapi(items, &path.child("items"), depth + 1, errors),
        None => {}
    }
    if let Some(more) = s.get("additionalProperties").filter(|m| m.is_object()) {
        openapi(more, &path.child("additionalProperties"), depth + 1, errors);
    }
}

fn list_type(s: &Value, path: &Path, errors: &mut ErrorList) {
    let (kind, keys) = (text(s, "x-kubernetes-list-type"), fields::texts(s, "x-kubernetes-list-map-keys"));
    if kind.is_empty() {
        return;
    }
    if text(s, "type") != "array" {
        let at = path.child("type");
        let text_of = "must be array if x-kubernetes-list-type is specified";
        match text(s, "type") {
            "" => errors.required(&at, text_of),
            other => errors.invalid(&at, other, text_of),
        }
    }
    fields::word(s, "x-kubernetes-list-type", &["atomic", "map", "set"], path, errors);
    let at = path.child("x-kubernetes-list-map-keys");
    if !keys.is_empty() && kind != "map" {
        let text = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.invalid(&path.child("x-kubernetes-list-type"), kind, text);
    }
    if kind != "map" {
        return;
    }
    if keys.is_empty() {
        errors.required(&at, "must not be empty if x-kubernetes-list-type is map");
    }
    let items = below(s, "items");
    let required = fields::texts(items, "required");
    for (i, key) in keys.iter().enumerate() {
        let Some(property) = set(below(items, "properties"), key) else {
            errors.invalid(&at.index(i), *key, "entries must all be names of item properties");
            continue;
        };
        let at = path.child("items").child("properties").key(key);
        if !required.contains(key) && set(property, "default").is_none() {
            let text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&at.child("default"), text);
        }
        if flag(property, "nullable") {
            let text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&at.child("nullable"), text);
        }
    }
}
