//! `namespaces/finalize`: the namespace controller's word that nothing is left.

use api_types::field::ErrorList;
use api_types::kinds::namespace;
use api_types::meta;
use api_types::status::Status;
use http::StatusCode;
use serde_json::json;

use super::Call;
use super::respond::{self, Answer};
use super::update::check_name;
use crate::registry::{Part, UpdateOptions, encode};
use crate::request::body;
use crate::request::query::FieldValidation;

pub async fn finalize(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    let write = call.write()?;
    let bytes = body::read(call.take_body()).await?;
    let sent = body::decode(&bytes, media, call.kind, FieldValidation::Ignore)?.object;
    let name = &call.info.name;
    check_name(&sent, name)?;
    let finalizers = meta::at(&sent, &["spec", "finalizers"]).cloned().unwrap_or_else(|| json!([]));
    let asked = meta::resource_version(&sent).to_owned();
    let options = UpdateOptions { create: false, retry: false, part: Part::Prepared };
    let (stored, _) = call
        .registry()
        .update(call.kind, "", name, options, &write, |current| {
            let mut new = current.ok_or_else(|| Status::not_found("", "namespaces", name))?.clone();
            new["spec"] = match finalizers.as_array() {
                Some(f) if !f.is_empty() => json!({"finalizers": f}),
                _ => json!({}),
            };
            if let Ok(version) = asked.parse() {
                encode::set_revision(&mut new, version);
            }
            let mut errors = ErrorList::new();
            namespace::validate_finalize(&new, &mut errors);
            if errors.is_empty() { Ok(new) } else { Err(Status::invalid("", "Namespace", name, &errors)) }
        })
        .await?;
    Ok(respond::object(StatusCode::OK, call.kind, stored, call.form))
}
