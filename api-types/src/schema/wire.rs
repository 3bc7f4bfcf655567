//! Reads protobuf bodies, driven by the same table as JSON ones.
//!
//! `wire.txt` lists the field numbers of every struct (source: the `generated.proto` files and Go types of
//! `k8s.io/api`). A number that leads to `>` is a struct whose fields lie in the outer one in JSON. A star marks a
//! scalar that may be zero on purpose; other zeros mean "not set", as Go writes them all out.
//!
//! A body is the four bytes `k8s\0` and an envelope (`runtime.Unknown`) that names the kind and holds the object.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use serde_json::{Map, Value};

use super::decode::DecodeError;
use super::{StructId, Table, Type};

/// What a protobuf body starts with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// How deep messages may nest.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Default)]
struct Numbers(HashMap<u32, Slot>);

#[derive(Debug)]
enum Slot {
    Field { name: &'static str, zero_counts: bool },
    Inline(Numbers),
}

fn numbers() -> &'static HashMap<StructId, Numbers> {
    static ALL: LazyLock<HashMap<StructId, Numbers>> =
        LazyLock::new(|| parse_table(include_str!("wire.txt"), Table::builtin()));
    &ALL
}

fn parse_table(text: &'static str, table: &Table) -> HashMap<StructId, Numbers> {
    let mut out = HashMap::new();
    let mut lines = text.lines().peekable();
    while let Some(head) = lines.next() {
        let rows = parse_rows(&mut lines, 1);
        if let Some(id) = table.find(head) {
            out.insert(id, rows);
        }
    }
    out
}

fn parse_rows(lines: &mut std::iter::Peekable<std::str::Lines<'static>>, depth: usize) -> Numbers {
    let mut rows = Numbers::default();
    while let Some(line) = lines.next_if(|l| l.bytes().take_while(|b| *b == b' ').count() == depth) {
        let Some((number, name)) = line.trim_start().split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        let slot = if name == ">" {
            Slot::Inline(parse_rows(lines, depth + 1))
        } else {
            let (name, zero_counts) = name.strip_suffix('*').map_or((name, false), |n| (n, true));
            Slot::Field { name, zero_counts }
        };
        rows.0.insert(number, slot);
    }
    rows
}

/// Reads a body; the object gets the `apiVersion` and `kind` of its envelope.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let body =
        bytes.strip_prefix(&MAGIC).ok_or_else(|| bad("the body does not start with the protobuf prefix"))?;
    let (mut type_meta, mut raw) = (&[][..], &[][..]);
    let mut reader = Reader(body);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(b)) => type_meta = b,
            (2, Wire::Bytes(b)) => raw = b,
            _ => {}
        }
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader(type_meta);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(b)) => api_version = text(b)?,
            (2, Wire::Bytes(b)) => kind = text(b)?,
            _ => {}
        }
    }
    let table = Table::builtin();
    let id = table.find(&type_name(&api_version, &kind)).ok_or_else(|| {
        bad(&format!("no kind {kind:?} is registered for version {api_version:?} in the type table"))
    })?;
    let mut object = message(raw, id, table, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn type_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".into();
    }
    match api_version.split_once('/') {
        None => format!("core.{api_version}.{kind}"),
        Some((group, version)) => format!("{}.{version}.{kind}", group.split('.').next().unwrap_or(group)),
    }
}

fn bad(text: &str) -> DecodeError {
    DecodeError(text.to_owned())
}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Walks over the fields of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| bad("a field number is out of range"))?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| bad("a length is out of range"))?;
                Wire::Bytes(self.take(len)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(bad(&format!("wire type {other} is unknown"))),
        };
        Ok(Some((number, wire)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| bad("unexpected EOF"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| bad("unexpected EOF"))
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.take(1)?[0];
            n |= u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(bad("a number is too long"))
    }
}

fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| bad("a string is not UTF-8"))
}

fn message(
    bytes: &[u8],
    id: StructId,
    table: &Table,
    depth: usize,
) -> Result<Map<String, Value>, DecodeError> {
    let mut out = Map::new();
    if let Some(rows) = numbers().get(&id) {
        fields(bytes, rows, id, table, depth, &mut out)?;
    }
    Ok(out)
}

