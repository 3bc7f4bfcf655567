//! Secrets.

use base64::Engine;
use serde_json::Value;

use super::configmap::{MAX_DATA, size, validate_sealed};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of secrets.
pub struct Secret;

impl Strategy for Secret {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        default_to(root, "type", "Opaque");
        // What is written as text becomes data, and is never read back as text.
        if let Some(Value::Object(texts)) = root.remove("stringData") {
            let data = object_mut(root, "data");
            for (k, v) in texts {
                let encoded = base64::engine::general_purpose::STANDARD.encode(v.as_str().unwrap_or(""));
                data.insert(k, encoded.into());
            }
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        // An update that leaves the type out keeps it.
        if new.get("type").is_none_or(|t| t == "")
            && let (Value::Object(root), Some(t)) = (new, old.get("type"))
        {
            root.insert("type".into(), t.clone());
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let data = object.get("data");
        for k in data.and_then(Value::as_object).into_iter().flat_map(|m| m.keys()) {
            errors.invalid_all(&Path::new("data").key(k), k, names::config_map_key(k));
        }
        if size(data).1 / 4 * 3 > MAX_DATA {
            errors.too_long(&Path::new("data"), MAX_DATA);
        }
        let has = |k: &str| data.is_some_and(|d| d.get(k).is_some());
        match meta::str_at(object, &["type"]) {
            "kubernetes.io/service-account-token" => {
                let path =
                    Path::new("metadata").child("annotations").key("kubernetes.io/service-account.name");
                if meta::str_at(object, &["metadata", "annotations", "kubernetes.io/service-account.name"])
                    .is_empty()
                {
                    errors.required(&path, "");
                }
            }
            "kubernetes.io/dockerconfigjson" if !has(".dockerconfigjson") => {
                errors.required(&Path::new("data").key(".dockerconfigjson"), "");
            }
            "kubernetes.io/dockerconfigjson" | "kubernetes.io/dockercfg" if !is_json(data) => {
                let key = if has(".dockercfg") { ".dockercfg" } else { ".dockerconfigjson" };
                errors.invalid(&Path::new("data").key(key), "<secret contents redacted>", "invalid JSON");
            }
            "kubernetes.io/dockercfg" if !has(".dockercfg") => {
                errors.required(&Path::new("data").key(".dockercfg"), "");
            }
            "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
                errors.required(&Path::new("data").key("username"), "");
                errors.required(&Path::new("data").key("password"), "");
            }
            "kubernetes.io/ssh-auth"
                if data.is_none_or(|d| d["ssh-privatekey"].as_str().is_none_or(str::is_empty)) =>
            {
                errors.required(&Path::new("data").key("ssh-privatekey"), "");
            }
            "kubernetes.io/tls" => {
                for k in ["tls.crt", "tls.key"] {
                    if !has(k) {
                        errors.required(&Path::new("data").key(k), "");
                    }
                }
            }
            _ => {}
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        errors.immutable(&Path::new("type"), new.get("type"), old.get("type"));
        validate_sealed(new, old, &["data"], errors);
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            meta::name(o).into(),
            meta::str_at(o, &["type"]).into(),
            size(o.get("data")).0.into(),
            table::age(o, now).into(),
        ]
    }
}

/// Whether the credentials of a registry, where there are any, are an object in JSON.
fn is_json(data: Option<&Value>) -> bool {
    let texts = [".dockerconfigjson", ".dockercfg"].into_iter().filter_map(|k| data?.get(k)?.as_str());
    texts
        .filter_map(|t| base64::engine::general_purpose::STANDARD.decode(t).ok())
        .all(|bytes| serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_becomes_data() {
        let mut o = json!({"stringData": {"a": "hi"}, "data": {"b": "eA=="}});
        Secret.default(&mut o);
        assert_eq!(o, json!({"type": "Opaque", "data": {"a": "aGk=", "b": "eA=="}}));
    }

    #[test]
    fn types_ask_for_their_keys() {
        let mut e = ErrorList::new();
        Secret.validate(&json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), &mut e);
        assert_eq!(e.0[0].to_string(), "data[tls.key]: Required value");
    }
}
