//! Reading and writing the metadata of an object that is a [`Value`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A path of fields from the root of an object.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |v, p| v.get(*p))
}

/// A text at a path; empty when it is not there.
pub fn str_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or("")
}

/// The object below `key`, made when it is missing or of another type.
pub fn object_mut<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(m) => m,
        _ => unreachable!("the slot was just made an object"),
    }
}

/// The metadata, made when it is missing. `object` must be a JSON object; anything else becomes one.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    match object {
        Value::Object(root) => object_mut(root, "metadata"),
        _ => unreachable!("the object was just made one"),
    }
}

/// One field of the metadata as text.
pub fn field<'a>(object: &'a Value, name: &str) -> &'a str {
    str_at(object, &["metadata", name])
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    field(object, "name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    field(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    field(object, "uid")
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> &str {
    field(object, "resourceVersion")
}

/// `metadata.generation`, 0 when absent.
pub fn generation(object: &Value) -> i64 {
    at(object, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether the object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|v| !v.is_null())
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<String> {
    let list = at(object, &["metadata", "finalizers"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Sets or clears `metadata.finalizers`.
pub fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    let m = metadata_mut(object);
    if finalizers.is_empty() {
        m.remove("finalizers");
    } else {
        m.insert("finalizers".into(), finalizers.into());
    }
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let map = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// A moment as the API writes it: whole seconds, UTC.
pub fn rfc3339(t: Timestamp) -> String {
    t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now, as the API writes it.
pub fn now() -> String {
    rfc3339(Timestamp::now())
}

/// Sets a field that is missing or null.
pub fn default_to(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    match map.get(key) {
        Some(v) if !v.is_null() => {}
        _ => {
            map.insert(key.to_owned(), value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_and_writes() {
        let mut o = json!({"metadata": {"name": "a", "finalizers": ["x"], "generation": 3}});
        assert_eq!(name(&o), "a");
        assert_eq!(namespace(&o), "");
        assert_eq!(generation(&o), 3);
        assert_eq!(finalizers(&o), vec!["x"]);
        set_finalizers(&mut o, vec![]);
        assert!(o["metadata"].get("finalizers").is_none());
        let mut none = Value::Null;
        metadata_mut(&mut none).insert("uid".into(), "u".into());
        assert_eq!(uid(&none), "u");
    }
}
