//! What the type table says about a place in an object, as server-side apply sees it.
//!
//! `zero.txt` adds what no OpenAPI document tells: the fields that Go writes although nobody has set them (no
//! `omitempty`, or a struct that is no pointer), with the value they then have. Upstream compares Go values, so an
//! absent field of this kind equals its zero value, and who creates a container owns its `resources`. It also names
//! the scalars that Go leaves out when they are zero: `hostNetwork: false` says nothing, and has no owner.

use std::sync::LazyLock;

use serde_json::Value;

use crate::schema::{Field, ListType, Struct, StructId, Table, Type};

/// What is at a place.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'t> {
    /// One value without parts.
    Scalar(&'t Type),
    /// A struct; `true` when it is one value.
    Struct(&'t Struct, StructId, bool),
    /// A map; `true` when it is one value.
    Map(&'t Type, bool),
    /// A list.
    List(&'t Type, &'t ListType),
    /// Whatever the value is: maps have owners for each key, lists are one value.
    Any,
}

/// The type table and Go's zero values.
#[derive(Debug)]
pub struct Schema<'t> {
    /// The types.
    pub table: &'t Table,
    /// By [`StructId`]; the fields in order of their names.
    zeros: Vec<Vec<(&'t str, Value)>>,
    /// Scalars that Go leaves out when they are zero, in order of their names.
    omitted: Vec<Vec<&'t str>>,
}

impl Schema<'static> {
    /// The types of the built-in kinds.
    pub fn builtin() -> &'static Schema<'static> {
        static SCHEMA: LazyLock<Schema<'static>> = LazyLock::new(|| {
            let table = Table::builtin();
            let mut zeros = vec![Vec::new(); table.structs().len()];
            let mut omitted = vec![Vec::new(); table.structs().len()];
            for line in include_str!("zero.txt").lines() {
                // `name=value` is always there, `name-` is left out when it is zero.
                let mut words = line.split(' ');
                let Some(id) = words.next().and_then(|n| table.find(n)) else { continue };
                let mut fields: Vec<(&str, Value)> =
                    words.clone().filter_map(|w| w.split_once('=')).map(|(n, v)| (n, zero(v))).collect();
                fields.sort_by_key(|(n, _)| *n);
                zeros[id.index()] = fields;
                let mut names: Vec<&str> = words.filter_map(|w| w.strip_suffix('-')).collect();
                names.sort_unstable();
                omitted[id.index()] = names;
            }
            Schema { table, zeros, omitted }
        });
        &SCHEMA
    }
}

