//! One step of a path to a field, in the text that `fieldsV1` writes it in: `f:name`, `k:{"name":"a"}`, `v:"x"`,
//! `i:0`.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::set::{self, Set};
use super::shape::{Schema, Shape};
use crate::schema::{ListType, Type};

/// `f:name`.
pub fn field(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push_str("f:");
    out.push_str(name);
    out
}

/// JSON as Go writes it.
fn json(value: &Value, out: &mut String) {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        out.push_str(&text);
        return;
    }
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// The element of an item of an associative list; an error in upstream's words when it has none.
pub fn of_item(item: &Value, inner: &Type, list: &ListType, schema: &Schema<'_>) -> Result<String, String> {
    let ListType::Map(keys) = list else { return of_set_item(item) };
    let Value::Object(map) = item else {
        return Err(match item {
            Value::Null => "associative list with keys may not have a null element".into(),
            _ => "associative list with keys may not have non-map elements".into(),
        });
    };
    let mut sorted: Vec<&'static str> = keys.clone();
    sorted.sort_unstable();
    let mut out = String::with_capacity(24);
    out.push_str("k:{");
    for key in sorted {
        let Some(value) = map.get(key).or_else(|| schema.key_default(inner, key)) else { continue };
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push('"');
        out.push_str(key);
        out.push_str("\":");
        json(value, &mut out);
    }
    if out.ends_with('{') {
        let names: Vec<String> = keys.iter().map(|k| format!("{k:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    out.push('}');
    Ok(out)
}

fn of_set_item(item: &Value) -> Result<String, String> {
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
        scalar => {
            let mut out = "v:".to_owned();
            json(scalar, &mut out);
            Ok(out)
        }
    }
}

/// An element that was read.
#[derive(Debug)]
enum Element<'a> {
    Field(&'a str),
    Key(Map<String, Value>),
    Value(Value),
    Index(i64),
}

/// Reads an element; `None` for a form that a later version may know.
fn read(text: &str) -> Result<Option<Element<'_>>, String> {
    let mut chars = text.chars();
    let (Some(form), Some(colon)) = (chars.next(), chars.next()) else {
        return Err("key must be 2 characters long:".into());
    };
    if colon != ':' {
        return Err(format!("missing colon: {text}"));
    }
    let rest = chars.as_str();
    let parsed = || serde_json::from_str::<Value>(rest).map_err(|e| e.to_string());
    match form {
        'f' => Ok(Some(Element::Field(rest))),
        'v' => parsed().map(|v| Some(Element::Value(v))),
        'k' => match parsed()? {
            Value::Object(m) => Ok(Some(Element::Key(m))),
            other => Err(format!("a key is no object: {other}")),
        },
        'i' => rest.parse().map(|i| Some(Element::Index(i))).map_err(|_| format!("no index: {rest}")),
        _ => Ok(None),
    }
}

/// The canonical text of an element that a client has written; `None` when its form is unknown.
fn canonical(text: &str) -> Result<Option<String>, String> {
    Ok(read(text)?.map(|e| match e {
        Element::Field(_) => text.to_owned(),
        Element::Index(i) => format!("i:{i}"),
        Element::Value(v) => {
            let mut out = "v:".to_owned();
            json(&v, &mut out);
            out
        }
        Element::Key(m) => {
            let mut names: Vec<&String> = m.keys().collect();
            names.sort();
            let mut out = "k:{".to_owned();
            for (i, name) in names.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                json(&m[name], &mut out);
            }
            out.push('}');
            out
        }
    }))
}

/// A set that a client has written, in canonical form; an error when it is none.
pub fn canonical_set(value: &Value) -> Result<Set, String> {
    let Value::Object(map) = value else { return Err(format!("a set of fields is no object: {value}")) };
    let mut out = Set::new();
    for (key, inner) in set::nodes(map) {
        let Some(key) = canonical(key)? else { continue };
        let below = canonical_set(inner)?;
        // What has no known children stands for itself, as upstream reads it.
        if let Some(node) = set::node(set::is_member(inner) || below.is_empty(), below) {
            let mut one = Set::new();
            one.insert(key, node);
            set::union(&mut out, &one);
        }
    }
    Ok(out)
}

impl Element<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let mut order = Ordering::Equal;
                for ((n, v), (m, w)) in a.iter().zip(b) {
                    order = order.then_with(|| n.cmp(m)).then_with(|| compare(v, w));
                }
                order.then(a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// Numbers before texts before truth values, as upstream orders them.
fn compare(a: &Value, b: &Value) -> Ordering {
    let rank = |v: &Value| match v {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        _ => 3,
    };
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => x.as_f64().unwrap_or_default().total_cmp(&y.as_f64().unwrap_or_default()),
        },
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// A scalar as paths show it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{s:?}"),
        other => other.to_string(),
    }
}

/// An element as people read it: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
pub fn printed(text: &str) -> String {
    match read(text) {
        Ok(Some(Element::Field(name))) => format!(".{name}"),
        Ok(Some(Element::Key(m))) => {
            let pairs: Vec<String> = m.iter().map(|(k, v)| format!("{k}={}", shown(v))).collect();
            format!("[{}]", pairs.join(","))
        }
        Ok(Some(Element::Value(v))) => format!("[={}]", shown(&v)),
        Ok(Some(Element::Index(i))) => format!("[{i}]"),
        _ => "{{invalid path element}}".into(),
    }
}

