//! `/stats/summary`: CPU and memory of the node's containers, as the runtime counts them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::pod::context::PodContext;
use crate::runtime::labels;

/// The handler.
pub async fn summary(State(ctx): State<Arc<PodContext>>) -> Result<Json<Value>, (StatusCode, String)> {
    let stats = ctx
        .runtime
        .list_stats()
        .await
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let now = jiff::Timestamp::now().to_string();
    let mut pods: BTreeMap<(String, String, String), Vec<Value>> = BTreeMap::new();
    for stat in stats {
        let Some(attributes) = stat.attributes else { continue };
        let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
        let cpu = stat.cpu.unwrap_or_default();
        let memory = stat.memory.unwrap_or_default();
        let container = json!({
            "name": label(labels::CONTAINER_NAME),
            "startTime": now,
            "cpu": {
                "time": now,
                "usageNanoCores": cpu.usage_nano_cores.map_or(0, |value| value.value),
                "usageCoreNanoSeconds": cpu.usage_core_nano_seconds.map_or(0, |value| value.value),
            },
            "memory": { "time": now, "workingSetBytes": memory.working_set_bytes.map_or(0, |value| value.value) },
        });
        let key = (label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        pods.entry(key).or_default().push(container);
    }
    let pods: Vec<Value> = pods
        .into_iter()
        .map(|((namespace, name, uid), containers)| {
            json!({ "podRef": { "namespace": namespace, "name": name, "uid": uid }, "containers": containers })
        })
        .collect();
    Ok(Json(json!({ "node": { "nodeName": ctx.config.node_name }, "pods": pods })))
}
