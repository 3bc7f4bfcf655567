//! Applies configurations and reads who owns what.

use serde_json::{Value, json};

use super::{Api, Reply};

pub const APPLY: &str = "application/apply-patch+yaml";
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const MAP: &str = "/api/v1/namespaces/default/configmaps/a";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

/// The configuration of the ConfigMap `a`.
pub fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

pub async fn apply(api: &Api, path: &str, manager: &str, config: &Value) -> Reply {
    let separator = if path.contains('?') { '&' } else { '?' };
    api.patch(&format!("{path}{separator}fieldManager={manager}"), APPLY, config).await
}

/// (manager, operation, subresource) and fields of each entry.
pub fn owners(object: &Value) -> Vec<(String, Value)> {
    let all = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|e| {
            assert_eq!(e["fieldsType"], "FieldsV1", "{e}");
            let mut name = format!("{} {}", e["manager"].as_str().unwrap(), e["operation"].as_str().unwrap());
            if let Some(s) = e["subresource"].as_str() {
                name.push_str(&format!(" {s}"));
            }
            (name, e["fieldsV1"].clone())
        })
        .collect()
}

/// The fields of one entry.
#[track_caller]
pub fn owned_by<'a>(all: &'a [(String, Value)], name: &str) -> &'a Value {
    let found = all.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("no {name} among {all:?}")).1
}
