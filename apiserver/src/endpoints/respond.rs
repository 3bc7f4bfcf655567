//! Answers: objects, lists and statuses in the form that was asked for.

use api_types::catalog::Kind;
use api_types::meta;
use api_types::schema::zero::Written;
use api_types::status::Status;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::encode;
use crate::request::negotiate::Form;

/// The answer of every handler.
pub type Answer = Result<Response<Body>, Status>;

/// A JSON answer.
pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    bytes_json(code, Written(value).to_bytes().into())
}

/// JSON that is encoded already.
pub fn bytes_json(code: StatusCode, bytes: Bytes) -> Response<Body> {
    let mut r = Response::new(Body::from(bytes));
    *r.status_mut() = code;
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    r
}

/// Plain text.
pub fn text(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut r = Response::new(body.into());
    *r.status_mut() = code;
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    r.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    r
}

/// A refusal.
pub fn status(s: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(s.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut r = match serde_json::to_vec(&s.to_json()) {
        Ok(bytes) => bytes_json(code, bytes.into()),
        Err(_) => text(code, s.message.clone()),
    };
    if let Some(seconds) = s.details.get("retryAfterSeconds").and_then(Value::as_u64) {
        r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    r
}

/// Characters of warnings in one answer, beyond which each is cut, as upstream does: headers have bounds.
const MAX_WARNINGS: usize = 4096;
/// How long a warning may be then.
const MAX_CUT_WARNING: usize = 256;
/// Python's HTTP client takes no answer with more than 100 headers.
const MAX_WARNING_HEADERS: usize = 64;

/// Adds `Warning` headers, as RFC 7234 and upstream write them.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let length = |w: &String| w.chars().count();
    let cut = warnings.iter().map(length).sum::<usize>() > MAX_WARNINGS;
    let mut room = MAX_WARNINGS;
    for w in warnings.iter().take(MAX_WARNING_HEADERS) {
        if room == 0 {
            return;
        }
        let most = if cut { MAX_CUT_WARNING } else { MAX_WARNINGS };
        let text: String = w.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
        room = room.saturating_sub(length(&text));
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(v) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, v);
        }
    }
}

/// One object in the form asked for; it is in the stored version.
pub fn object(code: StatusCode, kind: &Kind, mut object: Value, form: Form) -> Response<Body> {
    present(kind, &mut object);
    match form {
        Form::Object => json(code, &object),
        Form::Metadata => json(code, &partial(&object)),
        Form::Table => {
            let version = meta::resource_version(&object).to_owned();
            let rows = vec![row(kind, &object, Timestamp::now())];
            json(code, &table(kind, rows, json!({"resourceVersion": version})))
        }
    }
}

/// From the stored version to the one the kind's path stands for, as upstream would write it.
pub fn present(kind: &Kind, object: &mut Value) {
    if let Some(c) = &kind.conversion {
        (c.from_stored)(object);
    }
    encode::complete(kind, object);
}

/// An item of a list: the list says of what kind it is.
pub fn as_item(object: &mut Value) {
    if let Value::Object(root) = object {
        root.remove("kind");
        root.remove("apiVersion");
    }
}

/// Metadata only.
pub fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// A table row. `object` is in the version of the path.
pub fn row(kind: &Kind, object: &Value, now: Timestamp) -> Value {
    let mut stored = object.clone();
    if let Some(c) = &kind.conversion {
        (c.to_stored)(&mut stored);
    }
    json!({"cells": kind.strategy.row(&stored, now), "object": partial(object)})
}

/// A table.
pub fn table(kind: &Kind, rows: Vec<Value>, list_meta: Value) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": columns(kind),
        "rows": rows,
    })
}

/// The columns of a table.
pub fn columns(kind: &Kind) -> Value {
    let all = kind.columns.iter().map(|c| {
        json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.name, "priority": c.priority})
    });
    Value::Array(all.collect())
}
