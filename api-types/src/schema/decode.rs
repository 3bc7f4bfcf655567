//! Makes a parsed body fit its type, as upstream's decoder would leave it.
//!
//! * Unknown fields are taken out and reported: the caller makes them an error, a warning or nothing.
//! * A value of the wrong type ends the request with the text of Go's decoder.
//! * Quantities and times get their canonical form; nulls, empty optional lists and maps, and zero values that say no
//!   more than their absence ([`super::zero`]) disappear.

use serde_json::{Map, Value};

use super::{Field, StructId, Table, Type};
use crate::go_json;
use crate::quantity::Quantity;

/// How many unknown fields are told, as upstream bounds its reports; all are dropped.
const MAX_UNKNOWN: usize = 100;

/// Names of what is a schema or something else.
const OR_LIST: &str = "apiextensions.v1.JSONSchemaPropsOrArray";
const OR_FLAG: &str = "apiextensions.v1.JSONSchemaPropsOrBool";

/// A value does not fit its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Whose rules and words a value of a wrong type is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The decoder of JSON, which bodies, merge patches and JSON patches go through.
    Json,
    /// The converter of untyped objects, which strategic merge patches and applied configurations go through.
    Converter,
}

/// Makes `value` fit the struct `id`; returns the paths of the unknown fields it has dropped.
pub fn normalize(value: &mut Value, id: StructId, table: &Table) -> Result<Vec<String>, DecodeError> {
    normalize_by(Reader::Json, value, id, table)
}

/// The same as this reader has it.
pub fn normalize_by(
    reader: Reader,
    value: &mut Value,
    id: StructId,
    table: &Table,
) -> Result<Vec<String>, DecodeError> {
    let mut d = Decoder { table, reader, path: Vec::new(), unknown: Vec::new() };
    d.structure(value, id, &At { owner: table.get(id).go_name(), field: None, opaque: "" })?;
    Ok(d.unknown)
}

struct At<'a> {
    /// The Go type that holds the field.
    owner: &'a str,
    field: Option<&'a str>,
    /// What stands behind a value of any type, see [`Field::opaque`].
    opaque: &'a str,
}

enum Seg {
    Field(String),
    Index(usize),
    Key(String),
}

struct Decoder<'t> {
    table: &'t Table,
    reader: Reader,
    path: Vec<Seg>,
    unknown: Vec<String>,
}

