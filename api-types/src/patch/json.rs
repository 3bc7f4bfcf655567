//! JSON patch as upstream applies it, which is more forgiving than RFC 6902 (its library is evanphx/json-patch 4).
//!
//! `replace` also adds a field that is not there, an operation without a `value` means null, an index may be counted from
//! the end, and a field that is null is as good as none except to be removed. Clients rely on the first of these. Why an
//! operation does not fit is not shown to clients; the texts are for logs.

use serde_json::{Map, Value};

use super::PatchError;
use crate::go_json;

/// What `copy` operations may add: a small patch must not make a huge object.
const MAX_COPIED: usize = 3 * 1024 * 1024;
/// Operations of one patch.
const MAX_OPERATIONS: usize = 10_000;

static NULL: Value = Value::Null;

/// Applies the patch. When it fails, `object` may be half changed.
pub fn json_patch(object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let mut copied = 0;
    for operation in operations(patch)? {
        apply(object, operation, &mut copied).map_err(PatchError::NotApplicable)?;
    }
    Ok(())
}

fn operations(patch: &Value) -> Result<&Vec<Value>, PatchError> {
    let unreadable = |found: &Value, what: &str| {
        let found = go_json::kind_of(found);
        PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type jsonpatch.{what}"
        ))
    };
    let operations = patch.as_array().ok_or_else(|| unreadable(patch, "Patch"))?;
    if let Some(odd) = operations.iter().find(|o| !o.is_object() && !o.is_null()) {
        return Err(unreadable(odd, "Operation"));
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    Ok(operations)
}

fn apply(object: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), String> {
    let kind = operation.get("op").and_then(Value::as_str).unwrap_or("unknown");
    let at = |field: &str| {
        let pointer = operation.get(field).and_then(Value::as_str);
        pointer.ok_or_else(|| format!("{kind} operation has no {field}"))
    };
    let value = operation.get("value");
    match kind {
        "add" => add(object, at("path")?, value.unwrap_or(&NULL).clone()),
        "remove" => remove(object, at("path")?),
        "replace" => replace(object, at("path")?, value),
        "move" => {
            let from = at("from")?;
            let moved = get(object, from)?.clone();
            remove(object, from)?;
            add(object, at("path")?, moved)
        }
        "copy" => {
            let source = get(object, at("from")?)?.clone();
            *copied += if source.is_null() { 0 } else { source.to_string().len() };
            if *copied > MAX_COPIED {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                ));
            }
            add(object, at("path")?, source)
        }
        "test" => {
            let path = at("path")?;
            let found = if path.is_empty() { object } else { get(object, path)? };
            let same = if found.is_null() { value.is_none_or(Value::is_null) } else { value == Some(found) };
            if same { Ok(()) } else { Err(format!("testing value {path} failed")) }
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// The steps to what a pointer names and the last one. What is before the first slash is not looked at.
fn steps(pointer: &str) -> Option<(Vec<String>, String)> {
    let mut steps: Vec<_> = pointer.split('/').skip(1).map(unescaped).collect();
    let last = steps.pop()?;
    Some((steps, last))
}

fn unescaped(step: &str) -> String {
    let mut parts = step.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.as_bytes().first() {
            Some(b'0') => text.push_str(&format!("~{}", &part[1..])),
            Some(b'1') => text.push_str(&format!("/{}", &part[1..])),
            _ => text.push_str(&format!("~{part}")),
        }
    }
    text
}

/// A place among `len` elements as Go reads it, from the end when it is negative.
fn index(step: &str, len: usize) -> Result<usize, String> {
    let number: i64 = step.parse().map_err(|_| format!("value was not a proper array index: '{step}'"))?;
    let from_start = if number < 0 { number.checked_add_unsigned(len as u64) } else { Some(number) };
    from_start
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| format!("Unable to access invalid index: {number}"))
}

fn element(step: &str, len: usize) -> Result<usize, String> {
    let i = index(step, len)?;
    if i < len { Ok(i) } else { Err(format!("Unable to access invalid index: {i}")) }
}

fn missing(pointer: &str) -> String {
    format!("doc is missing path: {pointer:?}")
}

/// What holds the thing a pointer names, and its name there.
fn holder<'a>(object: &'a mut Value, pointer: &str) -> Result<(&'a mut Value, String), String> {
    let (path, last) = steps(pointer).ok_or_else(|| missing(pointer))?;
    let mut here = object;
    for step in path {
        here = match here {
            Value::Object(map) => map.get_mut(&step),
            Value::Array(list) => element(&step, list.len()).ok().map(|i| &mut list[i]),
            _ => None,
        }
        .ok_or_else(|| missing(pointer))?;
    }
    if here.is_object() || here.is_array() { Ok((here, last)) } else { Err(missing(pointer)) }
}

/// What is there; null for a field that is not.
fn get<'a>(object: &'a mut Value, pointer: &str) -> Result<&'a Value, String> {
    let (holder, last) = holder(object, pointer)?;
    Ok(match holder {
        Value::Array(list) => &list[element(&last, list.len())?],
        other => other.get(&last).unwrap_or(&NULL),
    })
}

fn add(object: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    let (holder, last) = holder(object, pointer)?;
    match holder {
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => {
            // Counted from the end, the place behind the last element is -1.
            let i = element(&last, list.len() + 1)?;
            list.insert(i, value);
        }
        other => set(other, last, value),
    }
    Ok(())
}

