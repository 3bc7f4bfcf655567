//! The set of fields that a configuration names.

use serde_json::{Map, Value};

use super::element;
use super::set::{self, Set};
use super::shape::{Schema, Shape};
use crate::schema::{ListType, Type};

/// The fields that `value` names. Items without an element are left out: [`super::check`] has refused them where a
/// client is to hear of it.
pub fn field_set(value: &Value, shape: Shape<'_>, schema: &Schema<'_>) -> Set {
    extract(value, shape, schema).1
}

/// Whether the place itself is named, and what is below.
fn extract(value: &Value, shape: Shape<'_>, schema: &Schema<'_>) -> (bool, Set) {
    if shape.is_leaf() {
        return (true, Set::new());
    }
    match (shape, value) {
        (Shape::List(inner, list), Value::Array(items)) => (false, of_items(items, inner, list, schema)),
        (Shape::Struct(s, ..), Value::Object(map)) => {
            (false, of_map(map, |name| s.field(name).map(|f| (schema.field(f), true)), schema))
        }
        (Shape::Map(inner, _), Value::Object(map)) => {
            (false, of_map(map, |_| Some((schema.of(inner), false)), schema))
        }
        (Shape::Any, Value::Object(map)) => (false, of_map(map, |_| Some((Shape::Any, false)), schema)),
        (Shape::Any, v) if !v.is_null() => (true, Set::new()),
        _ => (false, Set::new()),
    }
}

/// `field` gives the shape of an entry and whether it is a field of a struct.
fn of_map<'t>(
    map: &Map<String, Value>,
    field: impl Fn(&str) -> Option<(Shape<'t>, bool)>,
    schema: &Schema<'t>,
) -> Set {
    let mut out = Set::new();
    for (name, value) in map {
        let Some((shape, named)) = field(name) else { continue };
        let (is, below) = extract(value, shape, schema);
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if let Some(node) = set::node(is || empty || !named, below) {
            out.insert(element::field(name), node);
        }
    }
    out
}

fn of_items(items: &[Value], inner: &Type, list: &ListType, schema: &Schema<'_>) -> Set {
    let mut out = Set::new();
    let mut repeated: Vec<String> = Vec::new();
    for item in items {
        let Ok(key) = element::of_item(item, inner, list, schema) else { continue };
        if out.contains_key(&key) {
            repeated.push(key);
            continue;
        }
        let (_, below) = extract(item, schema.of(inner), schema);
        if let Some(node) = set::node(true, below) {
            out.insert(key, node);
        }
    }
    // Items that cannot be told apart have one owner, and their parts none.
    for key in repeated {
        out.insert(key, Value::Object(Map::new()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_of_configurations() {
        let schema = Schema::builtin();
        for (ty, value, want) in [
            (
                "core.v1.ConfigMap",
                json!({"kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}}),
                json!({"f:kind": {}, "f:metadata": {"f:name": {}, "f:labels": {"f:x": {}}}, "f:data": {"f:k": {}}}),
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}], "args": ["x"],
                       "resources": {}, "securityContext": null}], "nodeSelector": {"a": "b"},
                       "volumes": [{"name": "v", "emptyDir": {}}]}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:args": {},
                       "f:resources": {}, "f:securityContext": {},
                       "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                       "f:nodeSelector": {},
                       "f:volumes": {"k:{\"name\":\"v\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}}}}),
            ),
            (
                "core.v1.Pod",
                json!({"metadata": {"finalizers": ["a/b", "c/d"], "ownerReferences": [{"uid": "u", "name": "n"}]}}),
                json!({"f:metadata": {"f:finalizers": {"v:\"a/b\"": {}, "v:\"c/d\"": {}},
                       "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}}}),
            ),
            ("core.v1.ConfigMap", json!({"data": {}}), json!({"f:data": {}})),
            ("core.v1.Service", json!({"spec": {"ports": []}}), json!({})),
            (
                "apps.v1.ControllerRevision",
                json!({"data": {"spec": {"list": [1, 2], "deep": {"a": 1}}}}),
                json!({"f:data": {"f:spec": {".": {}, "f:list": {}, "f:deep": {".": {}, "f:a": {}}}}}),
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {}}}}),
            ),
        ] {
            let id = schema.table.find(ty).unwrap();
            let got = field_set(&value, schema.root(id), schema);
            assert_eq!(Value::Object(got), want, "{value}");
        }
    }
}
