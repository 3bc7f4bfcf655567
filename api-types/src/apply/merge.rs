//! Merges an applied configuration into an object.
//!
//! Nothing is removed here. What the configuration gives wins; lists of items keep the object's order where the
//! configuration says nothing, and take the configuration's where it does.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::element;
use super::shape::{Schema, Shape};
use crate::schema::{ListType, Type};

/// `live` with `config` merged into it; `None` when nothing is left.
pub fn merge(
    live: Option<&Value>,
    config: Option<&Value>,
    shape: Shape<'_>,
    schema: &Schema<'_>,
) -> Option<Value> {
    let keep_right = || config.or(live).cloned();
    let Some(config) = config else { return live.cloned() };
    if shape.is_leaf() {
        return keep_right();
    }
    match shape {
        Shape::List(inner, list) => {
            let (l, r) = (array(live), array(Some(config)));
            if l.is_empty() && r.is_empty() {
                return keep_right();
            }
            let out = items(l, r, inner, list, schema);
            (!out.is_empty()).then_some(Value::Array(out))
        }
        Shape::Any if !config.is_object() || live.is_some_and(|l| !l.is_object()) => keep_right(),
        _ => {
            let (l, r) = (live.and_then(Value::as_object), config.as_object());
            if l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty) {
                return keep_right();
            }
            let out = entries(l, r, shape, schema);
            (!out.is_empty()).then_some(Value::Object(out))
        }
    }
}

fn array(v: Option<&Value>) -> &[Value] {
    v.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entries(
    l: Option<&Map<String, Value>>,
    r: Option<&Map<String, Value>>,
    shape: Shape<'_>,
    schema: &Schema<'_>,
) -> Map<String, Value> {
    let mut out = l.cloned().unwrap_or_default();
    for (name, value) in r.into_iter().flatten() {
        let inner = match shape {
            Shape::Struct(s, ..) => s.field(name).map(|f| schema.field(f)),
            Shape::Map(inner, _) => Some(schema.of(inner)),
            _ => Some(Shape::Any),
        };
        let Some(inner) = inner else { continue };
        match merge(out.get(name), Some(value), inner, schema) {
            Some(merged) => {
                out.insert(name.clone(), merged);
            }
            None => {
                out.remove(name);
            }
        }
    }
    out
}

/// An item of the object: where it is, and how often.
struct Live<'v> {
    item: &'v Value,
    repeated: bool,
}

