//! Reads bodies: bounded, JSON or YAML, checked against the type of the kind.

use api_types::catalog::{self, Kind};
use api_types::go_json;
use api_types::json::{self, Parsed};
use api_types::schema::decode::Reader;
use api_types::schema::{Table, decode, wire};
use api_types::status::Status;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::query::FieldValidation;

/// The largest body, as upstream bounds it.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// The media type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Upstream's protobuf.
    Protobuf,
}

/// Reads a whole body.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY)),
        Err(e) => Err(Status::bad_request(format!("error reading the request body: {e}"))),
    }
}

/// The media type of a `Content-Type`; JSON when there is none.
pub fn media(content_type: Option<&str>) -> Result<Media, Status> {
    match content_type.unwrap_or("").split(';').next().unwrap_or("").trim() {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" | "text/yaml" | "application/x-yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => Err(Status::unsupported_media_type(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ])),
    }
}

/// The Go type that a body is first read into.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// Parses a body without looking at what it means.
pub fn parse(bytes: &[u8], media: Media) -> Result<Parsed, String> {
    match media {
        Media::Json => {
            json::from_slice(bytes).map_err(|e| go_json::complaint(bytes).unwrap_or_else(|| e.to_string()))
        }
        Media::Protobuf => {
            let value = wire::decode(bytes).map_err(|e| e.0)?;
            Ok(Parsed { value, duplicates: Vec::new() })
        }
        Media::Yaml => {
            let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
            parse_yaml(text).map_err(|e| {
                // The rest of the text draws a picture of the line.
                format!("error converting YAML to JSON: yaml: {}", e.lines().next().unwrap_or_default())
            })
        }
    }
}

/// Bounds on YAML: anchors and depth are what can make a small document large (CVE-2019-11253).
fn parse_yaml(text: &str) -> Result<Parsed, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// A decoded object and the sentences its sender should read.
#[derive(Debug)]
pub struct Decoded {
    /// The object, fitting its type.
    pub object: Value,
    /// Warnings about dropped fields.
    pub warnings: Vec<String>,
}

/// Decodes a body that must be an object of `kind`.
pub fn decode(
    bytes: &[u8],
    media: Media,
    kind: &Kind,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let unreadable = |e: String| {
        let parser = match media {
            Media::Json => "json",
            Media::Yaml => "yaml",
            Media::Protobuf => "protobuf",
        };
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {parser} parse error: {e} ({})",
            kind.kind,
            shown(bytes)
        ))
    };
    let mut parsed = parse(bytes, media).map_err(unreadable)?;
    let found = match &parsed.value {
        Value::Object(_) => "",
        // Go decodes null as nothing at all.
        Value::Null => {
            parsed.value = Value::Object(serde_json::Map::new());
            ""
        }
        Value::Array(_) => "array",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    };
    if !found.is_empty() {
        return Err(unreadable(format!("json: cannot unmarshal {found} into Go value of type {TYPE_META}")));
    }
    check_kind(&parsed.value, kind)?;
    normalize(parsed, kind, validation, Reader::Json)
}

/// Makes a parsed value fit the type of `kind`, and gives it the kind's own `apiVersion` and `kind`.
/// `reader` is who reads it in upstream.
pub fn normalize(
    parsed: Parsed,
    kind: &Kind,
    validation: FieldValidation,
    reader: Reader,
) -> Result<Decoded, Status> {
    let Parsed { value: mut object, duplicates } = parsed;
    let refuse = |text: &str| {
        Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {text}",
            kind.kind, kind.version, kind.kind
        ))
    };
    let table = Table::builtin();
    let id =
        table.find(kind.type_name).ok_or_else(|| Status::internal(format!("no type {}", kind.type_name)))?;
    let unknown = decode::normalize_by(reader, &mut object, id, table).map_err(|e| refuse(&e.0))?;
    let mut problems: Vec<String> = duplicates.iter().map(|d| format!("duplicate field {d:?}")).collect();
    problems.extend(unknown.iter().map(|u| format!("unknown field {u:?}")));
    let warnings = match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", problems.join(", "))));
        }
        FieldValidation::Warn => problems,
        _ => Vec::new(),
    };
    if let Value::Object(root) = &mut object {
        root.insert("apiVersion".into(), kind.api_version().into());
        root.insert("kind".into(), kind.kind.into());
    }
    Ok(Decoded { object, warnings })
}

/// The body must be of the kind the path names; where it does not say, it is.
fn check_kind(value: &Value, kind: &Kind) -> Result<(), Status> {
    let text = |k: &str| value.get(k).and_then(Value::as_str).unwrap_or("");
    let (version, name) = (text("apiVersion"), text("kind"));
    let expected = kind.api_version();
    if !version.is_empty() && version != expected {
        let (group, v) = version.split_once('/').unwrap_or(("", version));
        let asked = if name.is_empty() { kind.kind } else { name };
        if catalog::by_kind(group, v, asked).is_none() {
            return Err(Status::bad_request(format!(
                "{asked} in version {v:?} cannot be handled as a {}: no kind {asked:?} is registered for version {version:?} in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
                kind.kind
            )));
        }
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if !name.is_empty() && name != kind.kind {
        return Err(Status::bad_request(format!(
            "{name} in version {:?} cannot be handled as a {}: converting ({}.{name}) to ({}.{}): unknown conversion",
            kind.version,
            kind.kind,
            kind.version,
            if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or("") },
            kind.kind
        )));
    }
    Ok(())
}

/// What could not be read, as upstream shows it: text that looks like JSON as it is, the rest in hexadecimal.
fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 1024;
    if bytes.is_empty() {
        return "<empty>".into();
    }
    let head = &bytes[..bytes.len().min(SHOWN)];
    let mut out = if bytes.starts_with(b"{") {
        String::from_utf8_lossy(head).into_owned()
    } else {
        head.iter().map(|b| format!("{b:02x}")).collect()
    };
    if bytes.len() > SHOWN {
        out.push_str(" ...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_types::catalog;

    fn run(body: &str, validation: FieldValidation) -> Result<Decoded, Status> {
        decode(body.as_bytes(), Media::Json, catalog::by_kind("", "v1", "ConfigMap").unwrap(), validation)
    }

    #[test]
    fn strictness() {
        let body = r#"{"data":{"a":"b"},"datta":{},"data":{"a":"c"}}"#;
        let e = run(body, FieldValidation::Strict).unwrap_err();
        assert_eq!(
            e.message,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data\", unknown field \"datta\""
        );
        let d = run(body, FieldValidation::Warn).unwrap();
        assert_eq!(d.warnings, vec!["duplicate field \"data\"", "unknown field \"datta\""]);
        assert_eq!(d.object["data"]["a"], "c");
        assert_eq!(d.object["kind"], "ConfigMap");
        assert!(run(body, FieldValidation::Ignore).unwrap().warnings.is_empty());
    }

    #[test]
    fn the_kind_must_fit() {
        let e = run(r#"{"apiVersion":"apps/v1","kind":"ConfigMap"}"#, FieldValidation::Warn).unwrap_err();
        assert_eq!(
            e.message,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"apps/v1\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
        );
        assert_eq!(run("{", FieldValidation::Warn).unwrap_err().code, 400);
    }

    #[test]
    fn yaml_is_read_too() {
        let kind = catalog::by_kind("", "v1", "ConfigMap").unwrap();
        let d =
            decode(b"kind: ConfigMap\ndata:\n  a: b\n", Media::Yaml, kind, FieldValidation::Strict).unwrap();
        assert_eq!(d.object["data"]["a"], "b");
    }
}