impl Decoder<'_> {
    /// `spec.containers[0].image`, as strict decoding prints it.
    fn full_path(&self, last: &str) -> String {
        let mut out = String::new();
        for seg in &self.path {
            match seg {
                Seg::Index(i) => out.push_str(&format!("[{i}]")),
                Seg::Field(s) | Seg::Key(s) => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(s);
                }
            }
        }
        if !out.is_empty() {
            out.push('.');
        }
        out + last
    }

    /// Go's text: indices are left out of the path.
    fn mismatch(&self, value: &Value, ty: &Type, at: &At<'_>) -> DecodeError {
        if self.reader == Reader::Converter {
            return DecodeError(not_convertible(value, ty));
        }
        let go_type = self.go_type(ty);
        let found = match value {
            Value::Number(n) if go_type.starts_with("int") => format!("number {n}"),
            other => go_json::kind_of(other).to_owned(),
        };
        if at.field.is_none() {
            return DecodeError(format!("json: cannot unmarshal {found} into Go value of type {go_type}"));
        }
        let fields: Vec<&str> = self
            .path
            .iter()
            .filter_map(|s| match s {
                Seg::Field(f) => Some(f.as_str()),
                _ => None,
            })
            .collect();
        DecodeError(format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {go_type}",
            at.owner,
            fields.join(".")
        ))
    }

    fn structure(&mut self, value: &mut Value, id: StructId, at: &At<'_>) -> Result<(), DecodeError> {
        let s = self.table.get(id);
        let Value::Object(map) = value else {
            return Err(self.mismatch(value, &Type::Struct(id), at));
        };
        let mut drop: Vec<String> = Vec::new();
        for (name, v) in map.iter_mut() {
            let Some(field) = s.field(name) else {
                if self.unknown.len() < MAX_UNKNOWN {
                    self.unknown.push(self.full_path(name));
                }
                drop.push(name.clone());
                continue;
            };
            if v.is_null() && field.ty != Type::Any {
                drop.push(name.clone());
                continue;
            }
            self.path.push(Seg::Field(name.clone()));
            let at = At { owner: s.go_name(), field: Some(field.name), opaque: field.opaque };
            self.value(v, &field.ty, &at)?;
            self.path.pop();
            let gone = v.is_null() && [OR_LIST, OR_FLAG].contains(&field.opaque);
            if gone || is_empty_optional(v, field) || s.zeros.is_unset(name, v) {
                drop.push(name.clone());
            }
        }
        for name in drop {
            map.remove(&name);
        }
        Ok(())
    }

    fn value(&mut self, v: &mut Value, ty: &Type, at: &At<'_>) -> Result<(), DecodeError> {
        match ty {
            Type::Any => self.union(v, at),
            Type::Struct(id) => self.structure(v, *id, at),
            Type::List(inner) => self.list(v, ty, inner, at),
            Type::Map(inner) => self.map(v, ty, inner, at),
            Type::String if v.is_string() => Ok(()),
            Type::Bool if v.is_boolean() => Ok(()),
            Type::Int32 | Type::Int64 if self.reader == Reader::Converter && whole(v).is_some() => {
                *v = whole(v).unwrap_or_default().into();
                self.value(v, ty, at)
            }
            Type::Int64 if v.is_i64() => Ok(()),
            Type::Int32 if v.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
            Type::Double if v.is_number() => Ok(()),
            Type::IntOrString if v.is_string() => Ok(()),
            Type::IntOrString if v.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
            Type::Bytes => self.bytes(v, at),
            Type::Time | Type::MicroTime => self.time(v, ty, at),
            Type::Quantity => canonical_quantity(v),
            _ => Err(self.mismatch(v, ty, at)),
        }
    }

    /// The places of a schema that hold another schema or something else. What is neither is null to Go, or refused.
    fn union(&mut self, v: &mut Value, at: &At<'_>) -> Result<(), DecodeError> {
        let (list, flag) = match at.opaque {
            OR_LIST => (true, false),
            OR_FLAG => (false, true),
            _ => return Ok(()),
        };
        let Some(schema) = self.table.find("apiextensions.v1.JSONSchemaProps") else { return Ok(()) };
        match v {
            Value::Object(_) => self.structure(v, schema, at),
            Value::Array(_) if list => {
                let inner = Type::Struct(schema);
                self.list(v, &Type::List(Box::new(inner.clone())), &inner, at)
            }
            Value::Bool(_) if flag => Ok(()),
            _ if flag => Err(DecodeError("boolean or JSON schema expected".into())),
            _ => {
                *v = Value::Null;
                Ok(())
            }
        }
    }

    fn list(&mut self, v: &mut Value, ty: &Type, inner: &Type, at: &At<'_>) -> Result<(), DecodeError> {
        let Value::Array(items) = v else { return Err(self.mismatch(v, ty, at)) };
        for (i, item) in items.iter_mut().enumerate() {
            if item.is_null() {
                // Go leaves the zero value for a null element.
                *item = zero(inner);
            }
            self.path.push(Seg::Index(i));
            self.value(item, inner, at)?;
            self.path.pop();
        }
        Ok(())
    }

    fn map(&mut self, v: &mut Value, ty: &Type, inner: &Type, at: &At<'_>) -> Result<(), DecodeError> {
        let Value::Object(entries) = v else { return Err(self.mismatch(v, ty, at)) };
        for (key, item) in entries.iter_mut() {
            if item.is_null() {
                *item = zero(inner);
            }
            self.path.push(Seg::Key(key.clone()));
            self.value(item, inner, at)?;
            self.path.pop();
        }
        Ok(())
    }

    fn bytes(&self, v: &mut Value, at: &At<'_>) -> Result<(), DecodeError> {
        use base64::Engine;
        if let Some(bytes) = byte_list(v) {
            *v = base64::engine::general_purpose::STANDARD.encode(bytes).into();
        }
        let Value::String(text) = v else { return Err(self.mismatch(v, &Type::Bytes, at)) };
        match base64::engine::general_purpose::STANDARD.decode(text.replace(['\n', '\r'], "")) {
            Ok(_) => Ok(()),
            Err(e) => {
                let by = if self.reader == Reader::Converter { "error decoding from json: " } else { "" };
                Err(DecodeError(format!("{by}{}", go_json::illegal_base64(text, &e))))
            }
        }
    }

    fn time(&self, v: &mut Value, ty: &Type, at: &At<'_>) -> Result<(), DecodeError> {
        let Value::String(text) = v else {
            return Err(self.mismatch(v, ty, at));
        };
        let layout =
            if *ty == Type::Time { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
        let fraction = fraction(text).ok_or((text.as_str(), "2006"));
        let rest = fraction.and_then(|(digits, zone)| match (ty, digits.len()) {
            (Type::MicroTime, 0) => Err((zone, ".000000")),
            (Type::MicroTime, n) if n > 6 => Err((&text[19 + 7..], "Z07:00")),
            (Type::MicroTime, n) if n < 6 => Err((&text[19..], ".000000")),
            _ => text.parse::<jiff::Timestamp>().map_err(|_| (text.as_str(), "2006")),
        });
        let parsed = rest.map_err(|(rest, part)| {
            DecodeError(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}"))
        })?;
        *text = if *ty == Type::Time {
            parsed.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        } else {
            parsed.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
        };
        Ok(())
    }

    fn go_type(&self, ty: &Type) -> String {
        match ty {
            Type::String => "string".into(),
            Type::Bytes => "[]uint8".into(),
            Type::Bool => "bool".into(),
            Type::Int32 => "int32".into(),
            Type::Int64 => "int64".into(),
            Type::Double => "float64".into(),
            Type::Time => "v1.Time".into(),
            Type::MicroTime => "v1.MicroTime".into(),
            Type::Quantity => "resource.Quantity".into(),
            Type::IntOrString => "intstr.IntOrString".into(),
            Type::Any => "interface {}".into(),
            Type::List(inner) => format!("[]{}", self.go_type(inner)),
            Type::Map(inner) => format!("map[string]{}", self.go_type(inner)),
            Type::Struct(id) => {
                let mut parts = self.table.get(*id).name.rsplit('.');
                let name = parts.next().unwrap_or_default();
                format!("{}.{name}", parts.next().unwrap_or("v1"))
            }
        }
    }
}

