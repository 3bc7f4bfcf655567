//! Nothing is created in a namespace that is not there or is ending, and some namespaces never end.

use api_types::catalog;
use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;

use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::read::Freshness;
use crate::registry::{Registry, parse_stored};

pub struct NamespaceLifecycle;

const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation == Operation::Delete && a.is_core("namespaces") && IMMORTAL.contains(&a.name.as_str())
        {
            return Err(a.forbidden("this namespace may not be deleted"));
        }
        if a.operation != Operation::Create || !a.kind.namespaced() || a.namespace.is_empty() {
            return Ok(());
        }
        let Some(namespaces) = catalog::by_resource("", "v1", "namespaces") else { return Ok(()) };
        let found = match registry.peek(namespaces, "", &a.namespace) {
            Some(n) => n,
            // The cache may lag behind a namespace that was created a moment ago elsewhere.
            None => registry.get(namespaces, "", &a.namespace, Freshness::Consistent).await?,
        };
        if !found.index.is_deleting() {
            return Ok(());
        }
        let mut s = a.forbidden(&format!(
            "unable to create new content in namespace {} because it is being terminated",
            a.namespace
        ));
        let object = parse_stored(&found.bytes)?;
        if let serde_json::Value::Object(d) = &mut s.details {
            d.insert(
                "causes".into(),
                serde_json::json!([{"reason": "NamespaceTerminating",
                    "message": format!("namespace {} is being terminated", meta::name(&object)),
                    "field": "metadata.namespace"}]),
            );
        }
        Err(s)
    }
}