/// Upstream's order: items in both follow the configuration, items of the object alone stay before the shared item
/// they were before.
fn items(l: &[Value], r: &[Value], inner: &Type, list: &ListType, schema: &Schema<'_>) -> Vec<Value> {
    let keyed = |list_: &[Value]| -> Vec<(String, usize)> {
        let all = list_.iter().enumerate();
        all.filter_map(|(i, v)| element::of_item(v, inner, list, schema).ok().map(|k| (k, i))).collect()
    };
    let (left, right) = (keyed(l), keyed(r));
    let mut in_left: HashMap<&str, Live<'_>> = HashMap::with_capacity(left.len());
    for (key, i) in &left {
        in_left
            .entry(key)
            .and_modify(|found| found.repeated = true)
            .or_insert(Live { item: &l[*i], repeated: false });
    }
    let in_right: HashMap<&str, &Value> = right.iter().map(|(k, i)| (k.as_str(), &r[*i])).collect();
    let shape = schema.of(inner);
    // What cannot be told apart in the object is replaced, not merged.
    let merged = |key: &str| {
        let live = in_left.get(key).filter(|f| !f.repeated).map(|f| f.item);
        merge(live, in_right.get(key).copied(), shape, schema)
    };
    let mut shared = right.iter().map(|(k, _)| k.as_str()).filter(|k| in_left.contains_key(k));
    let mut next = shared.next();
    let mut done: HashMap<&str, ()> = HashMap::with_capacity(right.len());
    let mut out = Vec::with_capacity(l.len().max(r.len()));
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        if let (Some((a, _)), Some((b, _))) = (left.get(i), right.get(j)) {
            if a == b {
                done.insert(a, ());
                out.extend(merged(a));
                (i, j) = (i + 1, j + 1);
                next = shared.next();
                continue;
            }
            if in_right.contains_key(a.as_str()) && next.is_some_and(|n| n != a) {
                // Shared, but not the one that is due.
                i += 1;
                continue;
            }
        }
        if let Some((a, at)) = left.get(i) {
            if !in_right.contains_key(a.as_str()) {
                out.push(l[*at].clone());
                i += 1;
                continue;
            }
            if done.contains_key(a.as_str()) {
                i += 1;
            }
        }
        if let Some((b, _)) = right.get(j) {
            done.insert(b, ());
            out.extend(merged(b));
            j += 1;
            if next == Some(b.as_str()) {
                next = shared.next();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(ty: &str, live: Value, config: Value) -> Value {
        let schema = Schema::builtin();
        let id = schema.table.find(ty).unwrap();
        merge(Some(&live), Some(&config), schema.root(id), schema).unwrap()
    }

    #[test]
    fn values_merge_by_their_shape() {
        for (ty, live, config, want) in [
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"data": {"a": "3", "c": "4"}}),
                json!({"data": {"a": "3", "b": "2", "c": "4"}}),
            ),
            (
                "core.v1.Service",
                json!({"spec": {"selector": {"a": "1"}, "type": "ClusterIP"}}),
                json!({"spec": {"selector": {"b": "2"}}}),
                json!({"spec": {"selector": {"b": "2"}, "type": "ClusterIP"}}),
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "1", "args": ["x", "y"]}]}}),
                json!({"spec": {"containers": [{"name": "a", "args": ["z"]}]}}),
                json!({"spec": {"containers": [{"name": "a", "image": "1", "args": ["z"]}]}}),
            ),
            // Null says nothing about what has parts of its own.
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1"}}),
                json!({"data": null}),
                json!({"data": {"a": "1"}}),
            ),
            ("core.v1.ConfigMap", json!({}), json!({"data": {}}), json!({"data": {}})),
            (
                "apps.v1.ControllerRevision",
                json!({"data": {"a": {"x": 1}, "l": [1]}}),
                json!({"data": {"a": {"y": 2}, "l": [2]}}),
                json!({"data": {"a": {"x": 1, "y": 2}, "l": [2]}}),
            ),
        ] {
            assert_eq!(merged(ty, live.clone(), config.clone()), want, "{live} + {config}");
        }
    }

    #[test]
    fn items_are_ordered_as_upstream_orders_them() {
        let list = |names: &str| -> Value {
            let all: Vec<Value> = names.chars().map(|c| json!({"name": c.to_string()})).collect();
            json!({"spec": {"containers": all}})
        };
        for (live, config, want) in [
            ("abc", "b", "abc"),
            ("abc", "cb", "acb"),
            ("abc", "dab", "dabc"),
            ("abc", "xcy", "abxcy"),
            ("abcd", "dcba", "dcba"),
            ("", "ab", "ab"),
            ("ab", "", "ab"),
            ("abcde", "eb", "acdeb"),
            ("acb", "bxa", "cbxa"),
        ] {
            let got = merged("core.v1.Pod", list(live), list(config));
            let got: String = got["spec"]["containers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["name"].as_str().unwrap())
                .collect();
            assert_eq!(got, want, "{live} + {config}");
        }
    }

    #[test]
    fn sets_keep_each_value_once() {
        let with = |f: Value| json!({"metadata": {"finalizers": f}});
        assert_eq!(
            merged("core.v1.Pod", with(json!(["a/a", "b/b"])), with(json!(["c/c", "a/a"]))),
            with(json!(["c/c", "a/a", "b/b"]))
        );
    }
}
