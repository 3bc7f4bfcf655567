//! LIST: one snapshot, streamed.

use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::go_json;
use api_types::status::Status;
use axum::body::Body;
use base64::Engine;
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::compress::Length;
use super::pieces::Pieces;
use super::respond::{self, Answer};
use super::{Call, get, yaml};
use crate::cache::CachedObject;
use crate::registry::read::{Freshness, Predicate};
use crate::registry::{parse_stored, storage_status};
use crate::request::negotiate::{Encoding, Form};
use crate::request::options;
use crate::storage::{ListOptions, StorageError};

/// The revision of a token whose list goes on with whatever is there.
const INCONSISTENT: i64 = -1;
/// What upstream says when the history of a paged list is gone.
const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// One page of a list, before it is encoded.
pub struct Page {
    /// The objects.
    pub objects: Vec<Arc<CachedObject>>,
    /// Its metadata.
    pub meta: Value,
}

pub async fn list(call: &Call<'_>) -> Answer {
    let page = page(call).await?;
    match call.form {
        Form::Table => {
            let now = Timestamp::now();
            let mut rows = Vec::with_capacity(page.objects.len());
            for o in &page.objects {
                let mut value = parse_stored(&o.bytes)?;
                respond::present(call.kind, &mut value);
                rows.push(respond::row(call.kind, &value, now));
            }
            Ok(respond::json(StatusCode::OK, &respond::table(call.kind, rows, page.meta)))
        }
        form => Ok(stream_list(call.kind, form, call.encoding, page)),
    }
}

/// The selectors of a request, checked against the kind.
pub fn predicate(call: &Call<'_>) -> Result<Predicate, Status> {
    // Upstream reads all parameters of a list, whether they mean anything for it or not.
    call.query.number("timeoutSeconds")?;
    let p = Predicate { labels: call.query.label_selector()?, fields: call.query.field_selector()? };
    p.check(call.kind)?;
    Ok(p)
}

/// The objects a list request selects.
pub async fn page(call: &Call<'_>) -> Result<Page, Status> {
    let predicate = predicate(call)?;
    let limit = call.query.number("limit")?.filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
    let version = call.query.resource_version()?;
    options::list(&call.query)?;
    if let Some(token) = call.query.get("continue") {
        return continued(call, &predicate, limit, token).await;
    }
    if call.query.get("resourceVersionMatch") == Some("Exact") {
        let at = version.unwrap_or(0);
        return from_store(call, &predicate, limit, at, None).await;
    }
    call.freshen(get::freshness(version)).await?;
    from_cache(call, &predicate, limit, None)
}

/// A list of what the cache holds now.
fn from_cache(
    call: &Call<'_>,
    predicate: &Predicate,
    limit: Option<usize>,
    start_after: Option<&str>,
) -> Result<Page, Status> {
    let snapshot = call.registry().resource(call.kind)?.snapshot();
    let prefix = scope_prefix(call.kind, &call.info.namespace);
    let mut objects: Vec<Arc<CachedObject>> = Vec::new();
    let (mut more, mut fetched) = (false, 0);
    for o in snapshot.range(&prefix, start_after) {
        fetched += 1;
        if !predicate.matches(o) {
            continue;
        }
        if limit.is_some_and(|l| objects.len() == l) {
            more = true;
            break;
        }
        objects.push(o.clone());
    }
    call.server.metrics().resources().listed_from_cache(call.kind, fetched, objects.len());
    let mut meta = json!({"resourceVersion": snapshot.revision().to_string()});
    if more && let Some(last) = objects.last() {
        meta["continue"] = token(snapshot.revision(), &last.key).into();
        if predicate.is_everything() {
            let rest = snapshot.range(&prefix, Some(&last.key)).count();
            meta["remainingItemCount"] = rest.into();
        }
    }
    Ok(Page { objects, meta })
}

/// The keys of a namespace, or of all.
pub fn scope_prefix(kind: &Kind, namespace: &str) -> String {
    if kind.namespaced() && !namespace.is_empty() {
        format!("{}{namespace}/", kind.prefix())
    } else {
        kind.prefix()
    }
}

/// Where a list goes on: the revision it is exact at (-1: whatever is there then), and the last key it has given.
fn encode_token(revision: i64, key: &str) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": key});
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
}

fn token(revision: u64, key: &str) -> String {
    encode_token(i64::try_from(revision).unwrap_or(INCONSISTENT), key)
}

