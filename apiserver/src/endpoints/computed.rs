//! Kinds whose objects are made for each request and kept nowhere: get and list, without watches and writes.
//!
//! [`objects`] is the whole seam: it makes the objects of a kind that its catalog entry calls computed.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::catalog::Kind;
use api_types::meta;
use api_types::status::Status;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Call;
use super::respond::{self, Answer};
use crate::request::negotiate::Form;
use crate::server::Server;

/// How long a component may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// GET of one object.
pub async fn get(call: &Call<'_>) -> Answer {
    let name = &call.info.name;
    let found = objects(call.server, call.kind).await.into_iter().find(|o| meta::name(o) == name);
    // Upstream has no reason for it either.
    let object = found.ok_or_else(|| Status::new(500, "", format!("component not found: {name}")))?;
    Ok(respond::object(StatusCode::OK, call.kind, object, call.form))
}

/// LIST of them all.
pub async fn list(call: &Call<'_>) -> Answer {
    let (labels, fields) = (call.query.label_selector()?, call.query.field_selector()?);
    let mut all = objects(call.server, call.kind).await;
    all.retain(|o| {
        labels.matches(&BTreeMap::new()) && fields.matches(|f| (f == "metadata.name").then(|| meta::name(o)))
    });
    let list_meta = json!({});
    let body = match call.form {
        Form::Table => {
            let now = Timestamp::now();
            let rows = all.iter().map(|o| respond::row(call.kind, o, now)).collect();
            respond::table(call.kind, rows, list_meta)
        }
        Form::Metadata => json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": list_meta, "items": all.iter().map(respond::partial).collect::<Vec<_>>()}),
        Form::Object => {
            json!({"kind": format!("{}List", call.kind.kind), "apiVersion": call.kind.api_version(),
            "metadata": list_meta, "items": all})
        }
    };
    Ok(respond::json(StatusCode::OK, &body))
}

async fn objects(server: &Server, kind: &Kind) -> Vec<Value> {
    match kind.plural {
        "componentstatuses" => component_statuses(server).await,
        _ => Vec::new(),
    }
}

/// The store is asked; scheduler and controllers serve no health of their own, so nothing is said of them.
async fn component_statuses(server: &Server) -> Vec<Value> {
    let store = timeout(PATIENCE, server.registry().storage().current_revision()).await;
    let healthy = store.is_ok_and(|r| r.is_ok());
    let named =
        |name: &str| json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name}});
    let mut etcd = named("etcd-0");
    etcd["conditions"] = if healthy {
        json!([{"type": "Healthy", "status": "True", "message": "ok"}])
    } else {
        json!([{"type": "Healthy", "status": "False", "message": "the store does not answer"}])
    };
    vec![named("controller-manager"), named("scheduler"), etcd]
}
