//! Every pod runs as a service account, which must be there.

use api_types::catalog;
use api_types::meta::{self, default_to, object_mut};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin};
use crate::registry::read::Freshness;
use crate::registry::{Registry, parse_stored};

pub struct ServiceAccount;

/// Pods with this annotation mirror a file on a node and have no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation != Operation::Create || !a.is_core("pods") {
            return Ok(());
        }
        if !meta::str_at(a.object, &["metadata", "annotations", MIRROR]).is_empty() {
            return Ok(());
        }
        let Value::Object(root) = &mut *a.object else { return Ok(()) };
        let spec = object_mut(root, "spec");
        if spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("").is_empty() {
            spec.insert("serviceAccountName".into(), "default".into());
        }
        let name = spec["serviceAccountName"].as_str().unwrap_or("default").to_owned();
        spec.insert("serviceAccount".into(), name.clone().into());
        let Some(kind) = catalog::by_resource("", "v1", "serviceaccounts") else { return Ok(()) };
        let account = match registry.peek(kind, &a.namespace, &name) {
            Some(found) => found,
            None => registry.get(kind, &a.namespace, &name, Freshness::Consistent).await.map_err(|e| {
                // Upstream's lister names the resource in the singular.
                let why = match e.reason {
                    "NotFound" => format!("serviceaccount {name:?} not found"),
                    _ => e.message,
                };
                a.forbidden(&format!("error looking up service account {}/{name}: {why}", a.namespace))
            })?,
        };
        let secrets =
            parse_stored(&account.bytes)?.get("imagePullSecrets").cloned().unwrap_or_else(|| json!([]));
        if secrets.as_array().is_some_and(|s| !s.is_empty())
            && let Some(Value::Object(spec)) = a.object.get_mut("spec")
        {
            default_to(spec, "imagePullSecrets", secrets);
        }
        Ok(())
    }
}
