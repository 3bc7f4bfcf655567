//! PATCH: JSON patch, merge patch, strategic merge patch; an apply goes to [`super::apply`].
//!
//! The patch is applied to whatever is there and applied anew when someone else writes in between, unless it
//! names the version it is meant for.

use api_types::catalog::Kind;
use api_types::field::{ErrorList, Path};
use api_types::json::Parsed;
use api_types::patch::{self, PatchError, strategic};
use api_types::schema::decode::Reader;
use api_types::schema::{StructId, Table};
use api_types::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use super::respond::{self, Answer};
use super::update::{check_name, check_namespace};
use super::{Call, apply};
use crate::registry::UpdateOptions;
use crate::request::body::{self, Media};
use crate::request::query::FieldValidation;

/// How much of a patched object that does not fit its type is shown to its sender.
const MAX_SHOWN: usize = 16 * 1024;

/// The language of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Merge by the keys of lists.
    Strategic,
}

const ACCEPTED: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    apply::MEDIA,
];

impl Language {
    /// The language of a `Content-Type`.
    pub fn of(content_type: Option<&str>) -> Result<Self, Status> {
        match content_type.unwrap_or("").split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            _ => Err(Status::unsupported_media_type(&ACCEPTED)),
        }
    }
}

/// A patch that has been read.
pub struct Patch {
    language: Language,
    document: Value,
    /// Fields it gives more than once.
    duplicates: Vec<String>,
}

impl Patch {
    /// Reads a patch.
    pub fn read(language: Language, bytes: &[u8]) -> Result<Self, Status> {
        let parsed = body::parse(bytes, Media::Json)
            .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
        let found = match &parsed.value {
            Value::Object(_) => "",
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null => "null",
        };
        if language != Language::Json && !found.is_empty() {
            return Err(Status::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        }
        Ok(Self { language, document: parsed.value, duplicates: parsed.duplicates })
    }

    /// Who reads its result in upstream.
    pub fn reader(&self) -> Reader {
        match self.language {
            Language::Strategic => Reader::Converter,
            Language::Json | Language::Merge => Reader::Json,
        }
    }

    /// Applies it to an object of type `id`.
    pub fn apply(&self, object: &mut Value, id: Option<StructId>) -> Result<(), Status> {
        let done = match (self.language, id) {
            (Language::Json, _) => patch::json_patch(object, &self.document),
            (Language::Strategic, Some(id)) => strategic::apply(object, &self.document, id, Table::builtin()),
            (Language::Merge | Language::Strategic, _) => {
                patch::merge_patch(object, &self.document);
                Ok(())
            }
        };
        done.map_err(|e| match e {
            PatchError::Malformed(text) => Status::bad_request(text),
            PatchError::TooLarge(text) => {
                Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: {text}"))
            }
            PatchError::NotApplicable(text) => {
                tracing::debug!(why = %text, "a patch does not apply");
                let mut s = Status::new(
                    422,
                    "Invalid",
                    "the server rejected our request due to an error in our request",
                );
                s.details = json!({});
                s
            }
        })
    }
}

pub async fn patch(call: Call<'_>) -> Answer {
    if apply::is_apply(call.content_type()) {
        return apply::apply(call).await;
    }
    let language = Language::of(call.content_type())?;
    let (kind, form) = (call.kind, call.form);
    let (write, validation) = (call.write()?, FieldValidation::of(&call.query));
    let bytes = body::read(call.take_body()).await?;
    let patch = Patch::read(language, &bytes)?;
    let options = UpdateOptions { create: false, retry: true, part: call.part() };
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let (stored, _) = call
        .registry()
        .update(kind, namespace, name, options, &write, |current| {
            let (object, found) = patched(kind, current, &patch, validation)?;
            call.warnings.add(found);
            Ok(object)
        })
        .await?;
    Ok(respond::object(StatusCode::OK, kind, stored, form))
}

/// The current object with the patch applied, in the stored version.
fn patched(
    kind: &Kind,
    current: Option<&Value>,
    patch: &Patch,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let mut object = current.cloned().unwrap_or_else(|| json!({}));
    respond::present(kind, &mut object);
    let before = api_types::meta::resource_version(&object).to_owned();
    patch.apply(&mut object, Table::builtin().find(kind.type_name))?;
    let shown = object.to_string();
    let parsed = Parsed { value: object, duplicates: patch.duplicates.clone() };
    let decoded = body::normalize(parsed, kind, validation, patch.reader()).map_err(|s| unfit(&shown, &s))?;
    let mut object = decoded.object;
    if let Some(current) = current {
        check_name(&object, api_types::meta::name(current))?;
        check_namespace(kind, &object, api_types::meta::namespace(current))?;
    }
    if let Some(c) = &kind.conversion {
        (c.to_stored)(&mut object);
    }
    // A patch that leaves the version as it is, or takes it out, is meant for whatever is there.
    if api_types::meta::resource_version(&object).is_empty() {
        api_types::meta::metadata_mut(&mut object).insert("resourceVersion".into(), before.into());
    }
    Ok((object, decoded.warnings))
}

/// The result of a patch does not fit its type: upstream blames the patch as a whole.
pub fn unfit(result: &str, status: &Status) -> Status {
    if status.message.contains("strict decoding error") {
        return status.clone();
    }
    let why = status.message.split_once(": ").map_or(status.message.as_str(), |(_, why)| why);
    let mut errors = ErrorList::new();
    // Escaped twice below: what is shown must not grow with the object.
    let end = result.floor_char_boundary(MAX_SHOWN.min(result.len()));
    errors.invalid(&Path::new("patch"), &result[..end], why);
    Status::invalid("", "", "", &errors)
}