/// The members of a set as people read them, in upstream's order: the members of a level before what is below.
pub fn paths(set: &Set) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    collect(set, &mut Vec::new(), &mut out);
    out
}

fn collect(set: &Set, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    let mut all: Vec<(&String, &Value)> = set::nodes(set).collect();
    all.sort_by(|(a, _), (b, _)| match (read(a), read(b)) {
        (Ok(Some(x)), Ok(Some(y))) => x.compare(&y),
        _ => a.cmp(b),
    });
    for (key, _) in all.iter().filter(|(_, n)| set::is_member(n)) {
        let mut path = prefix.clone();
        path.push((*key).clone());
        out.push(path);
    }
    for (key, node) in all {
        if let Some(below) = set::below(node) {
            prefix.push(key.clone());
            collect(below, prefix, out);
            prefix.pop();
        }
    }
}

/// Makes the fields of structs that have members below them members themselves.
pub fn with_named_fields(set: &Set, shape: Shape<'_>, schema: &Schema<'_>) -> Set {
    let mut out = Set::new();
    for (key, node) in set::nodes(set) {
        let Some(below) = set::below(node) else { continue };
        let (inner, named) = match (shape, key.strip_prefix("f:")) {
            (Shape::Struct(s, ..), Some(name)) => {
                (s.field(name).map(|f| schema.field(f)), s.field(name).is_some())
            }
            (Shape::Map(inner, _), Some(_)) => (Some(schema.of(inner)), false),
            (Shape::Any, Some(_)) => (Some(Shape::Any), false),
            (Shape::List(inner, _), None) if key.starts_with("k:") => (Some(schema.of(inner)), false),
            _ => (None, false),
        };
        let deeper = match inner {
            Some(inner) => with_named_fields(below, inner, schema),
            None => set::nodes(below).map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        if let Some(n) = set::node(named || set::is_member(node), deeper) {
            out.insert(key.clone(), n);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_have_elements_by_their_keys() {
        let schema = Schema::builtin();
        let t = schema.table;
        let field = |s: &str, f: &str| t.get(t.find(s).unwrap()).field(f).unwrap().clone();
        for (owner, name, item, want) in [
            ("core.v1.PodSpec", "containers", json!({"name": "a", "image": "b"}), "k:{\"name\":\"a\"}"),
            // A key that Go always writes is there also where the configuration leaves it out.
            ("core.v1.PodSpec", "containers", json!({"image": "b"}), "k:{\"name\":\"\"}"),
            (
                "core.v1.Container",
                "ports",
                json!({"containerPort": 80}),
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}",
            ),
            (
                "core.v1.ServiceSpec",
                "ports",
                json!({"protocol": "UDP", "port": 53}),
                "k:{\"port\":53,\"protocol\":\"UDP\"}",
            ),
            ("meta.v1.ObjectMeta", "finalizers", json!("x/<y>"), "v:\"x/\\u003cy\\u003e\""),
            ("core.v1.PodSpec", "imagePullSecrets", json!({}), "k:{\"name\":\"\"}"),
            ("meta.v1.ObjectMeta", "ownerReferences", json!({"uid": "u"}), "k:{\"uid\":\"u\"}"),
        ] {
            let f = field(owner, name);
            let Type::List(inner) = &f.ty else { panic!("{name} is no list") };
            assert_eq!(of_item(&item, inner, &f.list, schema).as_deref(), Ok(want), "{owner}.{name}");
        }
        let f = field("core.v1.ServiceAccount", "secrets");
        let Type::List(inner) = &f.ty else { panic!("secrets are no list") };
        assert_eq!(
            of_item(&json!({}), inner, &f.list, schema).unwrap_err(),
            "associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)"
        );
    }

    #[test]
    fn sets_of_clients_get_their_canonical_form() {
        for (text, want) in [
            (json!({"k:{\"b\": 1, \"a\": \"x\"}": {}}), Some(json!({"k:{\"a\":\"x\",\"b\":1}": {}}))),
            (json!({"f:a": {".": {}, "v: \"x\"": {}}}), Some(json!({"f:a": {".": {}, "v:\"x\"": {}}}))),
            (json!({"x:a": {}, "f:b": {}}), Some(json!({"f:b": {}}))),
            (json!({"f": {}}), None),
            (json!({"fa": {}}), None),
            (json!({"k:[]": {}}), None),
            (json!({"i:x": {}}), None),
            (json!({"v:{": {}}), None),
            (json!({"f:a": 5}), None),
            (json!([]), None),
        ] {
            assert_eq!(canonical_set(&text).ok().map(Value::Object), want, "{text}");
        }
    }

    #[test]
    fn paths_are_printed_in_order() {
        let set = json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {"f:name": {}}, "k:{\"port\":443}": {}, "v:\"x\"": {}, "i:3": {}}},
            "f:data": {}});
        let got: Vec<String> = paths(set.as_object().unwrap())
            .iter()
            .map(|p| p.iter().map(|e| printed(e)).collect::<String>())
            .collect();
        assert_eq!(
            got,
            vec![
                ".data",
                ".spec.ports[port=443]",
                ".spec.ports[=\"x\"]",
                ".spec.ports[3]",
                ".spec.ports[port=80].name"
            ]
        );
    }
}
