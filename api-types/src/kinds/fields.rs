//! Readers and checks of single fields, over the JSON form of objects, that the strategies of plain kinds share.
//!
//! An absent field, a null and (where Go has no pointer) the zero value are the same, as in upstream's structs.

use std::collections::HashSet;

use serde_json::Value;

use super::{typed, workload};
use crate::field::{ErrorList, Path};
use crate::{names, quantity::Quantity};

/// What a condition can be, as messages list it.
pub const CONDITION_STATUSES: &[&str] = &["False", "True", "Unknown"];

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;
const REASON_FORMAT: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";

/// What is below a field; null where there is nothing.
pub fn below<'a>(v: &'a Value, field: &str) -> &'a Value {
    static NULL: Value = Value::Null;
    v.get(field).unwrap_or(&NULL)
}

/// The elements of a list; none where there is no list.
pub fn list<'a>(v: &'a Value, field: &str) -> &'a [Value] {
    v.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text; empty where there is none.
pub fn text<'a>(v: &'a Value, field: &str) -> &'a str {
    v.get(field).and_then(Value::as_str).unwrap_or("")
}

/// A field that is there and not null.
pub fn set<'a>(v: &'a Value, field: &str) -> Option<&'a Value> {
    v.get(field).filter(|f| !f.is_null())
}

/// A text that is there, which may be empty.
pub fn set_text<'a>(v: &'a Value, field: &str) -> Option<&'a str> {
    v.get(field).and_then(Value::as_str)
}

/// A whole number; 0 where there is none.
pub fn int(v: &Value, field: &str) -> i64 {
    v.get(field).and_then(Value::as_i64).unwrap_or(0)
}

/// A truth value; false where there is none.
pub fn flag(v: &Value, field: &str) -> bool {
    v.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// The texts of a list.
pub fn texts<'a>(v: &'a Value, field: &str) -> Vec<&'a str> {
    list(v, field).iter().filter_map(Value::as_str).collect()
}

/// The value of a field, for messages; null where there is none.
pub fn shown(v: &Value, field: &str) -> Value {
    v.get(field).cloned().unwrap_or_default()
}

/// The entries of a map.
pub fn entries<'a>(v: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    v.get(field).and_then(Value::as_object).into_iter().flatten()
}

/// Refuses a field of text that is there and none of `supported`.
pub fn word(v: &Value, field: &str, supported: &[&str], path: &Path, errors: &mut ErrorList) {
    if let Some(w) = set_text(v, field).filter(|w| !supported.contains(w)) {
        errors.not_supported(&path.child(field), w, supported);
    }
}

/// Refuses an empty text; gives it where it is not.
pub fn required<'a>(v: &'a Value, field: &str, path: &Path, errors: &mut ErrorList) -> Option<&'a str> {
    let t = text(v, field);
    if t.is_empty() {
        errors.required(&path.child(field), "");
        return None;
    }
    Some(t)
}

/// Refuses a text that is empty or for which `rule` has reasons.
pub fn required_name(
    v: &Value,
    field: &str,
    rule: fn(&str) -> Vec<String>,
    path: &Path,
    errors: &mut ErrorList,
) {
    if let Some(t) = required(v, field, path, errors) {
        errors.invalid_all(&path.child(field), t, rule(t));
    }
}

/// Refuses a field that has changed.
pub fn unchanged(new: &Value, old: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    if differs(new, old, field) {
        errors.invalid(path, shown(new, field), "field is immutable");
    }
}

/// Whether a field differs; absent, null and empty are the same.
pub fn differs(new: &Value, old: &Value, field: &str) -> bool {
    let there = |v: &Value| v.get(field).filter(|f| !is_empty(f)).cloned();
    there(new) != there(old)
}

fn is_empty(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// Reasons to refuse a label selector, if there is one.
pub fn selector(v: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    selector_of(v, field, false, path, errors);
}

/// The same; with `any_value` its expressions may ask for values that no label has, as stored ones may.
pub fn selector_of(v: &Value, field: &str, any_value: bool, path: &Path, errors: &mut ErrorList) {
    if let Some(s) = set(v, field) {
        workload::label_selector_of(&typed(Some(s)), any_value, &path.child(field), errors);
    }
}

/// Whether there is a label selector that would be refused.
pub fn has_bad_selector(v: &Value, field: &str) -> bool {
    let mut errors = ErrorList::new();
    selector(v, field, &Path::new(field), &mut errors);
    !errors.is_empty()
}

/// Reasons to refuse the key of a label.
pub fn label_name(key: &str, path: &Path, errors: &mut ErrorList) {
    errors.invalid_all(path, key, names::qualified_name(key));
}

/// Reasons to refuse the name of a CSI driver.
pub fn driver_name(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > 63 {
        errors.too_long(path, 63);
    }
    errors.invalid_all(path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

/// Refuses elements of a list of texts that repeat an earlier one.
pub fn no_repeats(items: &[&str], path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, item) in items.iter().enumerate() {
        if !seen.insert(*item) {
            errors.duplicate(&path.index(i), *item);
        }
    }
}

/// Refuses an amount below zero.
pub fn non_negative_quantity(v: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    let amount = set_text(v, field).and_then(|t| t.parse::<Quantity>().ok());
    if amount.is_some_and(|q| q.is_negative()) {
        errors.invalid(&path.child(field), text(v, field), "must be greater than or equal to 0");
    }
}

/// Reasons to refuse conditions of the standard type (`metav1.Condition`).
pub fn conditions(v: &Value, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, c) in list(v, "conditions").iter().enumerate() {
        let path = path.child("conditions").index(i);
        let kind = text(c, "type");
        if !seen.insert(kind) {
            errors.duplicate(&path.child("type"), kind);
        }
        label_name(kind, &path.child("type"), errors);
        if !CONDITION_STATUSES.contains(&text(c, "status")) {
            errors.not_supported(&path.child("status"), text(c, "status"), CONDITION_STATUSES);
        }
        if int(c, "observedGeneration") < 0 {
            let n = int(c, "observedGeneration");
            errors.invalid(&path.child("observedGeneration"), n, "must be greater than or equal to zero");
        }
        if set(c, "lastTransitionTime").is_none() {
            errors.required(&path.child("lastTransitionTime"), "");
        }
        if let Some(reason) = required(c, "reason", &path, errors) {
            condition_reason(reason, &path.child("reason"), errors);
        }
        if text(c, "message").len() > MAX_MESSAGE {
            errors.too_long(&path.child("message"), MAX_MESSAGE);
        }
    }
}

fn condition_reason(reason: &str, path: &Path, errors: &mut ErrorList) {
    let word = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let b = reason.as_bytes();
    let shaped = b.first().is_some_and(u8::is_ascii_alphabetic)
        && b.last().is_some_and(word)
        && b.iter().all(|c| word(c) || matches!(c, b',' | b':'));
    if !shaped {
        let text = format!(
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '{REASON_FORMAT}')"
        );
        errors.invalid(path, reason, text);
    }
    if reason.len() > MAX_REASON {
        errors.too_long(path, MAX_REASON);
    }
}
