//! The ServiceCIDR `kubernetes`: the service network of the command line, as an object.

use std::sync::Arc;

use api_types::meta;
use api_types::status::Status;
use serde_json::{Value, json};

use super::{ensure, kind};
use crate::registry::read::Freshness;
use crate::registry::{Part, UpdateOptions, Write, parse_stored};
use crate::server::Server;

const NAME: &str = "kubernetes";

/// Puts it in place, and says that it may be used.
pub async fn run(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    let (registry, kind) = (server.registry(), kind("networking.k8s.io", "servicecidrs")?);
    let network = registry.allocators().network();
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": NAME}, "spec": {"cidrs": [network]}});
    ensure(server, kind, "", object, write).await?;
    let there = parse_stored(&registry.get(kind, "", NAME, Freshness::Consistent).await?.bytes)?;
    if there["spec"]["cidrs"][0] != network.as_str() {
        // As upstream: the object stays, and a person must see to it.
        tracing::warn!(object = %there["spec"]["cidrs"], network, "the ServiceCIDR kubernetes has another range");
        return Ok(());
    }
    if meta::at(&there, &["status", "conditions"]).is_some() {
        return Ok(());
    }
    let options = UpdateOptions { create: false, retry: true, part: Part::Status };
    let derive = |current: Option<&Value>| {
        let mut new = current.cloned().unwrap_or_else(|| there.clone());
        new["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "",
            "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": meta::now()}]);
        Ok(new)
    };
    registry.update(kind, "", NAME, options, write, derive).await.map(drop)
}