/// The digits behind the seconds and the zone of a time in the form of RFC 3339, which is the only one that Go reads.
fn fraction(text: &str) -> Option<(&str, &str)> {
    let fits = |text: &str, form: &str| {
        let alike = |(c, f): (u8, u8)| if f == b'0' { c.is_ascii_digit() } else { c == f };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(alike)
    };
    let (seconds, rest) = text.split_at_checked(19)?;
    let (digits, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    let zone_fits = zone == "Z" || fits(zone, "+00:00") || fits(zone, "-00:00");
    let fraction_fits = !rest.starts_with('.') || !digits.is_empty();
    (fits(seconds, "0000-00-00T00:00:00") && zone_fits && fraction_fits).then_some((digits, zone))
}

/// A number that is written as a fraction and is none.
fn whole(v: &Value) -> Option<i64> {
    const EXACT: f64 = (1i64 << 53) as f64;
    let n = v.as_f64().filter(|n| v.is_f64() && n.trunc() == *n && n.abs() <= EXACT)?;
    Some(n as i64)
}

/// What Go's converter says of a value that it cannot put into a variable of this type.
fn not_convertible(value: &Value, ty: &Type) -> String {
    let found = match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        Value::Number(n) if !n.is_i64() => "float64",
        Value::Number(_) => "int64",
        other => go_json::kind_of(other),
    };
    match ty {
        Type::Struct(_) => format!("cannot restore struct from: {found}"),
        Type::Map(_) => format!("cannot restore map from {found}"),
        Type::Bytes if value.is_array() => "unrecognized type: uint8".into(),
        Type::List(_) | Type::Bytes => format!("cannot restore slice from {found}"),
        // Go can make a text of a whole number and a whole number of a fraction; its converter can and does not.
        Type::String if found == "int64" => "cannot convert int64 to string".into(),
        Type::Int32 if found == "float64" => "cannot convert float64 to int32".into(),
        Type::Int64 if found == "float64" => "cannot convert float64 to int64".into(),
        Type::String => "unrecognized type: string".into(),
        Type::Bool => "unrecognized type: bool".into(),
        Type::Int32 => "unrecognized type: int32".into(),
        Type::Int64 => "unrecognized type: int64".into(),
        Type::Double => "unrecognized type: float64".into(),
        // Types that read JSON themselves.
        Type::IntOrString => {
            format!("json: cannot unmarshal {} into Go value of type int32", go_json::kind_of(value))
        }
        Type::Time | Type::MicroTime | Type::Quantity | Type::Any => {
            format!("json: cannot unmarshal {} into Go value of type string", go_json::kind_of(value))
        }
    }
}

