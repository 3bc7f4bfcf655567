//! Completeness of structural schemas: what a rule about a value speaks of is there outside of it, too. Only rules at
//! the root are looked at, as by upstream.

use serde_json::Value;

use super::structural::schema_at;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{below, entries, list, set};

/// What rules about values speak of must be there outside of them. `values` and `at` are the rules and their place,
/// `s` and `path` what they are about.
pub fn validate(values: &Value, s: &Value, path: &Path, at: &Path, errors: &mut ErrorList) {
    if let Some(not) = set(values, "not") {
        complete_below(not, Some(s), path, &at.child("not"), errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (i, b) in list(values, junctor).iter().enumerate() {
            complete_below(b, Some(s), path, &at.child(junctor).index(i), errors);
        }
    }
}

fn complete_below(values: &Value, s: Option<&Value>, path: &Path, at: &Path, errors: &mut ErrorList) {
    let Some(s) = s else {
        errors.required(path, &format!("because it is defined in {at}"));
        return;
    };
    validate(values, s, path, at, errors);
    if let Some(items) = schema_at(values, "items") {
        complete_below(items, schema_at(s, "items"), &path.child("items"), &at.child("items"), errors);
    }
    for (name, p) in entries(values, "properties") {
        let step = |path: &Path| path.child("properties").key(name);
        complete_below(p, set(below(s, "properties"), name), &step(path), &step(at), errors);
    }
}
