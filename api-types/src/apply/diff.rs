//! What one write has changed.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::element;
use super::set::{self, Set};
use super::shape::{Schema, Shape};
use crate::schema::{ListType, Struct, StructId, Type};

/// The fields that differ between two objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// There now and different or absent before.
    pub changed: Set,
    /// There before and gone now.
    pub removed: Set,
}

impl Diff {
    /// Whether the objects are the same.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// An item of an associative list has no element, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoElement(pub String);

/// Metadata that never has an owner: what identifies the object and what only the system writes.
pub const STRIPPED: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Compares two objects of the struct `id`. What is [`STRIPPED`] is not looked at.
pub fn objects(old: &Value, new: &Value, id: StructId, schema: &Schema<'_>) -> Result<Diff, NoElement> {
    let walker = Walker { schema };
    let (Value::Object(l), Value::Object(r)) = (old, new) else { return Ok(Diff::default()) };
    let mut out = Places::default();
    let shape = schema.root(id);
    let Shape::Struct(s, ..) = shape else { return Ok(Diff::default()) };
    walker.fields(Some(l), Some(r), s, id, Level::Root, &mut out)?;
    Ok(Diff { changed: out.changed.below, removed: out.removed.below })
}

/// A place in one of the two sets.
#[derive(Default)]
struct Place {
    is: bool,
    below: Set,
}

/// A place in both sets.
#[derive(Default)]
struct Places {
    changed: Place,
    removed: Place,
}

impl Places {
    /// Hangs what was found below `key` into its parent.
    fn put(&mut self, found: Places, key: impl FnOnce() -> String) {
        let changed = set::node(found.changed.is, found.changed.below);
        let removed = set::node(found.removed.is, found.removed.below);
        match (changed, removed) {
            (None, None) => {}
            (Some(c), None) => {
                self.changed.below.insert(key(), c);
            }
            (None, Some(r)) => {
                self.removed.below.insert(key(), r);
            }
            (Some(c), Some(r)) => {
                let key = key();
                self.changed.below.insert(key.clone(), c);
                self.removed.below.insert(key, r);
            }
        }
    }

    /// A value that has no parts, or whose parts are empty on both sides.
    fn leaf(l: Option<&Value>, r: Option<&Value>) -> Self {
        let mut out = Self::default();
        match (l, r) {
            (Some(_), None) => out.removed.is = true,
            (l, r) => out.changed.is = l != r,
        }
        out
    }
}

/// Where in the object the walk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Metadata,
    Inside,
}

struct Walker<'s, 't> {
    schema: &'s Schema<'t>,
}

type Entries = Map<String, Value>;