/// Bytes may also be given as a list of numbers.
fn byte_list(v: &Value) -> Option<Vec<u8>> {
    let numbers = v.as_array()?.iter();
    numbers.map(|n| if n.is_null() { Some(0) } else { u8::try_from(n.as_u64()?).ok() }).collect()
}

fn zero(ty: &Type) -> Value {
    match ty {
        Type::Struct(_) | Type::Map(_) => Value::Object(Map::new()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Any => Value::Null,
        _ => "".into(),
    }
}

/// Go's `omitempty` drops empty lists and maps; structs and scalars stay. An empty list of managed fields stays
/// too: it asks for the owners to be forgotten.
fn is_empty_optional(v: &Value, field: &Field) -> bool {
    match (&field.ty, v) {
        (Type::List(_), Value::Array(_)) if field.name == "managedFields" => false,
        (Type::List(_), Value::Array(a)) => a.is_empty() && !field.required,
        (Type::Map(_), Value::Object(m)) => m.is_empty() && !field.required,
        _ => false,
    }
}

fn canonical_quantity(v: &mut Value) -> Result<(), DecodeError> {
    let text = match v {
        // Spaces around it are not seen.
        Value::String(s) => s.trim().to_owned(),
        Value::Number(n) => n.to_string(),
        _ => return Err(DecodeError(crate::quantity::ParseQuantityError.to_string())),
    };
    let q: Quantity =
        text.parse().map_err(|e: crate::quantity::ParseQuantityError| DecodeError(e.to_string()))?;
    *v = Value::String(q.to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(ty: &str, mut v: Value) -> Result<(Value, Vec<String>), String> {
        let t = Table::builtin();
        let unknown = normalize(&mut v, t.find(ty).unwrap(), t).map_err(|e| e.0)?;
        Ok((v, unknown))
    }

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let (v, unknown) = run(
            "core.v1.Pod",
            json!({"spec": {"containers": [{"name": "a", "imagee": "b"}], "foo": 1}, "bar": 2}),
        )
        .unwrap();
        assert_eq!(unknown, vec!["bar", "spec.containers[0].imagee", "spec.foo"]);
        assert_eq!(v, json!({"spec": {"containers": [{"name": "a"}]}}));
    }

    #[test]
    fn wrong_types_read_like_go() {
        for (body, want) in [
            (
                json!({"spec": {"replicas": "x"}}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"image": 5}]}}}}),
                "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.image of type string",
            ),
            (
                json!({"metadata": {"labels": {"a": true}}}),
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": {}}}}}),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (json!([]), "json: cannot unmarshal array into Go value of type v1.Deployment"),
        ] {
            assert_eq!(run("apps.v1.Deployment", body).unwrap_err(), want);
        }
    }

    #[test]
    fn canonical_values_and_no_nulls() {
        let (v, _) = run(
            "core.v1.Pod",
            json!({"metadata": {"creationTimestamp": null, "labels": {}},
                   "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Ki"}}}],
                            "volumes": [{"name": "v", "emptyDir": {}}]}}),
        )
        .unwrap();
        assert_eq!(
            v,
            json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}}}],
                            "volumes": [{"name": "v", "emptyDir": {}}]}})
        );
    }

    #[test]
    fn times_are_read_as_go_reads_them() {
        let read = |field: &str, text: &str| {
            let spec = json!({"spec": {field: text}});
            run("coordination.v1.Lease", spec).map(|(v, _)| v["spec"][field].as_str().map(str::to_owned))
        };
        for text in ["2020-01-01T00:00:00.000001Z", "2020-01-01T02:00:00.000001+02:00"] {
            assert_eq!(read("renewTime", text).unwrap().unwrap(), "2020-01-01T00:00:00.000001Z");
        }
        for (text, rest, part) in [
            ("2020-01-01T00:00:00Z", "Z", ".000000"),
            ("2020-01-01T00:00:00.5Z", ".5Z", ".000000"),
            ("2020-01-01T00:00:00.0000001Z", "1Z", "Z07:00"),
            ("2020-01-01 00:00:00.000000Z", "2020-01-01 00:00:00.000000Z", "2006"),
            ("2020-13-01T00:00:00.000000Z", "2020-13-01T00:00:00.000000Z", "2006"),
        ] {
            assert_eq!(
                read("renewTime", text).unwrap_err(),
                format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {rest:?} as {part:?}"
                )
            );
        }
        let read = |text: &str| run("core.v1.Event", json!({"firstTimestamp": text}));
        for (text, fits) in [
            ("2020-01-01T00:00:00Z", true),
            ("2020-01-01T00:00:00.123456789Z", true),
            ("2020-01-01T00:00:00", false),
            ("2020-01-01T00Z", false),
            ("2020-01-01T00:00:00.Z", false),
            ("2020-01-01T00:00:00+02", false),
            ("2020-01-01T00:00:00Z[UTC]", false),
        ] {
            assert_eq!(read(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn amounts_and_bytes_may_be_given_otherwise() {
        let (v, _) =
            run("core.v1.LimitRange", json!({"spec": {"limits": [{"max": {"cpu": " 1 "}}]}})).unwrap();
        assert_eq!(v["spec"]["limits"][0]["max"]["cpu"], "1");
        let (v, _) = run("core.v1.Secret", json!({"data": {"a": [104, 105], "b": []}})).unwrap();
        assert_eq!(v["data"], json!({"a": "aGk=", "b": ""}));
        assert!(run("core.v1.Secret", json!({"data": {"a": [256]}})).is_err());
    }

    #[test]
    fn schemas_within_schemas_are_read() {
        let crd = |schema: Value| {
            let version =
                json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
            run("apiextensions.v1.CustomResourceDefinition", json!({"spec": {"versions": [version]}}))
        };
        let (v, unknown) = crd(json!({"type": "array", "items": {"type": "string", "odd": 1}, "default": null,
            "properties": {"a": {"items": "x", "additionalProperties": {"odder": 1, "additionalProperties": false}}}}))
        .unwrap();
        let schema = &v["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(
            *schema,
            json!({"type": "array", "items": {"type": "string"}, "default": null,
                "properties": {"a": {"additionalProperties": {"additionalProperties": false}}}})
        );
        assert_eq!(
            unknown,
            [
                "spec.versions[0].schema.openAPIV3Schema.items.odd",
                "spec.versions[0].schema.openAPIV3Schema.properties.a.additionalProperties.odder"
            ]
        );
        let refused = crd(json!({"additionalProperties": [{}]})).unwrap_err();
        assert_eq!(refused, "boolean or JSON schema expected");
    }

    #[test]
    fn the_converter_has_words_of_its_own() {
        let convert = |body: Value| {
            let table = Table::builtin();
            let (mut v, id) = (body, table.find("core.v1.Pod").unwrap());
            normalize_by(Reader::Converter, &mut v, id, table).map(|_| v).map_err(|e| e.0)
        };
        for (body, wanted) in [
            (json!({"spec": []}), "cannot restore struct from: slice"),
            (json!({"metadata": {"labels": true}}), "cannot restore map from bool"),
            (json!({"metadata": {"name": 1}}), "cannot convert int64 to string"),
            (json!({"metadata": {"name": 1.5}}), "unrecognized type: string"),
            (json!({"spec": {"terminationGracePeriodSeconds": 1.5}}), "cannot convert float64 to int64"),
            (json!({"spec": {"containers": 1.5}}), "cannot restore slice from float64"),
            (json!({"spec": {"terminationGracePeriodSeconds": "1"}}), "unrecognized type: int64"),
            (
                json!({"metadata": {"creationTimestamp": 1}}),
                "json: cannot unmarshal number into Go value of type string",
            ),
        ] {
            assert_eq!(convert(body).unwrap_err(), wanted);
        }
        let whole = convert(json!({"spec": {"terminationGracePeriodSeconds": 3.0}})).unwrap();
        assert_eq!(whole["spec"]["terminationGracePeriodSeconds"].as_i64(), Some(3));
    }
}
