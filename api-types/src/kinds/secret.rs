//! Secrets.

use base64::Engine;
use serde_json::Value;

use super::configmap::{MAX_DATA, size, validate_sealed};
use super::key_pair;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{go_json, names, table};

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
        if bytes(data) > MAX_DATA {
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
            "kubernetes.io/dockerconfigjson" => registry_login(data, ".dockerconfigjson", errors),
            "kubernetes.io/dockercfg" => registry_login(data, ".dockercfg", errors),
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

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        if meta::str_at(object, &["type"]) != "kubernetes.io/tls" {
            return Vec::new();
        }
        let data = object.get("data");
        let of = |key| decoded(data, key).unwrap_or_default();
        key_pair::problem(&of("tls.crt"), &of("tls.key")).into_iter().collect()
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

/// How many bytes the data has once it is decoded.
fn bytes(data: Option<&Value>) -> usize {
    let texts = data.and_then(Value::as_object).into_iter().flatten().filter_map(|(_, v)| v.as_str());
    texts
        .map(|t| (t.len() / 4 * 3).saturating_sub(t.bytes().rev().take_while(|b| *b == b'=').count().min(2)))
        .sum()
}

fn decoded(data: Option<&Value>, key: &str) -> Option<Vec<u8>> {
    let text = data?.get(key)?.as_str()?;
    Some(base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default())
}

/// The credentials of a registry must be an object in JSON.
fn registry_login(data: Option<&Value>, key: &str, errors: &mut ErrorList) {
    let path = Path::new("data").key(key);
    let Some(login) = decoded(data, key) else {
        errors.required(&path, "");
        return;
    };
    let why = match serde_json::from_slice(&login) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_json::kind_of(&other)
        ),
        Err(e) => go_json::complaint(&login).unwrap_or_else(|| e.to_string()),
    };
    errors.invalid(&path, "<secret contents redacted>", why);
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
    fn logins_are_objects_in_json() {
        for (kind, key) in [
            ("kubernetes.io/dockercfg", ".dockercfg"),
            ("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
        ] {
            for (login, why) in [
                ("{}", None),
                ("null", None),
                ("", Some("unexpected end of JSON input")),
                ("x", Some("invalid character 'x' looking for beginning of value")),
                ("[]", Some("json: cannot unmarshal array into Go value of type map[string]interface {}")),
            ] {
                let mut errors = ErrorList::new();
                let login = base64::engine::general_purpose::STANDARD.encode(login);
                // What the other type keeps is nobody's business.
                let data = json!({key: login, ".other": "eA=="});
                Secret.validate(&json!({"type": kind, "data": data}), &mut errors);
                let want: Vec<String> = why
                    .map(|w| format!("data[{key}]: Invalid value: \"<secret contents redacted>\": {w}"))
                    .into_iter()
                    .collect();
                assert_eq!(errors.0.iter().map(ToString::to_string).collect::<Vec<_>>(), want, "{kind}");
            }
        }
    }

    #[test]
    fn a_megabyte_is_just_fine() {
        for (length, fits) in [(MAX_DATA, true), (MAX_DATA + 1, false)] {
            let mut errors = ErrorList::new();
            let data = base64::engine::general_purpose::STANDARD.encode(vec![0; length]);
            Secret.validate(&json!({"data": {"a": data}}), &mut errors);
            assert_eq!(errors.is_empty(), fits, "{length}");
        }
    }

    #[test]
    fn types_ask_for_their_keys() {
        let mut e = ErrorList::new();
        Secret.validate(&json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), &mut e);
        assert_eq!(e.0[0].to_string(), "data[tls.key]: Required value");
    }
}
