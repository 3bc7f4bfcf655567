//! The Swagger 2 document in the protobuf form older clients read: messages of gnostic's `OpenAPIv2.proto`.

use serde_json::{Map, Value};

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            // The low seven bits, and the sign that more follow.
            self.0.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|t| !t.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: Option<&Value>) {
        for text in list(value).filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u64, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// `x-` fields, as `NamedAny` with their value as YAML, which JSON is.
    fn extensions(&mut self, field: u64, object: &Map<String, Value>) {
        for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut any = Self::default();
            any.bytes(2, value.to_string().as_bytes());
            self.named(field, name, &any);
        }
    }

    fn named(&mut self, field: u64, name: &str, value: &Self) {
        let mut named = Self::default();
        named.bytes(1, name.as_bytes());
        named.message(2, value);
        self.message(field, &named);
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn map(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// The whole document.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document["info"].get("title"));
    info.text(2, document["info"].get("version"));
    out.message(2, &info);
    let mut paths = Message::default();
    for (name, item) in map(document.get("paths")) {
        paths.named(2, name, &path_item(item));
    }
    out.message(8, &paths);
    out.message(9, &schemas(document.get("definitions")));
    out.0
}

/// `Definitions` and `Properties`: schemas by name.
fn schemas(value: Option<&Value>) -> Message {
    let mut out = Message::default();
    for (name, value) in map(value) {
        out.named(1, name, &schema(value));
    }
    out
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    let Value::Object(object) = value else { return out };
    let get = |name: &str| object.get(name);
    out.text(1, get("$ref"));
    out.text(2, get("format"));
    out.text(4, get("description"));
    if let Some(default) = get("default") {
        let mut any = Message::default();
        any.bytes(2, default.to_string().as_bytes());
        out.message(5, &any);
    }
    out.texts(19, get("required"));
    if let Some(inner) = get("additionalProperties") {
        let mut item = Message::default();
        match inner {
            Value::Bool(_) => item.flag(2, Some(inner)),
            _ => item.message(1, &schema(inner)),
        }
        out.message(21, &item);
    }
    if let Some(ty) = get("type") {
        let mut item = Message::default();
        item.text(1, Some(ty));
        out.message(22, &item);
    }
    if let Some(items) = get("items") {
        let mut item = Message::default();
        item.message(1, &schema(items));
        out.message(23, &item);
    }
    if get("properties").is_some() {
        out.message(25, &schemas(get("properties")));
    }
    out.extensions(31, object);
    out
}

fn path_item(value: &Value) -> Message {
    let mut out = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (7, "head"), (8, "patch")] {
        if let Some(Value::Object(operation_value)) = value.get(method) {
            out.message(field, &operation(operation_value));
        }
    }
    for p in list(value.get("parameters")) {
        out.message(9, &parameter(p));
    }
    out
}

fn operation(object: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    let get = |name: &str| object.get(name);
    out.texts(1, get("tags"));
    out.text(3, get("description"));
    out.text(5, get("operationId"));
    out.texts(6, get("produces"));
    out.texts(7, get("consumes"));
    for p in list(get("parameters")) {
        out.message(8, &parameter(p));
    }
    let mut responses = Message::default();
    for (code, answer) in map(get("responses")) {
        let mut response = Message::default();
        response.text(1, answer.get("description"));
        if let Some(of) = answer.get("schema") {
            let mut item = Message::default();
            item.message(1, &schema(of));
            response.message(2, &item);
        }
        let mut value = Message::default();
        value.message(1, &response);
        responses.named(1, code, &value);
    }
    out.message(9, &responses);
    out.extensions(13, object);
    out
}

