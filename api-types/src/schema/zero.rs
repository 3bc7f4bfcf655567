//! The zero values of Go, between the form an object is worked on in and the form it is written in.
//!
//! Upstream keeps objects as Go structs. A field that is no pointer has its zero value when nobody has set it, and
//! the tag of the field says whether the encoder writes that value or leaves it out. Two forms of an object follow:
//!
//! * **written** ([`complete`]): what upstream stores and answers. `resources: {}` of a container and
//!   `lastProbeTime: null` of a condition are there although nobody has set them, `hostNetwork: false` is not although
//!   somebody has.
//! * **worked on** ([`compact`]): no such field is there while it is zero, so that objects that are the same to Go are
//!   the same here.
//!
//! `zero.txt` has the fields of each struct that are not pointers, which no OpenAPI document tells: `name=value` is
//! always written, `name-` left out when it is zero. Lists and maps that nobody is required to give are left out when
//! they are empty, by [`super::decode`] too.

use serde_json::Value;

use super::{Field, Struct, StructId, Table, Type};

pub(super) const SOURCE: &str = include_str!("zero.txt");

/// What Go does with fields of a struct that nobody has set.
#[derive(Clone, Debug, Default)]
pub struct Zeros {
    /// Written all the same, with this value; in order of their names.
    pub written: Vec<(&'static str, Value)>,
    /// Scalars that are left out when they are zero; in order.
    pub omitted: Vec<&'static str>,
}

impl Zeros {
    /// Reads the words behind the name of a struct.
    pub(super) fn parse(words: &'static str) -> Self {
        let mut zeros = Self::default();
        for word in words.split(' ') {
            if let Some((name, value)) = word.split_once('=') {
                zeros.written.push((name, serde_json::from_str(value).unwrap_or(Value::Null)));
            } else if let Some(name) = word.strip_suffix('-') {
                zeros.omitted.push(name);
            }
        }
        zeros.written.sort_by_key(|(name, _)| *name);
        zeros.omitted.sort_unstable();
        zeros
    }

    /// The value of a field that is always written.
    pub fn written(&self, name: &str) -> Option<&Value> {
        self.written.binary_search_by(|(n, _)| (*n).cmp(name)).ok().map(|i| &self.written[i].1)
    }

    /// Whether this value of a field is left out.
    pub fn omits(&self, name: &str, value: &Value) -> bool {
        let zero = match value {
            Value::Bool(b) => !b,
            Value::String(s) => s.is_empty(),
            Value::Number(n) => n.as_f64() == Some(0.0),
            _ => false,
        };
        zero && self.omitted.binary_search(&name).is_ok()
    }

    /// Whether this value of a field says no more than its absence.
    pub(super) fn is_unset(&self, name: &str, value: &Value) -> bool {
        self.written(name) == Some(value) || self.omits(name, value)
    }
}

/// Takes out what says no more than its absence.
pub fn compact(object: &mut Value, id: StructId, table: &Table) {
    Walk { table, write: false }.structure(object, id);
}

/// Makes an object what Go's encoder would write.
pub fn complete(object: &mut Value, id: StructId, table: &Table) {
    Walk { table, write: true }.structure(object, id);
}

struct Walk<'t> {
    table: &'t Table,
    write: bool,
}

impl Walk<'_> {
    fn structure(&self, value: &mut Value, id: StructId) {
        let Value::Object(map) = value else { return };
        let s = self.table.get(id);
        map.retain(|name, v| {
            let Some(field) = s.field(name) else { return true };
            self.value(v, &field.ty);
            // An empty list is no list once it was in upstream's store.
            if self.write
                && v.as_array().is_some_and(Vec::is_empty)
                && s.zeros.written(name) == Some(&Value::Null)
            {
                *v = Value::Null;
            }
            self.stays(s, field, v)
        });
        if self.write {
            for (name, zero) in &s.zeros.written {
                if !map.contains_key(*name) {
                    map.insert((*name).to_owned(), self.written(s, name, zero));
                }
            }
        }
    }

    fn stays(&self, s: &Struct, field: &Field, v: &Value) -> bool {
        match v {
            Value::Null => field.ty == Type::Any || (self.write && s.zeros.written(field.name).is_some()),
            _ if self.write => !s.zeros.omits(field.name, v),
            _ => !s.zeros.is_unset(field.name, v),
        }
    }

    /// The zero value of a field, with what is always written within it.
    fn written(&self, s: &Struct, name: &str, zero: &Value) -> Value {
        let mut value = zero.clone();
        if let Some(Type::Struct(id)) = s.field(name).map(|f| &f.ty) {
            self.structure(&mut value, *id);
        }
        value
    }

    fn value(&self, v: &mut Value, ty: &Type) {
        match (ty, v) {
            (Type::Struct(id), v) => self.structure(v, *id),
            (Type::List(inner), Value::Array(items)) if has_structs(inner) => {
                items.iter_mut().for_each(|item| self.value(item, inner));
            }
            (Type::Map(inner), Value::Object(entries)) if has_structs(inner) => {
                entries.values_mut().for_each(|entry| self.value(entry, inner));
            }
            _ => {}
        }
    }
}