fn remove(object: &mut Value, pointer: &str) -> Result<(), String> {
    let (holder, last) = holder(object, pointer)?;
    let gone = match holder {
        Value::Array(list) => {
            let i = element(&last, list.len())?;
            Some(list.remove(i))
        }
        other => other.as_object_mut().and_then(|map| map.remove(&last)),
    };
    gone.map(drop).ok_or_else(|| format!("Unable to remove nonexistent key: {last}"))
}

fn replace(object: &mut Value, pointer: &str, value: Option<&Value>) -> Result<(), String> {
    if pointer.is_empty() {
        let whole = value.filter(|v| v.is_object() || v.is_array());
        *object = whole.ok_or("replace operation value must be object or array")?.clone();
        return Ok(());
    }
    let value = value.unwrap_or(&NULL).clone();
    let (holder, last) = holder(object, pointer)?;
    match holder {
        Value::Array(list) => {
            let i = element(&last, list.len())?;
            list[i] = value;
        }
        other => set(other, last, value),
    }
    Ok(())
}

fn set(holder: &mut Value, name: String, value: Value) {
    if let Value::Object(map) = holder {
        let map: &mut Map<String, Value> = map;
        map.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_do_what_upstreams_do() {
        let object = json!({"a": 1, "n": null, "l": [1, 2, 3], "m": {"x/y": {"~z": 1}}});
        for (operation, wanted) in [
            (json!({"op": "replace", "path": "/new", "value": 2}), Some(("/new", json!(2)))),
            (json!({"op": "replace", "path": "/a"}), Some(("/a", Value::Null))),
            (json!({"op": "replace", "path": "/l/3", "value": 2}), None),
            (json!({"op": "replace", "path": "/l/-1", "value": 9}), Some(("/l", json!([1, 2, 9])))),
            (json!({"op": "replace", "path": "/none/a", "value": 2}), None),
            (json!({"op": "replace", "path": "", "value": {"b": 1}}), Some(("", json!({"b": 1})))),
            (json!({"op": "replace", "path": "", "value": 1}), None),
            (json!({"op": "add", "path": "/l/1", "value": 9}), Some(("/l", json!([1, 9, 2, 3])))),
            (json!({"op": "add", "path": "/l/3", "value": 9}), Some(("/l", json!([1, 2, 3, 9])))),
            (json!({"op": "add", "path": "/l/4", "value": 9}), None),
            (json!({"op": "add", "path": "/l/-1", "value": 9}), Some(("/l", json!([1, 2, 3, 9])))),
            (json!({"op": "add", "path": "/l/-", "value": 9}), Some(("/l", json!([1, 2, 3, 9])))),
            (json!({"op": "add", "path": "/l/x", "value": 9}), None),
            (json!({"op": "add", "path": "/m/x~1y/~0z"}), Some(("/m/x~1y/~0z", Value::Null))),
            (json!({"op": "add", "path": "/n/a", "value": 1}), None),
            (json!({"op": "add", "path": "/a/a", "value": 1}), None),
            (json!({"op": "add", "path": "", "value": {}}), None),
            (json!({"op": "add", "path": "ignored/b", "value": 1}), Some(("/b", json!(1)))),
            (json!({"op": "remove", "path": "/n"}), Some(("/a", json!(1)))),
            (json!({"op": "remove", "path": "/none"}), None),
            (json!({"op": "remove", "path": "/l/-3"}), Some(("/l", json!([2, 3])))),
            (json!({"op": "remove", "path": "/l/-4"}), None),
            (json!({"op": "move", "from": "/l/0", "path": "/b"}), Some(("/b", json!(1)))),
            (json!({"op": "move", "from": "/none", "path": "/b"}), None),
            (json!({"op": "copy", "from": "/none", "path": "/b"}), Some(("/b", Value::Null))),
            (json!({"op": "copy", "from": "/l", "path": "/b"}), Some(("/b", json!([1, 2, 3])))),
            (json!({"op": "test", "path": "/a", "value": 1}), Some(("/a", json!(1)))),
            (json!({"op": "test", "path": "/a", "value": 1.0}), None),
            (json!({"op": "test", "path": "/a"}), None),
            (json!({"op": "test", "path": "/none", "value": null}), Some(("/a", json!(1)))),
            (json!({"op": "test", "path": "", "value": object.clone()}), Some(("/a", json!(1)))),
            (json!({"op": "jump", "path": "/a"}), None),
            (json!({"op": "remove"}), None),
            (Value::Null, None),
        ] {
            let mut changed = object.clone();
            let result = json_patch(&mut changed, &json!([operation]));
            match wanted {
                Some((pointer, value)) => {
                    result.unwrap();
                    assert_eq!(changed.pointer(pointer), Some(&value), "{operation}");
                }
                None => {
                    assert!(matches!(result, Err(PatchError::NotApplicable(_))), "{operation}: {result:?}")
                }
            }
        }
    }

    #[test]
    fn patches_are_bounded_and_lists_of_operations() {
        let run = |patch: Value| json_patch(&mut json!({"a": "x".repeat(2 << 20)}), &patch).unwrap_err();
        assert_eq!(
            run(json!(["x"])).to_string(),
            "json: cannot unmarshal string into Go value of type jsonpatch.Operation"
        );
        assert!(matches!(run(json!({"op": 1})), PatchError::Malformed(_)));
        let many = vec![json!({"op": "test", "path": "/b", "value": null}); 10_001];
        assert!(matches!(run(Value::from(many)), PatchError::TooLarge(_)));
        let copy = json!({"op": "copy", "from": "/a", "path": "/b"});
        assert!(run(json!([copy, copy])).to_string().contains("accumulated size"));
    }
}
