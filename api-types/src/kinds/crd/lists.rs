//! Lists and maps in schemas of custom resources: how they are merged, and what that asks of their items.

use serde_json::{Value, json};

use super::rules::Rules;
use super::structural::schema_at;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, below, flag, set, set_text, text, texts};

/// Reasons to refuse what a schema says of lists.
pub fn list_type(s: &Value, rules: &Rules, path: &Path, errors: &mut ErrorList) {
    let kind = set_text(s, "x-kubernetes-list-type");
    if kind.is_some() && text(s, "type") != "array" {
        wrong_type(s, "must be array if x-kubernetes-list-type is specified", path, errors);
    } else if rules.atomic_sets {
        set_items(s, path, errors);
    }
    let (at, at_keys) = (path.child("x-kubernetes-list-type"), path.child("x-kubernetes-list-map-keys"));
    if let Some(kind) = kind.filter(|k| !["atomic", "set", "map"].contains(k)) {
        errors.not_supported(&at, kind, &["atomic", "set", "map"]);
    }
    if !texts(s, "x-kubernetes-list-map-keys").is_empty() {
        let text = "must be map if x-kubernetes-list-map-keys is non-empty";
        match kind {
            None => errors.required(&at, text),
            Some("map") => {}
            Some(other) => errors.invalid(&at, other, text),
        }
    }
    if kind == Some("map") {
        map_list(s, path, &at_keys, errors);
    }
    if rules.map_keys {
        items_of_maps_and_sets(s, path, errors);
    }
}

/// An error about the type, in the form that fits a missing or another one.
fn wrong_type(s: &Value, detail: &str, path: &Path, errors: &mut ErrorList) {
    match text(s, "type") {
        "" => errors.required(&path.child("type"), detail),
        other => errors.invalid(&path.child("type"), other, detail),
    }
}

/// Reasons to refuse what a schema says of maps.
pub fn map_type(s: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(kind) = set_text(s, "x-kubernetes-map-type") else { return };
    if text(s, "type") != "object" {
        wrong_type(s, "must be object if x-kubernetes-map-type is specified", path, errors);
    }
    if !["atomic", "granular"].contains(&kind) {
        errors.not_supported(&path.child("x-kubernetes-map-type"), kind, &["atomic", "granular"]);
    }
}

/// Items of sets are compared as a whole.
pub fn set_items(s: &Value, path: &Path, errors: &mut ErrorList) {
    const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let Some(items) = schema_at(s, "items").filter(|_| text(s, "x-kubernetes-list-type") == "set") else {
        return;
    };
    let (path, list_type) = (path.child("items"), fields::shown(items, "x-kubernetes-list-type"));
    match text(items, "type") {
        "array" if !list_type.is_null() && list_type != "atomic" => {
            errors.invalid(&path.child("x-kubernetes-list-type"), list_type, DETAIL);
        }
        // Upstream shows the type of a list here, too.
        "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
            errors.invalid(&path.child("x-kubernetes-map-type"), list_type, DETAIL);
        }
        _ => {}
    }
}

fn map_list(s: &Value, path: &Path, at_keys: &Path, errors: &mut ErrorList) {
    let keys = texts(s, "x-kubernetes-list-map-keys");
    let at_items = path.child("items");
    if keys.is_empty() {
        errors.required(at_keys, "must not be empty if x-kubernetes-list-type is map");
    }
    let Some(items) = set(s, "items") else {
        errors.required(&at_items, "must have a schema if x-kubernetes-list-type is map");
        return;
    };
    if !items.is_object() {
        let text = "must only have a single schema if x-kubernetes-list-type is map";
        errors.invalid(&at_items, items.clone(), text);
        return;
    }
    let kind = text(items, "type");
    if kind != "object" {
        let text = "must be object if parent array's x-kubernetes-list-type is map";
        errors.invalid(&at_items.child("type"), kind, text);
        return;
    }
    for (i, key) in keys.iter().enumerate() {
        match set(below(items, "properties"), key) {
            None => {
                let text = "entries must all be names of item properties";
                errors.invalid(at_keys, json!(keys), text);
            }
            Some(p) if ["array", "object"].contains(&text(p, "type")) => {
                let at = at_items.child("properties").key(key).child("type");
                let text = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.invalid(&at, kind, text);
            }
            Some(_) => {}
        }
        if keys[..i].contains(key) {
            errors.invalid(at_keys, json!(keys), "must not contain duplicate entries");
        }
    }
}

/// Items of maps and sets are there, and so are the keys of maps.
pub fn items_of_maps_and_sets(s: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = text(s, "x-kubernetes-list-type");
    let Some(items) = schema_at(s, "items").filter(|_| ["set", "map"].contains(&kind)) else { return };
    let path = path.child("items");
    if flag(items, "nullable") {
        let text = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.forbidden(&path.child("nullable"), text);
    }
    if kind != "map" {
        return;
    }
    let required = texts(items, "required");
    for key in texts(s, "x-kubernetes-list-map-keys") {
        let Some(property) = set(below(items, "properties"), key) else { continue };
        let at = path.child("properties").key(key);
        if !required.contains(&key) && set(property, "default").is_none() {
            let text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&at.child("default"), text);
        }
        if flag(property, "nullable") {
            let text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&at.child("nullable"), text);
        }
    }
}