impl<'t> Walker<'_, 't> {
    fn value(
        &self,
        l: Option<&Value>,
        r: Option<&Value>,
        shape: Shape<'t>,
        level: Level,
    ) -> Result<Places, NoElement> {
        if shape.is_leaf() {
            return Ok(Places::leaf(l, r));
        }
        let mut out = Places::default();
        match shape {
            Shape::List(inner, list) => {
                // Items are told apart by texts that cost more than this comparison.
                if l == r {
                    return Ok(out);
                }
                let items = |v: Option<&'_ Value>| v.and_then(Value::as_array).map_or(0, Vec::len);
                if items(l) == 0 && items(r) == 0 {
                    return Ok(Places::leaf(l, r));
                }
                self.items(l.and_then(Value::as_array), r.and_then(Value::as_array), inner, list, &mut out)?;
            }
            Shape::Struct(s, id, _) => {
                let (lm, rm) = (l.and_then(Value::as_object), r.and_then(Value::as_object));
                let visible = |m: Option<&Entries>| {
                    m.is_some_and(|m| !m.is_empty() || !self.schema.zeros(id).is_empty())
                };
                if !visible(lm) && !visible(rm) {
                    return Ok(Places::leaf(l, r));
                }
                self.fields(lm, rm, s, id, level, &mut out)?;
            }
            Shape::Map(inner, _) => {
                let (lm, rm) = (l.and_then(Value::as_object), r.and_then(Value::as_object));
                if is_empty(lm) && is_empty(rm) {
                    return Ok(Places::leaf(l, r));
                }
                self.entries(lm, rm, self.schema.of(inner), &mut out)?;
            }
            Shape::Any | Shape::Scalar(_) => {
                let (lm, rm) = (l.and_then(Value::as_object), r.and_then(Value::as_object));
                let whole =
                    |v: Option<&Value>, m: Option<&Entries>| v.is_some_and(|v| !v.is_null()) && m.is_none();
                if is_empty(lm) && is_empty(rm) {
                    return Ok(Places::leaf(l, r));
                }
                self.entries(lm, rm, Shape::Any, &mut out)?;
                if whole(l, lm) || whole(r, rm) {
                    out.changed.is = r.is_some();
                }
            }
        }
        if l.is_none() {
            out.changed.is = true;
        } else if r.is_none() {
            out.removed.is = true;
        }
        Ok(out)
    }

    fn fields(
        &self,
        l: Option<&Entries>,
        r: Option<&Entries>,
        s: &'t Struct,
        id: StructId,
        level: Level,
        out: &mut Places,
    ) -> Result<(), NoElement> {
        let skipped = |name: &str| match level {
            Level::Root => matches!(name, "apiVersion" | "kind"),
            Level::Metadata => STRIPPED.binary_search(&name).is_ok(),
            Level::Inside => false,
        };
        let mut one = |name: &str, lv: Option<&Value>, rv: Option<&Value>| -> Result<(), NoElement> {
            if skipped(name) {
                return Ok(());
            }
            let Some(field) = s.field(name) else { return Ok(()) };
            let told = |v: &&Value| !self.schema.omits(id, name, v);
            let (lv, rv) = (lv.filter(told), rv.filter(told));
            if lv.is_none() && rv.is_none() {
                return Ok(());
            }
            let deeper =
                if level == Level::Root && name == "metadata" { Level::Metadata } else { Level::Inside };
            let found = self.value(lv, rv, self.schema.field(field), deeper)?;
            out.put(found, || element::field(name));
            Ok(())
        };
        let zero = |side: Option<&Entries>, name: &str| side.and_then(|_| self.schema.zero(id, name));
        for (name, rv) in r.into_iter().flatten() {
            one(name, l.and_then(|m| m.get(name)).or_else(|| zero(l, name)), Some(rv))?;
        }
        for (name, lv) in l.into_iter().flatten() {
            if r.is_none_or(|m| !m.contains_key(name)) {
                one(name, Some(lv), zero(r, name))?;
            }
        }
        // What Go writes on one side only: in a struct that is new or gone.
        if l.is_some() != r.is_some() {
            for (name, zero) in self.schema.zeros(id) {
                if l.or(r).is_some_and(|m| !m.contains_key(*name)) {
                    one(name, l.map(|_| zero), r.map(|_| zero))?;
                }
            }
        }
        Ok(())
    }

    fn entries(
        &self,
        l: Option<&Entries>,
        r: Option<&Entries>,
        shape: Shape<'t>,
        out: &mut Places,
    ) -> Result<(), NoElement> {
        for (name, rv) in r.into_iter().flatten() {
            let found = self.value(l.and_then(|m| m.get(name)), Some(rv), shape, Level::Inside)?;
            out.put(found, || element::field(name));
        }
        for (name, lv) in l.into_iter().flatten() {
            if r.is_none_or(|m| !m.contains_key(name)) {
                let found = self.value(Some(lv), None, shape, Level::Inside)?;
                out.put(found, || element::field(name));
            }
        }
        Ok(())
    }

    fn items(
        &self,
        l: Option<&Vec<Value>>,
        r: Option<&Vec<Value>>,
        inner: &'t Type,
        list: &'t ListType,
        out: &mut Places,
    ) -> Result<(), NoElement> {
        type Sides<'v> = (Vec<&'v Value>, Vec<&'v Value>);
        let size = l.map_or(0, Vec::len).max(r.map_or(0, Vec::len));
        let mut all: HashMap<String, Sides<'_>> = HashMap::with_capacity(size);
        for (side, items) in [(false, l), (true, r)] {
            for item in items.into_iter().flatten() {
                let key = element::of_item(item, inner, list, self.schema).map_err(NoElement)?;
                let sides = all.entry(key).or_default();
                if side { sides.1.push(item) } else { sides.0.push(item) }
            }
        }
        let shape = self.schema.of(inner);
        for (key, (before, after)) in all {
            let mut found = Places::default();
            match (before.as_slice(), after.as_slice()) {
                (before @ ([] | [_]), after @ ([] | [_])) => {
                    found =
                        self.value(before.first().copied(), after.first().copied(), shape, Level::Inside)?;
                }
                // Repeated on both sides: one value as a whole.
                ([_, _, ..], [_, _, ..]) => found.changed.is = before != after,
                (_, after) if before.len() >= 2 => {
                    if let Some(item) = after.first() {
                        found = self.value(None, Some(item), shape, Level::Inside)?;
                    }
                    found.removed.is = true;
                }
                (before, _) => {
                    if let Some(item) = before.first() {
                        found = self.value(Some(item), None, shape, Level::Inside)?;
                    }
                    found.changed.is = true;
                }
            }
            out.put(found, || key);
        }
        Ok(())
    }
}