fn zero(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// Fields whose value is known when a key of a list leaves them out, besides those with a zero value.
const KEY_DEFAULTS: [(&str, &str, &str); 3] = [
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.ServicePort", "protocol", "TCP"),
    ("core.v1.LocalObjectReference", "name", ""),
];

impl<'t> Schema<'t> {
    /// A struct as the root of an object.
    pub fn root(&self, id: StructId) -> Shape<'t> {
        let s = self.table.get(id);
        Shape::Struct(s, id, s.atomic)
    }

    /// The place of an item or a value of this type.
    pub fn of(&self, ty: &'t Type) -> Shape<'t> {
        match ty {
            Type::Any => Shape::Any,
            Type::Struct(id) => self.root(*id),
            Type::Map(inner) => Shape::Map(inner, false),
            Type::List(inner) => Shape::List(inner, &ListType::Atomic),
            scalar => Shape::Scalar(scalar),
        }
    }

    /// The place of a field.
    pub fn field(&self, f: &'t Field) -> Shape<'t> {
        match self.of(&f.ty) {
            Shape::Struct(s, id, atomic) => Shape::Struct(s, id, f.atomic || (atomic && !f.granular)),
            Shape::Map(inner, _) => Shape::Map(inner, f.atomic),
            Shape::List(inner, _) => Shape::List(inner, &f.list),
            other => other,
        }
    }

    /// The fields of a struct that Go always writes.
    pub fn zeros(&self, id: StructId) -> &[(&'t str, Value)] {
        self.zeros.get(id.index()).map_or(&[], Vec::as_slice)
    }

    /// The value of a field that Go always writes.
    pub fn zero(&self, id: StructId, name: &str) -> Option<&Value> {
        let all = self.zeros(id);
        all.binary_search_by(|(n, _)| (*n).cmp(name)).ok().map(|i| &all[i].1)
    }

    /// Whether Go leaves this value of a field out.
    pub fn omits(&self, id: StructId, name: &str, value: &Value) -> bool {
        let zero = match value {
            Value::Bool(b) => !b,
            Value::String(s) => s.is_empty(),
            Value::Number(n) => n.as_f64() == Some(0.0),
            _ => false,
        };
        zero && self.omitted.get(id.index()).is_some_and(|all| all.binary_search(&name).is_ok())
    }

    /// The value of a key that an item of a list leaves out.
    pub fn key_default(&self, item: &Type, key: &str) -> Option<&Value> {
        static TEXTS: LazyLock<Vec<Value>> =
            LazyLock::new(|| KEY_DEFAULTS.iter().map(|(_, _, v)| (*v).into()).collect());
        let Type::Struct(id) = item else { return None };
        if let Some(zero) = self.zero(*id, key).filter(|z| !z.is_null()) {
            return Some(zero);
        }
        let name = self.table.get(*id).name;
        KEY_DEFAULTS.iter().position(|(s, f, _)| *s == name && *f == key).map(|i| &TEXTS[i])
    }
}

impl Shape<'_> {
    /// Whether it has one owner as a whole.
    pub fn is_leaf(&self) -> bool {
        match self {
            Self::Scalar(_) => true,
            Self::Struct(_, _, atomic) | Self::Map(_, atomic) => *atomic,
            Self::List(_, list) => **list == ListType::Atomic,
            Self::Any => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zero_value_is_of_a_field() {
        let schema = Schema::builtin();
        for line in include_str!("zero.txt").lines() {
            let name = line.split(' ').next().unwrap();
            let id = schema.table.find(name).unwrap_or_else(|| panic!("{name}"));
            for field in schema.omitted[id.index()].iter() {
                assert!(schema.table.get(id).field(field).is_some(), "{name}.{field}");
            }
            for (field, zero) in schema.zeros(id) {
                let s = schema.table.get(id);
                let f = s.field(field).unwrap_or_else(|| panic!("{name}.{field}"));
                // A struct with a form of its own (a duration) is what the document says, not what Go says.
                let fits = match &f.ty {
                    Type::Struct(_) | Type::Map(_) => zero.is_object() || zero.is_null(),
                    Type::List(_) | Type::Time | Type::MicroTime | Type::Any | Type::Bytes => zero.is_null(),
                    Type::Bool => zero.is_boolean() || zero.is_null(),
                    Type::String | Type::Quantity => zero.is_string() || zero.is_null(),
                    _ => zero.is_number() || zero.is_null(),
                };
                assert!(fits, "{name}.{field} = {zero}");
            }
        }
    }

    #[test]
    fn places() {
        let schema = Schema::builtin();
        let shape = |s: &str, f: &str| {
            schema.field(schema.table.get(schema.table.find(s).unwrap()).field(f).unwrap())
        };
        for (owner, field, leaf) in [
            ("apps.v1.DeploymentSpec", "selector", true),
            ("apps.v1.DeploymentSpec", "template", false),
            ("core.v1.ServiceSpec", "selector", true),
            ("core.v1.ServiceSpec", "ports", false),
            ("core.v1.Container", "args", true),
            ("core.v1.ConfigMap", "data", false),
            ("core.v1.PersistentVolumeSpec", "claimRef", false),
            ("core.v1.Event", "involvedObject", true),
            ("apps.v1.ControllerRevision", "data", false),
            ("meta.v1.ObjectMeta", "finalizers", false),
            ("core.v1.PodSpec", "nodeSelector", true),
        ] {
            assert_eq!(shape(owner, field).is_leaf(), leaf, "{owner}.{field}");
        }
    }
}
