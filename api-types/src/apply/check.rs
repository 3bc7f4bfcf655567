//! Whether an applied configuration fits its type, told in upstream's words.
//!
//! A configuration is judged as it was sent, before anything is decoded: unknown fields are errors here whatever
//! `fieldValidation` says, and items of a list must be told apart.

use std::collections::HashSet;

use serde_json::Value;

use super::element;
use super::shape::{Schema, Shape};
use crate::schema::{ListType, Type};

/// How many errors are told.
const MAX_ERRORS: usize = 100;

/// Why `value` does not fit, as upstream joins it; nothing when it does.
pub fn check(value: &Value, shape: Shape<'_>, schema: &Schema<'_>) -> Result<(), String> {
    let mut checker = Checker { schema, path: String::new(), errors: Vec::new() };
    checker.value(value, shape);
    match checker.errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

struct Checker<'s, 't> {
    schema: &'s Schema<'t>,
    path: String,
    errors: Vec<String>,
}

impl<'t> Checker<'_, 't> {
    fn error(&mut self, text: &str) {
        if self.errors.len() < MAX_ERRORS {
            let place = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
            self.errors.push(format!("{place}{text}"));
        }
    }

    /// Checks something one step deeper.
    fn below(&mut self, step: &str, check: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        self.path.push_str(step);
        check(self);
        self.path.truncate(before);
    }

    fn value(&mut self, value: &Value, shape: Shape<'t>) {
        if value.is_null() {
            return;
        }
        match shape {
            Shape::Scalar(ty) => self.scalar(value, ty),
            Shape::Any => {}
            Shape::List(inner, list) => match value {
                Value::Array(items) => self.items(items, inner, list),
                other => self.error(&format!("expected list, got &{{{}}}", go(other))),
            },
            Shape::Struct(s, ..) => match value {
                Value::Object(map) => {
                    for (name, value) in map {
                        let schema = self.schema;
                        self.below(&format!(".{name}"), |c| match s.field(name) {
                            Some(f) => c.value(value, schema.field(f)),
                            None => c.error("field not declared in schema"),
                        });
                    }
                }
                other => self.error(&format!("expected map, got &{{{}}}", go(other))),
            },
            Shape::Map(inner, _) => match value {
                Value::Object(map) => {
                    let shape = self.schema.of(inner);
                    for (name, value) in map {
                        self.below(&format!(".{name}"), |c| c.value(value, shape));
                    }
                }
                other => self.error(&format!("expected map, got &{{{}}}", go(other))),
            },
        }
    }

    fn scalar(&mut self, value: &Value, ty: &Type) {
        match ty {
            Type::Int32 | Type::Int64 | Type::Double if !value.is_number() => {
                self.error(&format!("expected numeric (int or float), got {}", go_type(value)));
            }
            Type::String | Type::Bytes if !value.is_string() => {
                let shown = format!("&value.valueUnstructured{{Value:{}}}", go_syntax(value));
                self.error(&format!("expected string, got {shown}"));
            }
            Type::Bool if !value.is_boolean() => {
                self.error(&format!("expected boolean, got &{{{}}}", go(value)));
            }
            _ if value.is_array() || value.is_object() => {
                self.error(&format!("expected any scalar, got &{{{}}}", go(value)));
            }
            _ => {}
        }
    }

    fn items(&mut self, items: &[Value], inner: &'t Type, list: &ListType) {
        let shape = self.schema.of(inner);
        if *list == ListType::Atomic {
            for (i, item) in items.iter().enumerate() {
                self.below(&format!("[{i}]"), |c| c.value(item, shape));
            }
            return;
        }
        let mut seen = HashSet::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let key = match element::of_item(item, inner, list, self.schema) {
                Ok(key) => key,
                Err(e) => return self.error(&format!("element {i}: {e}")),
            };
            let printed = element::printed(&key);
            if !seen.insert(key) {
                self.error(&format!("duplicate entries for key {printed}"));
            }
            self.below(&printed, |c| c.value(item, shape));
        }
    }
}

/// A value as Go's `%v` prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(s) => s.clone(),
        Value::Array(a) => format!("[{}]", a.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(m) => {
            let pairs: Vec<String> = m.iter().map(|(k, v)| format!("{k}:{}", go(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// A value as Go's `%#v` prints it.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::String(s) => format!("{s:?}"),
        Value::Array(a) => {
            format!("[]interface {{}}{{{}}}", a.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(m) => {
            let pairs: Vec<String> = m.iter().map(|(k, v)| format!("{k:?}:{}", go_syntax(v))).collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A value's type as Go's `%T` prints it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_read_like_upstreams() {
        let schema = Schema::builtin();
        for (ty, value, want) in [
            ("core.v1.ConfigMap", json!({"data": {"a": "b"}}), ""),
            ("core.v1.ConfigMap", json!({"datta": {}}), ".datta: field not declared in schema"),
            (
                "core.v1.ConfigMap",
                json!({"data": {"a": 5}}),
                ".data.a: expected string, got &value.valueUnstructured{Value:5}",
            ),
            ("core.v1.ConfigMap", json!({"data": "x"}), ".data: expected map, got &{x}"),
            (
                "apps.v1.Deployment",
                json!({"spec": {"replicas": "1", "foo": 1}}),
                "errors:\n  .spec.foo: field not declared in schema\n  .spec.replicas: expected numeric (int or float), got string",
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}),
                ".spec.containers: duplicate entries for key [name=\"a\"]",
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "tty": "x", "args": [1]}]}}),
                "errors:\n  .spec.containers[name=\"a\"].args[0]: expected string, got &value.valueUnstructured{Value:1}\n  .spec.containers[name=\"a\"].tty: expected boolean, got &{x}",
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": ["a"]}}),
                ".spec.containers: element 0: associative list with keys may not have non-map elements",
            ),
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1, "memory": []}}}]}}),
                ".spec.containers[name=\"a\"].resources.limits.memory: expected any scalar, got &{[]}",
            ),
        ] {
            let id = schema.table.find(ty).unwrap();
            let got = check(&value, schema.root(id), schema).err().unwrap_or_default();
            assert_eq!(got, want, "{value}");
        }
    }
}