fn decode_token(token: &str) -> Result<(i64, String), Status> {
    let bad =
        |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|e| bad(&go_json::illegal_base64(token, &e)))?;
    if let Some(complaint) = go_json::complaint(&bytes) {
        return Err(bad(&complaint));
    }
    let v: Value = serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))?;
    let version = v.get("v").and_then(Value::as_str).unwrap_or("");
    let revision = v.get("rv").and_then(Value::as_i64).unwrap_or(0);
    let start = v.get("start").and_then(Value::as_str).unwrap_or("");
    if version != "meta.k8s.io/v1" {
        return Err(bad(&format!("server does not recognize this encoded version {version}")));
    }
    if revision < 1 && revision != INCONSISTENT {
        return Err(bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    if start.is_empty() {
        return Err(bad("encoded start key empty (version meta.k8s.io/v1)"));
    }
    Ok((revision, start.to_owned()))
}

async fn continued(
    call: &Call<'_>,
    predicate: &Predicate,
    limit: Option<usize>,
    token: &str,
) -> Result<Page, Status> {
    if call.query.resource_version()?.is_some_and(|v| v != 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let (revision, start) = decode_token(token)?;
    if !start.starts_with(&scope_prefix(call.kind, &call.info.namespace)) {
        return Err(Status::bad_request("continue key is not valid"));
    }
    let Ok(revision) = u64::try_from(revision) else {
        call.freshen(Freshness::Consistent).await?;
        return from_cache(call, predicate, limit, Some(&start));
    };
    from_store(call, predicate, limit, revision, Some(start)).await
}

/// A list at exactly one revision, which only the store's history has.
async fn from_store(
    call: &Call<'_>,
    predicate: &Predicate,
    limit: Option<usize>,
    revision: u64,
    mut start_after: Option<String>,
) -> Result<Page, Status> {
    let resource = call.registry().resource(call.kind)?;
    let prefix = scope_prefix(call.kind, &call.info.namespace);
    let mut objects: Vec<Arc<CachedObject>> = Vec::new();
    let (mut remaining, mut fetched) = (None, 0);
    let continued = start_after.is_some();
    loop {
        // With a selector a page of the store may hold few of the objects asked for.
        let want = limit.map(|l| l - objects.len());
        let options = ListOptions { revision: Some(revision), limit: want, start_after: start_after.clone() };
        let page = call.registry().storage().list(&prefix, options).await.map_err(|e| match e {
            StorageError::Compacted { .. } if !continued => {
                Status::expired("The resourceVersion for the provided list is too old.")
            }
            StorageError::Compacted { .. } => {
                let mut s = Status::expired(CONTINUE_EXPIRED);
                s.continue_token = encode_token(INCONSISTENT, start_after.as_deref().unwrap_or_default());
                s
            }
            e => storage_status(call.kind, "", e),
        })?;
        start_after = page.entries.last().map(|e| e.key.to_string());
        fetched += page.entries.len();
        for e in page.entries {
            let o = resource
                .object(&e)
                .map_err(|e| Status::internal(format!("a stored object cannot be read: {e}")))?;
            if predicate.matches(&o) {
                objects.push(Arc::new(o));
            }
        }
        remaining = if page.more { page.remaining.or(remaining) } else { None };
        let full = limit.is_some_and(|l| objects.len() >= l);
        if !page.more || full {
            call.server.metrics().resources().listed_from_store(call.kind, fetched, objects.len());
            let mut meta = json!({"resourceVersion": revision.to_string()});
            if page.more
                && let Some(last) = &start_after
            {
                meta["continue"] = token(revision, last).into();
                if let (true, Some(n)) = (predicate.is_everything(), remaining) {
                    meta["remainingItemCount"] = n.into();
                }
            }
            return Ok(Page { objects, meta });
        }
    }
}

/// The objects' bytes one after the other; nothing is encoded again, and memory is bounded by one piece.
fn stream_list(kind: &'static Kind, form: Form, encoding: Encoding, page: Page) -> Response<Body> {
    let length = page.objects.iter().map(|o| o.bytes.len() as u64).sum();
    let mut r = Response::new(Body::from_stream(stream::iter(Pieces::new(kind, form, encoding, page))));
    let media = match encoding {
        Encoding::Json => HeaderValue::from_static("application/json"),
        Encoding::Yaml => yaml::MEDIA,
    };
    r.headers_mut().insert(header::CONTENT_TYPE, media);
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if form == Form::Object {
        r.extensions_mut().insert(Length(length));
    }
    r
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let t = encode_token(7, "/registry/pods/a/b");
        assert_eq!(decode_token(&t).unwrap(), (7, "/registry/pods/a/b".to_owned()));
        let other =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":1}"#);
        for (token, why) in [
            ("", "unexpected end of JSON input"),
            ("!!", "illegal base64 data at input byte 0"),
            ("e3g", "invalid character 'x' looking for beginning of object key string"),
            ("e30", "server does not recognize this encoded version "),
            (
                encode_token(0, "/a").as_str(),
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (other.as_str(), "encoded start key empty (version meta.k8s.io/v1)"),
        ] {
            let refused = decode_token(token).unwrap_err();
            assert_eq!((refused.code, refused.reason), (400, "BadRequest"));
            assert_eq!(refused.message, format!("invalid continue token: continue key is not valid: {why}"));
        }
    }
}
