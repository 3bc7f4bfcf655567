//! DELETE of one object or of a selection.

use api_types::json;
use api_types::status::Status;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use serde_json::{Value, json};

use super::respond::{self, Answer};
use super::{Call, list};
use crate::registry::{DeleteOptions, Write, parse_stored};
use crate::request::body;
use crate::request::options;
use crate::request::query::Query;

/// Deletions of a collection under way at once.
const PARALLEL: usize = 16;

pub async fn delete(call: Call<'_>) -> Answer {
    let bytes = body::read(call.take_body()).await?;
    let (options, dry_run) = read_options(&call.query, &bytes, call.content_type())?;
    let write = Write { dry_run, ..call.write()? };
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let deleted = call.registry().delete(call.kind, namespace, name, &options, &write).await?;
    let answer = deleted.into_response(call.kind);
    if answer["kind"] == "Status" {
        return Ok(respond::json(StatusCode::OK, &answer));
    }
    Ok(respond::object(StatusCode::OK, call.kind, answer, call.form))
}

pub async fn delete_collection(call: Call<'_>) -> Answer {
    let bytes = body::read(call.take_body()).await?;
    let (options, dry_run) = read_options(&call.query, &bytes, call.content_type())?;
    let write = Write { dry_run, ..call.write()? };
    let page = list::page(&call).await?;
    let (registry, kind) = (call.registry(), call.kind);
    let (options, write) = (&options, &write);
    let deleted: Vec<Option<Value>> = stream::iter(page.objects)
        .map(|o| async move {
            match registry.delete(kind, o.namespace(), o.name(), options, write).await {
                Ok(_) => parse_stored(&o.bytes).map(Some),
                // Someone else was faster.
                Err(s) if s.reason == "NotFound" => Ok(None),
                Err(s) => Err(s),
            }
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    let mut items: Vec<Value> = deleted.into_iter().flatten().collect();
    for item in &mut items {
        respond::present(kind, item);
        respond::as_item(item);
    }
    let answer = json!({"kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
        "metadata": page.meta, "items": items});
    Ok(respond::json(StatusCode::OK, &answer))
}

/// Options of the body, or of the query where there is no body.
pub fn read_options(
    query: &Query,
    bytes: &Bytes,
    content_type: Option<&str>,
) -> Result<(DeleteOptions, bool), Status> {
    let mut o = DeleteOptions {
        grace_period: query.number("gracePeriodSeconds")?,
        propagation: query.get("propagationPolicy").map(str::to_owned),
        ..DeleteOptions::default()
    };
    let mut dry_runs = query.all("dryRun").to_vec();
    let mut orphan = query.optional_flag("orphanDependents");
    if !bytes.is_empty() {
        let media = body::media(content_type)?;
        let json::Parsed { value, .. } = body::parse(bytes, media)
            .map_err(|e| Status::bad_request(format!("error decoding the delete options: {e}")))?;
        from_body(&value, &mut o)?;
        let values = value.get("dryRun").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        dry_runs.extend(values.iter().map(|v| v.as_str().unwrap_or("null").to_owned()));
        orphan = value.get("orphanDependents").and_then(Value::as_bool).or(orphan);
    }
    options::delete(orphan, o.propagation.as_deref(), &dry_runs)?;
    if let Some(orphan) = orphan {
        o.propagation = Some(if orphan { "Orphan" } else { "Background" }.into());
    }
    Ok((o, dry_runs.iter().any(|v| v == "All")))
}

fn from_body(value: &Value, o: &mut DeleteOptions) -> Result<(), Status> {
    if !value.is_object() {
        return Err(Status::bad_request("the body must be a DeleteOptions object"));
    }
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" {
        return Err(Status::bad_request(format!("the body must be a DeleteOptions object, found {kind}")));
    }
    if let Some(g) = value.get("gracePeriodSeconds").filter(|g| !g.is_null()) {
        o.grace_period =
            Some(g.as_i64().ok_or_else(|| Status::bad_request("gracePeriodSeconds must be a whole number"))?);
    }
    if let Some(p) = value.get("propagationPolicy").and_then(Value::as_str) {
        o.propagation = Some(p.to_owned());
    }
    if let Some(p) = value.get("preconditions") {
        o.uid = p.get("uid").and_then(Value::as_str).map(str::to_owned);
        o.resource_version = p.get("resourceVersion").and_then(Value::as_str).map(str::to_owned);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, body: &str) -> Result<(DeleteOptions, bool), Status> {
        read_options(&Query::parse(Some(query)), &Bytes::copy_from_slice(body.as_bytes()), None)
    }

    #[test]
    fn the_body_counts_more_than_the_query() {
        let (o, dry) = read(
            "gracePeriodSeconds=5",
            r#"{"gracePeriodSeconds":0,"preconditions":{"uid":"u"},"dryRun":["All"]}"#,
        )
        .unwrap();
        assert_eq!((o.grace_period, o.uid.as_deref(), dry), (Some(0), Some("u"), true));
        assert_eq!(read("orphanDependents=true", "").unwrap().0.propagation.as_deref(), Some("Orphan"));
        assert_eq!(read("propagationPolicy=x", "").unwrap_err().code, 422);
        assert_eq!(read("propagationPolicy=Orphan&orphanDependents=true", "").unwrap_err().code, 422);
    }
}
