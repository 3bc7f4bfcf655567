//! Strategic merge patch: a merge patch that knows which lists are merged by key.
//!
//! The rules are those of upstream's `apimachinery/pkg/util/strategicpatch`; the strategy of each field comes
//! from the type table. Directives: `$patch` (`replace`, `delete`, `merge`), `$retainKeys`,
//! `$deleteFromPrimitiveList/<field>` and `$setElementOrder/<field>`.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Field, StructId, Table, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Applies `patch` to `object`, a struct of type `id`.
pub fn apply(object: &mut Value, patch: &Value, id: StructId, table: &Table) -> Result<(), PatchError> {
    let (Value::Object(target), Value::Object(patch)) = (&mut *object, patch) else {
        return Err(PatchError::Malformed("a strategic merge patch must be a JSON object".into()));
    };
    Merger { table }.merge_map(target, patch, Some(id))
}

struct Merger<'t> {
    table: &'t Table,
}

impl Merger<'_> {
    fn merge_map(
        &self,
        target: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        id: Option<StructId>,
    ) -> Result<(), PatchError> {
        match patch.get(DIRECTIVE).map(|d| d.as_str().unwrap_or("")) {
            None | Some("merge") => {}
            Some("replace") => {
                *target = patch
                    .iter()
                    .filter(|(k, _)| *k != DIRECTIVE)
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                return Ok(());
            }
            Some("delete") => {
                target.clear();
                return Ok(());
            }
            Some(other) => return Err(unknown_directive(other)),
        }
        if let Some(keep) = patch.get(RETAIN_KEYS) {
            retain_keys(target, patch, keep)?;
        }
        for (key, value) in patch {
            if key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) {
                continue;
            }
            if let Some(name) = key.strip_prefix(DELETE_PRIMITIVES) {
                if let (Some(Value::Array(list)), Value::Array(gone)) = (target.get_mut(name), value) {
                    list.retain(|v| !gone.contains(v));
                }
                continue;
            }
            if value.is_null() {
                target.remove(key);
                continue;
            }
            let field = id.and_then(|id| self.table.get(id).field(key));
            self.merge_field(target, key, value, field, patch.get(&format!("{ELEMENT_ORDER}{key}")))?;
        }
        // An order may be given for a list that the patch itself does not touch.
        for (key, order) in patch {
            let Some(name) = key.strip_prefix(ELEMENT_ORDER) else { continue };
            if patch.contains_key(name) {
                continue;
            }
            let field = id.and_then(|id| self.table.get(id).field(name));
            if let Some(Value::Array(list)) = target.get_mut(name) {
                let original = list.clone();
                reorder(list, &original, order, merge_key(field));
            }
        }
        Ok(())
    }

    fn merge_field(
        &self,
        target: &mut Map<String, Value>,
        key: &str,
        value: &Value,
        field: Option<&Field>,
        order: Option<&Value>,
    ) -> Result<(), PatchError> {
        let inner = field.map(|f| &f.ty);
        match value {
            Value::Object(patch) => {
                let id = match inner {
                    Some(Type::Struct(id)) => Some(*id),
                    _ => None,
                };
                let slot = target.entry(key).or_insert_with(|| Value::Object(Map::new()));
                match slot {
                    Value::Object(existing) => self.merge_map(existing, patch, id),
                    other => {
                        let mut fresh = Map::new();
                        self.merge_map(&mut fresh, patch, id)?;
                        *other = Value::Object(fresh);
                        Ok(())
                    }
                }
            }
            Value::Array(items) if field.is_some_and(|f| f.patch.merge.is_some()) => {
                let slot = target.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if !slot.is_array() {
                    *slot = Value::Array(Vec::new());
                }
                let Value::Array(list) = slot else { return Ok(()) };
                let original = list.clone();
                match (merge_key(field), inner) {
                    (Some(by), Some(Type::List(item))) => self.merge_structs(list, items, by, item)?,
                    _ => {
                        for v in items {
                            if !list.contains(v) {
                                list.push(v.clone());
                            }
                        }
                    }
                }
                if let Some(order) = order {
                    reorder(list, &original, order, merge_key(field));
                }
                Ok(())
            }
            other => {
                target.insert(key.to_owned(), other.clone());
                Ok(())
            }
        }
    }

    fn merge_structs(
        &self,
        list: &mut Vec<Value>,
        patch: &[Value],
        by: &str,
        item_type: &Type,
    ) -> Result<(), PatchError> {
        let id = match item_type {
            Type::Struct(id) => Some(*id),
            _ => None,
        };
        if patch.iter().any(|p| p.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")) {
            *list = patch.iter().filter(|p| p.get(DIRECTIVE).is_none()).cloned().collect();
            return Ok(());
        }
        for item in patch {
            let Value::Object(item) = item else {
                return Err(PatchError::Malformed(format!(
                    "expected an object with merge key {by:?} in the patch"
                )));
            };
            let Some(key) = item.get(by) else {
                return Err(PatchError::Malformed(format!(
                    "map: {} does not contain declared merge key: {by}",
                    Value::Object(item.clone())
                )));
            };
            match item.get(DIRECTIVE).and_then(Value::as_str) {
                Some("delete") => {
                    list.retain(|v| v.get(by) != Some(key));
                    continue;
                }
                None | Some("merge") => {}
                Some(other) => return Err(unknown_directive(other)),
            }
            match list.iter_mut().find(|v| v.get(by) == Some(key)) {
                Some(Value::Object(existing)) => self.merge_map(existing, item, id)?,
                _ => {
                    let mut fresh = Map::new();
                    self.merge_map(&mut fresh, item, id)?;
                    list.push(Value::Object(fresh));
                }
            }
        }
        Ok(())
    }
}