fn fields(
    bytes: &[u8],
    rows: &Numbers,
    id: StructId,
    table: &Table,
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(bad("exceeded max depth"));
    }
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match rows.0.get(&number) {
            // A field of a newer version: protobuf has always passed over those.
            None => {}
            Some(Slot::Inline(inner)) => {
                if let Wire::Bytes(b) = wire {
                    fields(b, inner, id, table, depth + 1, out)?;
                }
            }
            Some(Slot::Field { name, zero_counts }) => {
                let Some(field) = table.get(id).field(name) else { continue };
                put(out, name, &field.ty, *zero_counts, wire, table, depth)?;
            }
        }
    }
    Ok(())
}

fn put(
    out: &mut Map<String, Value>,
    name: &'static str,
    ty: &Type,
    zero_counts: bool,
    wire: Wire<'_>,
    table: &Table,
    depth: usize,
) -> Result<(), DecodeError> {
    match ty {
        Type::List(inner) => {
            let slot = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let (Value::Array(list), Some(v)) = (slot, value(inner, wire, table, depth)?) {
                list.push(v);
            }
        }
        Type::Map(inner) => {
            let Wire::Bytes(entry) = wire else { return Err(bad("a map entry is no message")) };
            let (key, v) = map_entry(entry, inner, table, depth)?;
            let slot = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = slot {
                map.insert(key, v);
            }
        }
        _ => {
            if let Some(v) = value(ty, wire, table, depth)?
                && (zero_counts || !is_zero(&v))
            {
                out.insert(name.to_owned(), v);
            }
        }
    }
    Ok(())
}

fn is_zero(v: &Value) -> bool {
    match v {
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

fn map_entry(
    bytes: &[u8],
    inner: &Type,
    table: &Table,
    depth: usize,
) -> Result<(String, Value), DecodeError> {
    let (mut key, mut found) = (String::new(), None);
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(b)) => key = text(b)?,
            (2, wire) => found = map_value(inner, wire, table, depth)?,
            _ => {}
        }
    }
    let empty = match inner {
        Type::String | Type::Bytes => Value::String(String::new()),
        Type::Quantity => "0".into(),
        _ => Value::Null,
    };
    Ok((key, found.unwrap_or(empty)))
}

/// A list as the value of a map is a message with the list as its first field.
fn map_value(
    inner: &Type,
    wire: Wire<'_>,
    table: &Table,
    depth: usize,
) -> Result<Option<Value>, DecodeError> {
    let Type::List(item) = inner else { return value(inner, wire, table, depth) };
    let Wire::Bytes(bytes) = wire else { return Err(bad("a list is no message")) };
    let mut list = Vec::new();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if number == 1
            && let Some(v) = value(item, wire, table, depth)?
        {
            list.push(v);
        }
    }
    Ok(Some(Value::Array(list)))
}

fn value(ty: &Type, wire: Wire<'_>, table: &Table, depth: usize) -> Result<Option<Value>, DecodeError> {
    Ok(match (ty, wire) {
        (Type::String, Wire::Bytes(b)) => Some(Value::String(text(b)?)),
        (Type::Bytes, Wire::Bytes(b)) => Some(base64::engine::general_purpose::STANDARD.encode(b).into()),
        (Type::Bool, Wire::Varint(n)) => Some(Value::Bool(n != 0)),
        // Negative numbers are written as 64 bits, so the cast brings their sign back.
        (Type::Int32, Wire::Varint(n)) => Some(Value::from(n as i64 as i32)),
        (Type::Int64, Wire::Varint(n)) => Some(Value::from(n as i64)),
        (Type::Double, Wire::Fixed64(n)) => Some(Value::from(f64::from_bits(n))),
        (Type::Double, Wire::Fixed32(n)) => Some(Value::from(f64::from(f32::from_bits(n)))),
        (Type::Time | Type::MicroTime, Wire::Bytes(b)) => time(b, *ty == Type::MicroTime)?,
        (Type::Quantity, Wire::Bytes(b)) => first_text(b)?.map(Value::String),
        (Type::IntOrString, Wire::Bytes(b)) => Some(int_or_string(b)?),
        (Type::Any, Wire::Bytes(b)) => raw_json(b)?,
        (Type::Struct(id), Wire::Bytes(b)) => Some(Value::Object(message(b, *id, table, depth + 1)?)),
        _ => return Err(bad("a field has another type than its number says")),
    })
}