/// `ParametersItem`: a parameter of the body, the query or the path.
fn parameter(value: &Value) -> Message {
    let place = value.get("in").and_then(Value::as_str).unwrap_or_default();
    let mut inner = Message::default();
    let mut parameter = Message::default();
    if place == "body" {
        inner.text(1, value.get("description"));
        inner.text(2, value.get("name"));
        inner.text(3, value.get("in"));
        inner.flag(4, value.get("required"));
        if let Some(of) = value.get("schema") {
            inner.message(5, &schema(of));
        }
        parameter.message(1, &inner);
    } else {
        // Only parameters of the query may come without a value, which takes a number of its own there.
        let (kind, first) = if place == "path" { (4, 5) } else { (3, 6) };
        inner.flag(1, value.get("required"));
        inner.text(2, value.get("in"));
        inner.text(3, value.get("description"));
        inner.text(4, value.get("name"));
        inner.text(first, value.get("type"));
        inner.text(first + 1, value.get("format"));
        let mut other = Message::default();
        other.message(kind, &inner);
        parameter.message(2, &other);
    }
    let mut item = Message::default();
    item.message(1, &parameter);
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The fields of a message as (number, bytes); all of ours are lengths of bytes or numbers.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut n, mut shift) = (0, 0);
            loop {
                let (first, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                n |= u64::from(first & 0x7f) << shift;
                shift += 7;
                if first & 0x80 == 0 {
                    return n;
                }
            }
        }
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            if key & 7 == 0 {
                out.push((key >> 3, vec![u8::try_from(varint(&mut bytes)).unwrap()]));
                continue;
            }
            assert_eq!(key & 7, 2);
            let n = usize::try_from(varint(&mut bytes)).unwrap();
            out.push((key >> 3, bytes[..n].to_vec()));
            bytes = &bytes[n..];
        }
        out
    }

    fn at(bytes: &[u8], path: &[u64]) -> Vec<u8> {
        path.iter().fold(bytes.to_vec(), |bytes, number| {
            fields(&bytes).into_iter().find(|(n, _)| n == number).unwrap_or_else(|| panic!("no {number}")).1
        })
    }

    #[test]
    fn definitions_and_operations() {
        let long = "d".repeat(300);
        let document = json!({"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {"/a": {
            "patch": {"operationId": "o", "parameters": [
                {"name": "dryRun", "in": "query", "type": "string"},
                {"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/T"}}],
                "x-kubernetes-action": "patch", "responses": {"200": {"description": "OK"}}},
            "parameters": [{"name": "n", "in": "path", "required": true, "type": "string"}]}},
            "definitions": {"T": {"type": "object", "description": long, "required": ["f"], "properties": {
                "f": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "m": {"type": "object", "additionalProperties": {"$ref": "#/definitions/T"}}}}}});
        let bytes = encode(&document);
        assert_eq!(at(&bytes, &[1]), b"2.0");
        let definition = at(&bytes, &[9, 1]);
        assert_eq!(at(&definition, &[1]), b"T");
        let schema = at(&definition, &[2]);
        assert_eq!(at(&schema, &[4]), long.as_bytes());
        assert_eq!(at(&schema, &[19]), b"f");
        assert_eq!(at(&schema, &[22, 1]), b"object");
        let f = at(&schema, &[25, 1, 2]);
        assert_eq!(at(&f, &[23, 1, 22, 1]), b"string");
        assert_eq!(at(&f, &[31, 1]), b"x-kubernetes-list-type");
        assert_eq!(at(&f, &[31, 2, 2]), b"\"set\"");
        let m = fields(&at(&schema, &[25]))[1].1.clone();
        assert_eq!(at(&m, &[2, 21, 1, 1]), b"#/definitions/T");
        let item = at(&bytes, &[8, 2, 2]);
        let patch = at(&item, &[8]);
        assert_eq!(at(&patch, &[8, 1, 2, 3, 4]), b"dryRun");
        assert_eq!(at(&patch, &[8, 1, 2, 3, 6]), b"string");
        let body = fields(&patch).into_iter().filter(|(n, _)| *n == 8).nth(1).unwrap().1;
        assert_eq!(at(&body, &[1, 1, 5, 1]), b"#/definitions/T");
        assert_eq!(at(&body, &[1, 1, 4]), [1]);
        assert_eq!(at(&patch, &[13, 2, 2]), b"\"patch\"");
        assert_eq!(at(&item, &[9, 1, 2, 4, 5]), b"string");
    }
}
