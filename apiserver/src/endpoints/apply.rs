//! PATCH with a configuration that is applied: `application/apply-patch+yaml`.
//!
//! The configuration is the whole intent of its manager; [`api_types::apply`] merges it and finds the owners. It
//! creates the object when it is not there.

use api_types::apply::configuration::{self, Apply};
use api_types::apply::update::Subject;
use api_types::catalog::Kind;
use api_types::json::Parsed;
use api_types::meta;
use api_types::schema::decode::Reader;
use api_types::status::Status;
use http::StatusCode;
use serde_json::Value;

use super::respond::{self, Answer};
use super::update::check_name;
use super::{Call, manager};
use crate::authz;
use crate::registry::{Owners, UpdateOptions, Write};
use crate::request::body::{self, Media};
use crate::request::query::FieldValidation;

/// The media type of a configuration; JSON is YAML too.
pub const MEDIA: &str = "application/apply-patch+yaml";

/// Whether a request applies a configuration.
pub fn is_apply(content_type: Option<&str>) -> bool {
    content_type.unwrap_or("").split(';').next().unwrap_or("").trim() == MEDIA
}

/// A configuration that has been read, and how it is applied.
pub struct Configuration {
    document: Value,
    /// What strict decoding has to say of it.
    strict: Option<String>,
    validation: FieldValidation,
    manager: String,
    force: bool,
}

impl Configuration {
    /// Reads the request.
    pub async fn read(call: &Call<'_>) -> Result<Self, Status> {
        let validation = FieldValidation::of(&call.query);
        let manager = manager::of(&call.query, "");
        let bytes = body::read(call.take_body()).await?;
        // JSON is YAML, but reading it as what it is costs less.
        let json = if bytes.starts_with(b"{") { body::parse(&bytes, Media::Json).ok() } else { None };
        let Parsed { value, duplicates } = json
            .map_or_else(|| body::parse(&bytes, Media::Yaml), Ok)
            .map_err(|e| Status::bad_request(format!("error encoding patch: {e}")))?;
        let document = match value {
            Value::Object(_) => value,
            Value::Null => Value::Object(serde_json::Map::new()),
            other => {
                let found = match other {
                    Value::Array(_) => "array",
                    Value::String(_) => "string",
                    Value::Bool(_) => "bool",
                    _ => "number",
                };
                return Err(Status::bad_request(format!(
                    "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
                )));
            }
        };
        let strict = repeated_keys(&bytes, &duplicates);
        Ok(Self { document, strict, validation, manager, force: call.query.flag("force") })
    }

    /// Applies it to a stored object; gives the object as it is to be stored, with its owners.
    pub fn apply(&self, kind: &Kind, subresource: &str, live: Option<&Value>) -> Result<Value, Status> {
        let version = kind.api_version();
        let subject = Subject::Object(kind, subresource);
        let mut object = self.run(subject, (&version, kind.kind), live)?;
        respond::present(kind, &mut object);
        let (namespace, name) = (meta::namespace(&object).to_owned(), meta::name(&object).to_owned());
        let parsed = Parsed { value: object, duplicates: Vec::new() };
        let fitted = body::normalize(parsed, kind, FieldValidation::Ignore, Reader::Converter);
        let mut fitted = fitted.map_err(|s| {
            let group = if version.contains('/') { "" } else { "/" };
            let gvk = format!("{group}{version}, Kind={}", kind.kind);
            let why = s.message.split_once(": ").map_or(s.message.as_str(), |(_, why)| why);
            let why = format!(
                "failed to convert new object ({namespace}/{name}; {gvk}) to proper version: unable to convert unstructured object to {gvk}: {why}"
            );
            Status::new(500, "", why)
        })?;
        if let Some(c) = &kind.conversion {
            (c.to_stored)(&mut fitted.object);
        }
        Ok(fitted.object)
    }

    /// Applies it to whatever `subject` is.
    pub fn run(
        &self,
        subject: Subject<'_>,
        kind: (&str, &str),
        live: Option<&Value>,
    ) -> Result<Value, Status> {
        let now = meta::now();
        let request = Apply { subject, kind, manager: &self.manager, force: self.force, now: &now };
        let object = configuration::apply(live, &self.document, request)?;
        match &self.strict {
            Some(why) if self.validation == FieldValidation::Strict => {
                Err(Status::bad_request(format!("error strict decoding patch: {why}")))
            }
            _ => Ok(object),
        }
    }

    /// The sentences its sender should read.
    pub fn warnings(&self) -> Vec<String> {
        match self.validation {
            FieldValidation::Warn => self.strict.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// What upstream's YAML decoder says of keys that are given twice.
fn repeated_keys(bytes: &[u8], paths: &[String]) -> Option<String> {
    if paths.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = paths
        .iter()
        .map(|path| {
            let key = path.rsplit('.').next().unwrap_or(path);
            format!("  line {}: key {key:?} already set in map", line_of_repetition(&text, key))
        })
        .collect();
    Some(format!("error converting YAML to JSON: yaml: unmarshal errors:\n{}", lines.join("\n")))
}

/// The line on which a key is given the second time.
fn line_of_repetition(text: &str, key: &str) -> usize {
    let quoted = format!("{key:?}");
    let mut seen = 0;
    for (i, line) in text.lines().enumerate() {
        let word = line.trim_start().trim_start_matches("- ").trim_start();
        seen += usize::from(word.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')));
        seen += line.matches(&quoted).count();
        if seen > 1 {
            return i + 1;
        }
    }
    1
}

pub async fn apply(call: Call<'_>) -> Answer {
    let configuration = Configuration::read(&call).await?;
    let write = Write { owners: Owners::Given, ..call.write()? };
    let (kind, form) = (call.kind, call.form);
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    // A subresource is of an object that is there.
    let options = UpdateOptions { create: write.subresource.is_empty(), retry: true, part: call.part() };
    call.warnings.add(configuration.warnings());
    let (stored, created) = call
        .registry()
        .update(kind, namespace, name, options, &write, |current| {
            let object = configuration.apply(kind, write.subresource, current)?;
            check_name(&object, name)?;
            if current.is_none() {
                may_be_created(&call, &object)?;
            }
            Ok(object)
        })
        .await?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::object(code, kind, stored, form))
}

/// An apply that creates needs the right to create, and cannot name an incarnation.
fn may_be_created(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    let (kind, info) = (call.kind, call.info);
    let uid = meta::uid(object);
    if !uid.is_empty() {
        return Err(Status::conflict(
            kind.group,
            kind.plural,
            &info.name,
            &format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            ),
        ));
    }
    let attributes =
        authz::Attributes::resource(&call.user, "create", &info.group, &info.version, &info.resource)
            .named(&info.name)
            .in_namespace(&info.namespace);
    authz::require(call.server.authorizer(), &attributes)
        .map_err(|f| Status::forbidden(kind.group, kind.plural, &info.name, &f.message))
}