fn has_structs(ty: &Type) -> bool {
    match ty {
        Type::Struct(_) => true,
        Type::List(inner) | Type::Map(inner) => has_structs(inner),
        _ => false,
    }
}

/// How an object of a kind begins.
pub fn head(kind: &str, api_version: &str) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",")
}

/// An object as it is written: its kind and version first, then its metadata, as upstream has them.
pub struct Written<'a>(pub &'a Value);

impl Written<'_> {
    /// Its JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A value has no keys that are not text, the one thing JSON could not write.
        serde_json::to_vec(self).unwrap_or_else(|_| self.0.to_string().into_bytes())
    }
}

impl serde::Serialize for Written<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];
        let Value::Object(root) = self.0 else { return self.0.serialize(serializer) };
        let mut out = serializer.serialize_map(Some(root.len()))?;
        for name in FIRST {
            if let Some(value) = root.get(name) {
                out.serialize_entry(name, value)?;
            }
        }
        let rest = |(name, _): &(&String, &Value)| !FIRST.contains(&name.as_str());
        for (name, value) in root.iter().filter(rest) {
            out.serialize_entry(name, value)?;
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(name: &str) -> StructId {
        Table::builtin().find(name).unwrap()
    }

    #[test]
    fn written_and_worked_on() {
        for (ty, worked_on, written) in [
            (
                "core.v1.Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "i"}]}}),
                json!({"metadata": {}, "status": {},
                       "spec": {"containers": [{"name": "a", "image": "i", "resources": {}}]}}),
            ),
            (
                "core.v1.Service",
                json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
                json!({"metadata": {"name": "s"}, "status": {"loadBalancer": {}},
                       "spec": {"ports": [{"port": 80, "targetPort": 0}]}}),
            ),
            (
                "core.v1.PodCondition",
                json!({"type": "Ready", "status": "True"}),
                json!({"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}),
            ),
            ("core.v1.EventSeries", json!({"count": 3}), json!({"count": 3, "lastObservedTime": null})),
        ] {
            let (id, table) = (id(ty), Table::builtin());
            let mut value = worked_on.clone();
            complete(&mut value, id, table);
            assert_eq!(value, written, "{ty}");
            complete(&mut value, id, table);
            assert_eq!(value, written, "{ty}: twice");
            compact(&mut value, id, table);
            assert_eq!(value, worked_on, "{ty}: back");
        }
    }

    #[test]
    fn an_empty_list_is_written_as_none() {
        let (id, table) = (id("rbac.v1.Role"), Table::builtin());
        let mut value = json!({"metadata": {"name": "a"}, "rules": []});
        complete(&mut value, id, table);
        assert_eq!(value, json!({"metadata": {"name": "a"}, "rules": null}));
    }

    #[test]
    fn what_says_nothing_is_left_out_either_way() {
        let (id, table) = (id("core.v1.PodSpec"), Table::builtin());
        let given = json!({"hostNetwork": false, "hostUsers": false, "nodeName": "", "priority": 0,
                           "securityContext": {}, "containers": [{"name": "a"}]});
        let mut value = given.clone();
        compact(&mut value, id, table);
        assert_eq!(
            value,
            json!({"hostUsers": false, "priority": 0, "securityContext": {}, "containers": [{"name": "a"}]}),
            "pointers stay"
        );
        let mut value = given;
        complete(&mut value, id, table);
        assert_eq!(value.get("hostNetwork"), None);
        assert_eq!(value["containers"][0]["resources"], json!({}));
    }

    #[test]
    fn kind_and_version_come_first() {
        let object = json!({"data": {"metadata": 1}, "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        assert_eq!(
            serde_json::to_string(&Written(&object)).unwrap(),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"metadata":1}}"#
        );
    }

    #[test]
    fn every_zero_value_is_of_a_field() {
        for s in Table::builtin().structs() {
            for field in &s.zeros.omitted {
                assert!(s.field(field).is_some(), "{}.{field}", s.name);
            }
            for (field, zero) in &s.zeros.written {
                let f = s.field(field).unwrap_or_else(|| panic!("{}.{field}", s.name));
                // A struct with a form of its own (a duration) is what the document says, not what Go says.
                let fits = match &f.ty {
                    Type::Struct(_) | Type::Map(_) => zero.is_object() || zero.is_null(),
                    Type::List(_) | Type::Time | Type::MicroTime | Type::Any | Type::Bytes => zero.is_null(),
                    Type::Bool => zero.is_boolean() || zero.is_null(),
                    Type::String | Type::Quantity => zero.is_string() || zero.is_null(),
                    _ => zero.is_number() || zero.is_null(),
                };
                assert!(fits, "{}.{field} = {zero}", s.name);
            }
        }
        for line in SOURCE.lines() {
            let name = line.split(' ').next().unwrap();
            assert!(Table::builtin().find(name).is_some(), "{name}");
        }
    }
}
