//! What the type table says about a place in an object, as server-side apply sees it.
//!
//! Upstream compares Go values: an absent field that Go writes all the same equals its zero value (who creates a
//! container owns its `resources`), and `hostNetwork: false`, which Go leaves out, says nothing and has no owner.

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

/// The type table, as server-side apply asks it.
#[derive(Debug)]
pub struct Schema<'t> {
    /// The types.
    pub table: &'t Table,
}

impl Schema<'static> {
    /// The types of the built-in kinds.
    pub fn builtin() -> &'static Schema<'static> {
        static SCHEMA: LazyLock<Schema<'static>> = LazyLock::new(|| Schema { table: Table::builtin() });
        &SCHEMA
    }
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
    pub fn zeros(&self, id: StructId) -> &'t [(&'static str, Value)] {
        &self.table.get(id).zeros.written
    }

    /// The value of a field that Go always writes.
    pub fn zero(&self, id: StructId, name: &str) -> Option<&'t Value> {
        self.table.get(id).zeros.written(name)
    }

    /// Whether Go leaves this value of a field out.
    pub fn omits(&self, id: StructId, name: &str, value: &Value) -> bool {
        self.table.get(id).zeros.omits(name, value)
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
