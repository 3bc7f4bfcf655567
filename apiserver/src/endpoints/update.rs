//! PUT: the whole object anew, or what a subresource owns of it.

use api_types::catalog::Kind;
use api_types::meta;
use api_types::status::Status;
use http::StatusCode;
use serde_json::Value;

use super::Call;
use super::respond::{self, Answer};
use crate::registry::UpdateOptions;
use crate::request::body;
use crate::request::query::FieldValidation;

pub async fn update(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    let (kind, form) = (call.kind, call.form);
    let (write, validation) = (call.write()?, FieldValidation::of(&call.query));
    let bytes = body::read(call.take_body()).await?;
    let decoded = body::decode(&bytes, media, kind, validation)?;
    let mut object = decoded.object;
    check_name(&object, &call.info.name)?;
    check_namespace(kind, &object, &call.info.namespace)?;
    if let Some(c) = &kind.conversion {
        (c.to_stored)(&mut object);
    }
    call.warnings.add(decoded.warnings);
    let options = UpdateOptions {
        create: kind.strategy.allows_create_on_update() && call.info.subresource.is_empty(),
        retry: false,
        part: call.part(),
    };
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let (stored, created) =
        call.registry().update(kind, namespace, name, options, &write, |_| Ok(object.clone())).await?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::object(code, kind, stored, form))
}

/// The namespace of the body, where it has one, and of the path must agree.
pub fn check_namespace(kind: &Kind, object: &Value, namespace: &str) -> Result<(), Status> {
    let own = meta::namespace(object);
    if kind.namespaced() && !own.is_empty() && own != namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({own}) does not match the namespace on the request ({namespace})"
        )));
    }
    Ok(())
}

/// The name of the body and of the path must agree.
pub fn check_name(object: &Value, name: &str) -> Result<(), Status> {
    let own = meta::name(object);
    if own != name {
        if own.is_empty() {
            return Err(Status::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}
