//! Paths of fields that definitions name: where a scale is kept, what columns show, what can be selected by.

use std::collections::HashSet;

use serde_json::Value;

use super::path;
use super::rules::MAX_SELECTABLE;
use super::structural::unsupported;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, set, text};

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// Reasons to refuse where a scale is kept.
pub fn scale(subresources: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(scale) = set(subresources, "scale") else { return };
    let path = path.child("scale");
    for (field, roots, required) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."][..], true),
        ("labelSelectorPath", &[".spec.", ".status."][..], false),
    ] {
        let (value, at) = (text(scale, field), path.child(field));
        if value.is_empty() {
            if required {
                errors.required(&at, "");
            }
        } else if !value.starts_with('.') {
            errors.invalid(&at, value, "must be a simple json path starting with .");
        } else if !roots.iter().any(|r| value.starts_with(r)) {
            let place = match roots {
                [one] => format!("should be a json path under {}", one.trim_end_matches('.')),
                _ => "should be a json path under either .spec or .status".into(),
            };
            errors.invalid(&at, value, place);
        }
    }
}

/// Reasons to refuse columns of tables.
pub fn columns(columns: &[Value], path: &Path, errors: &mut ErrorList) {
    for (i, c) in columns.iter().enumerate() {
        let path = path.index(i);
        fields::required(c, "name", &path, errors);
        let (kind, format, json_path) = (text(c, "type"), text(c, "format"), text(c, "jsonPath"));
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        if kind.is_empty() {
            errors.required(&path.child("type"), &types);
        } else if !COLUMN_TYPES.contains(&kind) {
            errors.invalid(&path.child("type"), kind, types);
        }
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let text = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.invalid(&path.child("format"), format, text);
        }
        if json_path.is_empty() {
            errors.required(&path.child("JSONPath"), "");
        } else if !json_path.starts_with('.') {
            let text = "must be a simple json path starting with .";
            errors.invalid(&path.child("JSONPath"), json_path, text);
        }
    }
}

/// Reasons to refuse fields to select by; `path` is what has the schema.
pub fn selectable(all: &[Value], schema: &Value, many: bool, path: &Path, errors: &mut ErrorList) {
    if let Some(why) = unsupported(schema) {
        errors.invalid(&path.child("schema").child("openAPIV3Schema"), "", why);
        return;
    }
    let path = path.child("selectableFields");
    let mut seen = HashSet::new();
    for (i, f) in all.iter().enumerate() {
        let (at, given) = (path.index(i).child("jsonPath"), text(f, "jsonPath"));
        if given.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let found = match path::find(given, schema, false) {
            Ok(found) => found,
            Err(why) => {
                errors.invalid(&at, given, format!("is an invalid path: {why}"));
                continue;
            }
        };
        if found.root == "metadata" {
            errors.invalid(&at, given, "must not point to fields in metadata");
        }
        let kind = found.schema.map_or("", |s| text(s, "type"));
        if !["string", "boolean", "integer"].contains(&kind) {
            let text = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.invalid(&at, given, text);
        }
        if !seen.insert(found.path) {
            errors.duplicate(&at, given);
        }
    }
    if seen.len() > MAX_SELECTABLE && !many {
        errors.too_many(&path, seen.len(), MAX_SELECTABLE);
    }
}
