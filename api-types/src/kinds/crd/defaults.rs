//! Defaults in schemas: they have no field that their schema does not know, and are valid values themselves.
//!
//! Rules in expressions are not evaluated, and metadata within defaults is only looked at as a value.

use serde_json::Value;

use super::structural::{EMBEDDED, PRESERVE, schema_at};
use super::value;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{below, entries, flag, set};

const META: &[&str] = &["apiVersion", "kind", "metadata"];

/// Reasons to refuse the defaults in a structural schema; `pruned` tells whether unknown fields are one.
pub fn validate(schema: &Value, pruned: bool, path: &Path, errors: &mut ErrorList) {
    visit(schema, true, false, path, &mut |s, whole, inside_meta, path| {
        let (at, default) = (path.child("default"), below(s, "default"));
        if pruned && !inside_meta && !is_pruned(s, whole) {
            errors.invalid(&at, default.clone(), "must not have unknown fields");
        }
        value::validate(default, s, &at, errors);
    });
}

/// Whether no default has a field that its schema does not know.
pub fn are_pruned(schema: &Value) -> bool {
    let mut all = true;
    visit(schema, true, false, &Path::new(""), &mut |s, whole, inside_meta, _| {
        all &= inside_meta || is_pruned(s, whole);
    });
    all
}

/// Calls `found` for each schema that has a default, with whether it is that of a whole object, and whether it stands
/// within the metadata of one.
fn visit(
    s: &Value,
    root: bool,
    inside_meta: bool,
    path: &Path,
    found: &mut dyn FnMut(&Value, bool, bool, &Path),
) {
    let whole = root || flag(s, EMBEDDED);
    let inside_meta = inside_meta && !whole;
    if set(s, "default").is_some() {
        found(s, whole, inside_meta, path);
    }
    if let Some(items) = schema_at(s, "items") {
        visit(items, false, inside_meta, &path.child("items"), found);
    }
    for (name, p) in entries(s, "properties") {
        let meta = inside_meta || (whole && META.contains(&name.as_str()));
        visit(p, false, meta, &path.child("properties").key(name), found);
    }
}

fn is_pruned(s: &Value, whole: bool) -> bool {
    let mut default = below(s, "default").clone();
    prune(&mut default, Some(s), whole);
    default == *below(s, "default")
}

/// Takes out what the schema does not know. Kind, version and metadata of a `whole` object are always known.
fn prune(value: &mut Value, s: Option<&Value>, whole: bool) {
    let keeps_unknown = s.is_some_and(|s| flag(s, PRESERVE));
    match (value, s) {
        (Value::Object(fields), Some(s)) => fields.retain(|name, v| {
            if whole && META.contains(&name.as_str()) {
                return true;
            }
            if let Some(p) = set(below(s, "properties"), name) {
                prune(v, Some(p), flag(p, EMBEDDED));
            } else if set(s, "additionalProperties").is_some() {
                let more = schema_at(s, "additionalProperties");
                prune(v, more, more.is_some_and(|m| flag(m, EMBEDDED)));
            } else {
                return keeps_unknown;
            }
            true
        }),
        (Value::Object(fields), None) => fields.clear(),
        (Value::Array(all), s) => {
            let items = s.and_then(|s| schema_at(s, "items"));
            // A list that keeps what is unknown has no schema for its items to hold against them.
            if items.is_some() || !keeps_unknown {
                all.iter_mut().for_each(|v| prune(v, items, items.is_some_and(|i| flag(i, EMBEDDED))));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults() {
        let field = |s: Value| json!({"type": "object", "properties": {"a": s}});
        for (schema, want) in [
            (field(json!({"type": "integer", "default": 1, "minimum": 1})), vec![]),
            (field(json!({"type": "string", "default": null})), vec![]),
            (
                field(json!({"type": "object", "default": {"b": 1}})),
                vec!["s.properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields"],
            ),
            (field(json!({"type": "object", "default": {"b": 1}, PRESERVE: true})), vec![]),
            (
                field(
                    json!({"type": "object", "default": {"b": 1}, "additionalProperties": {"type": "integer"}}),
                ),
                vec![],
            ),
            (
                field(json!({"type": "object", "default": {"b": {"c": 1}}, "additionalProperties": true})),
                vec![
                    "s.properties[a].default: Invalid value: {\"b\":{\"c\":1}}: must not have unknown fields",
                ],
            ),
            (
                field(
                    json!({"type": "array", "items": {"type": "object", "properties": {"b": {"type": "integer",
                    "default": "x"}}}}),
                ),
                vec![
                    "s.properties[a].items.properties[b].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
                ],
            ),
        ] {
            let mut errors = ErrorList::new();
            validate(&schema, true, &Path::new("s"), &mut errors);
            let got: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(got, want, "{schema}");
            assert_eq!(are_pruned(&schema), !got.iter().any(|e| e.contains("unknown")), "{schema}");
        }
    }
}