fn is_empty(map: Option<&Entries>) -> bool {
    map.is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stripped_fields_are_sorted() {
        assert!(STRIPPED.is_sorted());
    }

    #[test]
    fn what_a_write_changes() {
        for (ty, old, new, changed, removed) in [
            (
                "core.v1.ConfigMap",
                json!({}),
                json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "u", "labels": {"x": "y"}}, "data": {"k": "v"}}),
                json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:data": {".": {}, "f:k": {}}}),
                json!({}),
            ),
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"data": {"a": "3", "c": "4"}}),
                json!({"f:data": {"f:a": {}, "f:c": {}}}),
                json!({"f:data": {"f:b": {}}}),
            ),
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": "1"}}),
                json!({}),
                json!({}),
                json!({"f:data": {".": {}, "f:a": {}}}),
            ),
            // Go's empty Pod has a spec with a null list of containers: neither is owned by who fills it.
            (
                "core.v1.Pod",
                json!({}),
                json!({"spec": {"containers": [{"name": "a", "image": "i"}], "dnsPolicy": "ClusterFirst",
                       "securityContext": {}}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {},
                       "f:resources": {}}}, "f:dnsPolicy": {}, "f:securityContext": {}}}),
                json!({}),
            ),
            (
                "apps.v1.Deployment",
                json!({}),
                json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
                       "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
                       "template": {"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {}}}}),
                json!({"f:spec": {"f:replicas": {}, "f:selector": {},
                       "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                       "f:template": {"f:metadata": {"f:name": {}, "f:labels": {".": {}, "f:a": {}}}}}}),
                json!({}),
            ),
            // A field that Go always writes is the same when it is absent and when it has its zero value.
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a"}]}}),
                json!({"spec": {"containers": [{"name": "a", "resources": {}}]}}),
                json!({}),
                json!({}),
            ),
            (
                "core.v1.Pod",
                json!({"status": {}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
                json!({"f:status": {"f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:type": {},
                       "f:status": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}}}}}),
                json!({}),
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "args": ["x"]}, {"name": "b"}]}}),
                json!({"spec": {"containers": [{"name": "a", "args": ["y"]}]}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {"f:args": {}}}}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"b\"}": {".": {}, "f:name": {}, "f:resources": {}}}}}),
            ),
            // What Go leaves out when it is zero says nothing then.
            (
                "core.v1.Pod",
                json!({"spec": {"hostNetwork": true, "enableServiceLinks": true}}),
                json!({"spec": {"hostNetwork": false, "hostPID": false, "enableServiceLinks": false}}),
                json!({"f:spec": {"f:enableServiceLinks": {}}}),
                json!({"f:spec": {"f:hostNetwork": {}}}),
            ),
            (
                "apps.v1.ControllerRevision",
                json!({}),
                json!({"data": {"spec": {"l": [1]}}}),
                json!({"f:data": {"f:spec": {".": {}, "f:l": {}}}}),
                json!({}),
            ),
            // Items that cannot be told apart are one value.
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "1"}]}}),
                json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "a", "image": "2"}]}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {}}}}),
                json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}, "f:resources": {}}}}}),
            ),
            (
                "apps.v1.ControllerRevision",
                json!({"data": {"a": {"b": 1}}}),
                json!({"data": {"a": [1]}}),
                json!({"f:data": {"f:a": {}}}),
                json!({"f:data": {"f:a": {"f:b": {}}}}),
            ),
        ] {
            let schema = Schema::builtin();
            let got = objects(&old, &new, schema.table.find(ty).unwrap(), schema).unwrap();
            assert_eq!(Value::Object(got.changed), changed, "{old} -> {new}");
            assert_eq!(Value::Object(got.removed), removed, "{old} -> {new}");
        }
    }

    #[test]
    fn an_item_without_a_key_is_an_error() {
        let schema = Schema::builtin();
        let id = schema.table.find("core.v1.ServiceAccount").unwrap();
        let e = objects(&json!({}), &json!({"secrets": [{}]}), id, schema).unwrap_err();
        assert!(e.0.contains("omits all key fields [\"name\"]"), "{e}");
    }
}
