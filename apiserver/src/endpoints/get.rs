//! GET of one object.

use http::StatusCode;

use super::Call;
use super::respond::{self, Answer};
use crate::registry::parse_stored;
use crate::registry::read::Freshness;
use crate::request::negotiate::Form;

pub async fn get(call: &Call<'_>) -> Answer {
    let freshness = freshness(call.query.resource_version()?);
    call.freshen(freshness).await?;
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let found = call.registry().get(call.kind, namespace, name, Freshness::Any).await?;
    if call.form == Form::Object && call.kind.conversion.is_none() {
        // What is cached is what goes out.
        return Ok(respond::bytes_json(StatusCode::OK, found.bytes.clone()));
    }
    Ok(respond::object(StatusCode::OK, call.kind, parse_stored(&found.bytes)?, call.form))
}

/// The freshness a resource version asks of a read.
pub fn freshness(resource_version: Option<u64>) -> Freshness {
    match resource_version {
        None => Freshness::Consistent,
        Some(0) => Freshness::Any,
        Some(n) => Freshness::NotOlderThan(n),
    }
}
