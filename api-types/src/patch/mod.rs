//! The patch languages a client may speak.

pub mod strategic;

use serde_json::Value;

use crate::go_json;

/// A patch cannot be read or does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed: the client's error.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: a failed test, a missing path.
    #[error("{0}")]
    NotApplicable(String),
    /// The patch asks for too much work.
    #[error("{0}")]
    TooLarge(String),
}

/// What `copy` operations may add: a small patch must not make a huge object.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// RFC 6902. At most 10,000 operations, as upstream bounds them. When it fails, `object` may be half changed.
pub fn json_patch(object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    const MAX_OPERATIONS: usize = 10_000;
    if patch.as_array().is_some_and(|ops| ops.len() > MAX_OPERATIONS) {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            patch.as_array().map_or(0, Vec::len)
        )));
    }
    if !patch.is_array() {
        let found = go_json::kind_of(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type jsonpatch.Patch"
        )));
    }
    // Operations are looked at only when they are applied.
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| PatchError::NotApplicable(e.to_string()))?;
    let mut copied = 0;
    for operation in &patch.0 {
        if let json_patch::PatchOperation::Copy(copy) = operation {
            copied += object.pointer(copy.from.as_str()).map_or(0, |v| v.to_string().len());
            if copied > MAX_COPIED {
                return Err(PatchError::NotApplicable(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
        }
        json_patch::patch(object, std::slice::from_ref(operation))
            .map_err(|e| PatchError::NotApplicable(e.to_string()))?;
    }
    Ok(())
}

/// RFC 7386: objects merge, null removes, everything else replaces.
pub fn merge_patch(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = object {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge_patch(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patch_follows_the_rfc() {
        let mut o = json!({"a": "b", "c": {"d": "e", "f": "g"}, "l": [1, 2]});
        merge_patch(&mut o, &json!({"a": "z", "c": {"f": null, "n": {"x": null}}, "l": [3]}));
        assert_eq!(o, json!({"a": "z", "c": {"d": "e", "n": {}}, "l": [3]}));
    }

    #[test]
    fn json_patch_tells_bad_patches_from_bad_fits() {
        let mut o = json!({"a": 1});
        json_patch(&mut o, &json!([{"op": "replace", "path": "/a", "value": 2}])).unwrap();
        assert_eq!(o, json!({"a": 2}));
        assert!(matches!(json_patch(&mut o, &json!({"op": 1})), Err(PatchError::Malformed(_))));
        let failed = json_patch(&mut o, &json!([{"op": "test", "path": "/a", "value": 3}]));
        assert!(matches!(failed, Err(PatchError::NotApplicable(_))));
        assert_eq!(o, json!({"a": 2}));
    }
}
