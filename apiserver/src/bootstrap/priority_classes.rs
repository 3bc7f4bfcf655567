//! The two priority classes of the system.

use std::sync::Arc;

use api_types::kinds::priorityclass::SYSTEM;
use api_types::status::Status;
use serde_json::json;

use super::{ensure, kind};
use crate::registry::Write;
use crate::server::Server;

/// Puts them in place.
pub async fn run(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    let kind = kind("scheduling.k8s.io", "priorityclasses")?;
    for (name, value, description) in SYSTEM {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "description": description});
        ensure(server, kind, "", class, write).await?;
    }
    Ok(())
}