/// The first field of a message, a text.
fn first_text(bytes: &[u8]) -> Result<Option<String>, DecodeError> {
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let (1, Wire::Bytes(b)) = (number, wire) {
            return text(b).map(Some);
        }
    }
    Ok(None)
}

/// Raw JSON inside a message (`FieldsV1`, `RawExtension`).
fn raw_json(bytes: &[u8]) -> Result<Option<Value>, DecodeError> {
    let Some(inner) = first_text(bytes)? else { return Ok(None) };
    serde_json::from_str(&inner).map(Some).map_err(|e| bad(&format!("embedded JSON: {e}")))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_text, mut number, mut string) = (false, 0i32, String::new());
    let mut reader = Reader(bytes);
    while let Some((field, wire)) = reader.next()? {
        match (field, wire) {
            (1, Wire::Varint(n)) => is_text = n == 1,
            (2, Wire::Varint(n)) => number = n as i64 as i32,
            (3, Wire::Bytes(b)) => string = text(b)?,
            _ => {}
        }
    }
    Ok(if is_text { string.into() } else { number.into() })
}

fn time(bytes: &[u8], micro: bool) -> Result<Option<Value>, DecodeError> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let mut reader = Reader(bytes);
    while let Some((field, wire)) = reader.next()? {
        match (field, wire) {
            (1, Wire::Varint(n)) => seconds = n as i64,
            (2, Wire::Varint(n)) => nanos = n as i64 as i32,
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(None);
    }
    let t = jiff::Timestamp::new(seconds, nanos).map_err(|e| bad(&e.to_string()))?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Some(t.strftime(format).to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn len(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3 | 2) as u8, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [len(1, api_version.as_bytes()), len(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), len(1, &meta), len(2, raw)].concat()
    }

    #[test]
    fn a_deployment_is_read_with_its_zeros() {
        // metadata.name, spec.replicas = 0 (a pointer), spec.paused = false (not one), an emptyDir volume.
        let volume = [len(1, b"v"), len(2, &len(2, &[]))].concat();
        let pod_spec = [len(1, &volume), len(2, &[len(1, b"c"), len(2, b"img")].concat())].concat();
        let spec = [vec![0x08, 0], len(3, &len(2, &pod_spec)), vec![0x38, 0]].concat();
        let raw = [len(1, &len(1, b"web")), len(2, &spec)].concat();
        assert_eq!(
            decode(&envelope("apps/v1", "Deployment", &raw)).unwrap(),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {"replicas": 0, "template": {"spec": {
                    "containers": [{"name": "c", "image": "img"}], "volumes": [{"name": "v", "emptyDir": {}}]}}}})
        );
    }

    #[test]
    fn scalars_of_every_shape() {
        // A service: targetPort as text, a label, a creation time of zero.
        let port = [vec![0x18, 80], len(4, &[vec![0x08, 1], len(3, b"http")].concat())].concat();
        let meta = [len(1, b"s"), len(8, &[]), len(11, &[len(1, b"a"), len(2, b"b")].concat())].concat();
        let raw = [len(1, &meta), len(2, &len(1, &port))].concat();
        assert_eq!(
            decode(&envelope("v1", "Service", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"a": "b"}},
                "spec": {"ports": [{"port": 80, "targetPort": "http"}]}})
        );
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        assert!(decode(b"nonsense").is_err());
        assert!(decode(&envelope("v1", "Nonsense", b"")).is_err());
        for cut in 0..20 {
            let whole = envelope("v1", "ConfigMap", &len(1, &len(1, b"abc")));
            let _either_way = decode(&whole[..cut.min(whole.len())]);
        }
        let deep =
            (0..200).fold(vec![], |inner: Vec<u8>, _| if inner.len() < 120 { len(2, &inner) } else { inner });
        let _either_way = decode(&envelope("v1", "Pod", &deep));
    }
}
