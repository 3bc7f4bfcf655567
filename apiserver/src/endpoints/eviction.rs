//! `pods/eviction`: a deletion that asks first. Disruption budgets are not served yet, so nothing objects.

use api_types::status::Status;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::respond::{self, Answer};
use super::{Call, delete};
use crate::registry::Write;
use crate::request::body;
use crate::request::query::Query;

pub async fn evict(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    let bytes = body::read(call.take_body()).await?;
    let sent = body::parse(&bytes, media)
        .map_err(|e| {
            Status::bad_request(format!(
                "the object provided is unrecognized (must be of type Eviction): {e}"
            ))
        })?
        .value;
    let name = api_types::meta::name(&sent);
    if !name.is_empty() && name != call.info.name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Eviction object: {name} != {}",
            call.info.name
        )));
    }
    let inner = sent.get("deleteOptions").map(Value::to_string).unwrap_or_default();
    let (options, dry_run) = delete::options(&Query::default(), &Bytes::from(inner), None)?;
    let base = call.write()?;
    let write = Write { dry_run: dry_run || base.dry_run, ..base };
    call.registry().delete(call.kind, &call.info.namespace, &call.info.name, &options, &write).await?;
    let answer =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::json(StatusCode::CREATED, &answer))
}
