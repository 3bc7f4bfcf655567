//! The patch languages a client may speak.

mod json;
pub mod strategic;

pub use json::json_patch;
use serde_json::Value;

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
}
