//! POST: a new object.

use http::StatusCode;

use super::Call;
use super::respond::{self, Answer};
use crate::request::body;
use crate::request::negotiate::Form;
use crate::request::query::FieldValidation;

pub async fn create(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    let (kind, form) = (call.kind, call.form);
    let (write, validation) = (call.write()?, FieldValidation::of(&call.query));
    let bytes = body::read(call.take_body()).await?;
    let decoded = body::decode(&bytes, media, kind, validation)?;
    let mut object = decoded.object;
    if let Some(c) = &kind.conversion {
        (c.to_stored)(&mut object);
    }
    call.warnings.add(decoded.warnings);
    let (created, bytes) = call.registry().create_encoded(kind, &call.info.namespace, object, &write).await?;
    Ok(match bytes {
        Some(bytes) if form == Form::Object && kind.conversion.is_none() => {
            respond::bytes_json(StatusCode::CREATED, bytes)
        }
        _ => respond::object(StatusCode::CREATED, kind, created, form),
    })
}
