//! Takes fields out of a value.

use serde_json::{Map, Value};

use super::element;
use super::set::{self, Set};
use super::shape::{Schema, Shape};

/// `value` without the members of `fields`. What is left without parts becomes null, as upstream leaves it: the
/// place is named, with nothing in it.
pub fn remove(value: Value, fields: &Set, shape: Shape<'_>, schema: &Schema<'_>) -> Value {
    if fields.is_empty() {
        return value;
    }
    match (shape, value) {
        (Shape::Scalar(_), v) => v,
        // The parts of what is one value go with it.
        (s, Value::Array(_) | Value::Object(_)) if s.is_leaf() => Value::Null,
        (Shape::List(inner, list), Value::Array(items)) => {
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                match element::of_item(&item, inner, list, schema).ok().and_then(|k| fields.get(&k)) {
                    Some(node) if set::is_member(node) => {}
                    Some(node) => out.push(without(item, node, schema.of(inner), schema)),
                    None => out.push(item),
                }
            }
            if out.is_empty() { Value::Null } else { Value::Array(out) }
        }
        (shape, Value::Object(map)) => {
            let mut out = Map::new();
            for (name, value) in map {
                let inner = match shape {
                    Shape::Struct(s, ..) => s.field(&name).map(|f| schema.field(f)),
                    Shape::Map(inner, _) => Some(schema.of(inner)),
                    _ => Some(Shape::Any),
                };
                match (fields.get(&element::field(&name)), inner) {
                    (Some(node), _) if set::is_member(node) => {}
                    (Some(node), Some(inner)) => {
                        out.insert(name, without(value, node, inner, schema));
                    }
                    _ => {
                        out.insert(name, value);
                    }
                }
            }
            if out.is_empty() { Value::Null } else { Value::Object(out) }
        }
        (_, v) => v,
    }
}

fn without(value: Value, node: &Value, shape: Shape<'_>, schema: &Schema<'_>) -> Value {
    match set::below(node) {
        Some(below) => remove(value, below, shape, schema),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_go_and_the_rest_stays() {
        let schema = Schema::builtin();
        for (ty, value, fields, want) in [
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"f:data": {"f:a": {}, "f:x": {}}}),
                json!({"data": {"b": "2"}}),
            ),
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1"}, "immutable": true}),
                json!({"f:data": {"f:a": {}}}),
                json!({"data": null, "immutable": true}),
            ),
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1"}, "immutable": true}),
                json!({"f:data": {".": {}}}),
                json!({"immutable": true}),
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {}, "k:{\"name\":\"b\"}": {"f:image": {}}}}}),
                json!({"spec": {"containers": [{"name": "b"}]}}),
            ),
            (
                "core.v1.Pod",
                json!({"metadata": {"finalizers": ["a/a", "b/b"]}}),
                json!({"f:metadata": {"f:finalizers": {"v:\"a/a\"": {}}}}),
                json!({"metadata": {"finalizers": ["b/b"]}}),
            ),
            (
                "core.v1.Service",
                json!({"spec": {"selector": {"a": "1"}}}),
                json!({"f:spec": {"f:selector": {"f:a": {}}}}),
                json!({"spec": {"selector": null}}),
            ),
        ] {
            let id = schema.table.find(ty).unwrap();
            let got = remove(value.clone(), fields.as_object().unwrap(), schema.root(id), schema);
            assert_eq!(got, want, "{value} - {fields}");
        }
    }
}