fn merge_key(field: Option<&Field>) -> Option<&'static str> {
    field.and_then(|f| f.patch.merge.flatten())
}

fn unknown_directive(name: &str) -> PatchError {
    PatchError::Malformed(format!("unknown patch type found: {name}"))
}

/// Clears what a union's patch does not name.
fn retain_keys(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    keep: &Value,
) -> Result<(), PatchError> {
    let Value::Array(keep) = keep else {
        return Err(PatchError::Malformed(format!("{RETAIN_KEYS} must be a list")));
    };
    for key in patch.keys().filter(|k| !k.starts_with('$')) {
        if !keep.iter().any(|k| k.as_str() == Some(key)) && !patch[key].is_null() {
            return Err(PatchError::Malformed(format!(
                "the patch sets {key:?} which its {RETAIN_KEYS} list does not name"
            )));
        }
    }
    target.retain(|k, _| keep.iter().any(|x| x.as_str() == Some(k)));
    Ok(())
}

/// Puts the elements named by the patch in its order; the others keep their place relative to the original.
fn reorder(list: &mut Vec<Value>, original: &[Value], order: &Value, by: Option<&str>) {
    let Value::Array(order) = order else { return };
    let same = |a: &Value, b: &Value| match by {
        Some(key) => a.get(key) == b.get(key),
        None => a == b,
    };
    let position = |v: &Value| original.iter().position(|o| same(o, v));
    let mut named: Vec<(usize, Value)> = Vec::new();
    let mut others: Vec<Value> = Vec::new();
    for item in list.drain(..) {
        match order.iter().position(|o| same(o, &item)) {
            Some(i) => named.push((i, item)),
            None => others.push(item),
        }
    }
    named.sort_by_key(|(i, _)| *i);
    let mut others = others.into_iter().peekable();
    for (_, item) in named {
        if let Some(at) = position(&item) {
            while let Some(other) = others.next_if(|o| position(o).is_some_and(|p| p < at)) {
                list.push(other);
            }
        }
        list.push(item);
    }
    list.extend(others);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(ty: &str, mut object: Value, patch: Value) -> Value {
        let t = Table::builtin();
        apply(&mut object, &patch, t.find(ty).unwrap(), t).unwrap();
        object
    }

    #[test]
    fn lists_merge_by_key() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}});
        assert_eq!(
            patched(
                "core.v1.Pod",
                pod.clone(),
                json!({"spec": {"containers": [{"name": "b", "image": "3"}]}})
            ),
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "3"}]}})
        );
        assert_eq!(
            patched(
                "core.v1.Pod",
                pod.clone(),
                json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}})
            ),
            json!({"spec": {"containers": [{"name": "b", "image": "2"}]}})
        );
        assert_eq!(
            patched(
                "core.v1.Pod",
                pod,
                json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                                "containers": [{"name": "c", "image": "4"}]}})
            ),
            json!({"spec": {"containers": [{"name": "c", "image": "4"}, {"name": "a", "image": "1"},
                                           {"name": "b", "image": "2"}]}})
        );
    }

    #[test]
    fn directives() {
        let d = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        assert_eq!(
            patched(
                "apps.v1.Deployment",
                d,
                json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
            ),
            json!({"spec": {"strategy": {"type": "Recreate"}}})
        );
        let m = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
        assert_eq!(
            patched(
                "core.v1.Pod",
                m,
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
                                    "labels": {"x": null, "z": "3"}}})
            ),
            json!({"metadata": {"finalizers": ["b", "c"], "labels": {"y": "2", "z": "3"}}})
        );
        let v = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        assert_eq!(
            patched(
                "core.v1.Pod",
                v.clone(),
                json!({"spec": {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v",
                                             "hostPath": {"path": "/x"}}]}})
            ),
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}})
        );
        assert_eq!(
            patched("core.v1.Pod", v, json!({"spec": {"volumes": [{"$patch": "replace"}, {"name": "w"}]}})),
            json!({"spec": {"volumes": [{"name": "w"}]}})
        );
    }

    #[test]
    fn lists_without_a_strategy_are_replaced() {
        let pod = json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}});
        assert_eq!(
            patched("core.v1.Pod", pod, json!({"spec": {"containers": [{"name": "a", "args": ["z"]}]}})),
            json!({"spec": {"containers": [{"name": "a", "args": ["z"]}]}})
        );
    }

    #[test]
    fn a_missing_merge_key_is_refused() {
        let t = Table::builtin();
        let mut o = json!({"spec": {"containers": [{"name": "a"}]}});
        let e = apply(
            &mut o,
            &json!({"spec": {"containers": [{"image": "x"}]}}),
            t.find("core.v1.Pod").unwrap(),
            t,
        );
        assert!(e.unwrap_err().to_string().contains("does not contain declared merge key: name"));
    }
}
