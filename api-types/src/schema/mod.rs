//! The types of the built-in kinds as a table.
//!
//! `types.txt` lists every struct of the API with the facts that its machinery needs and that no crate carries:
//! field types, list types and their keys, patch strategies, required fields. Decoding, strategic merge, the
//! OpenAPI documents and (later) server-side apply read it, so that no code is written per struct; a custom
//! resource's schema becomes the same table at run time.
//!
//! A line without indentation names a struct (`atomic` when it is replaced as a whole); the lines below are its
//! fields: name (`!` when required), type, list type, patch strategy. Source: the OpenAPI document of v1.36.

pub mod decode;
pub mod wire;
pub mod zero;

use std::collections::HashMap;
use std::sync::LazyLock;

/// The table as it is written.
pub const SOURCE: &str = include_str!("types.txt");

/// A struct's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StructId(u16);

impl StructId {
    /// Its place among [`Table::structs`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Text.
    String,
    /// Base64 text.
    Bytes,
    /// A truth value.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A floating-point number.
    Double,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, six fractional digits.
    MicroTime,
    /// A resource quantity.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// Anything at all, kept as it came.
    Any,
    /// A list.
    List(Box<Type>),
    /// A map with text keys.
    Map(Box<Type>),
    /// A struct of the table.
    Struct(StructId),
}

/// How the elements of a list are told apart when lists are merged by field owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// Its elements are values, each there once.
    Set,
    /// Its elements are structs told apart by these fields.
    Map(Vec<&'static str>),
}

/// How strategic merge patch treats a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Merge instead of replace; with the key of its elements if they are structs.
    pub merge: Option<Option<&'static str>>,
    /// Fields that the patch does not name are cleared.
    pub retain_keys: bool,
}

/// One field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// As in JSON.
    pub name: &'static str,
    /// The OpenAPI document lists it as required.
    pub required: bool,
    /// Its type.
    pub ty: Type,
    /// The name of what [`Type::Any`] stands for in it; empty when there is none.
    pub opaque: &'static str,
    /// Its list type, for lists.
    pub list: ListType,
    /// Its map or struct is one value.
    pub atomic: bool,
    /// The parts of its struct have owners of their own, although the struct is one value elsewhere.
    pub granular: bool,
    /// Its patch strategy.
    pub patch: PatchStrategy,
}

/// One struct.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its short name: `apps.v1.DeploymentSpec`.
    pub name: &'static str,
    /// It is replaced as a whole.
    pub atomic: bool,
    /// Its fields by name.
    pub fields: Vec<Field>,
    /// What Go does with those that nobody has set.
    pub zeros: zero::Zeros,
}

impl Struct {
    /// A field by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &self.fields[i])
    }

    /// The name of the Go type, which error texts carry: `DeploymentSpec`.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The full name in OpenAPI documents.
    pub fn openapi_name(&self) -> String {
        let n = self.name;
        if let Some(rest) = n.strip_prefix("meta.") {
            return format!("io.k8s.apimachinery.pkg.apis.meta.{rest}");
        }
        if let Some(rest) = n.strip_prefix("apimachinery.") {
            return format!("io.k8s.apimachinery.pkg.{rest}");
        }
        if n.starts_with("apiextensions.") {
            return format!("io.k8s.apiextensions-apiserver.pkg.apis.{n}");
        }
        if n.starts_with("apiregistration.") {
            return format!("io.k8s.kube-aggregator.pkg.apis.{n}");
        }
        format!("io.k8s.api.{n}")
    }
}

/// All structs.
#[derive(Debug)]
pub struct Table {
    structs: Vec<Struct>,
    by_name: HashMap<&'static str, StructId>,
}

impl Table {
    /// The table of the built-in kinds.
    pub fn builtin() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(SOURCE, zero::SOURCE));
        &TABLE
    }

    /// A struct by its place.
    pub fn get(&self, id: StructId) -> &Struct {
        &self.structs[usize::from(id.0)]
    }

    /// A struct's place by its short name.
    pub fn find(&self, name: &str) -> Option<StructId> {
        self.by_name.get(name).copied()
    }

    /// All structs in order of their names.
    pub fn structs(&self) -> &[Struct] {
        &self.structs
    }

    fn parse(text: &'static str, zeros: &'static str) -> Table {
        let zeros: HashMap<&str, &'static str> = zeros.lines().filter_map(|l| l.split_once(' ')).collect();
        let heads: Vec<(&str, &str)> = text
            .lines()
            .filter(|l| !l.starts_with(' ') && !l.is_empty())
            .map(|l| l.split_once(' ').unwrap_or((l, "")))
            .collect();
        // Names that stand for any JSON at all are no structs.
        let structs_of = |flags: &str| flags != "=any";
        let by_name: HashMap<&'static str, StructId> = heads
            .iter()
            .filter(|(_, flags)| structs_of(flags))
            .enumerate()
            .map(|(i, (name, _))| (*name, StructId(i as u16)))
            .collect();
        let mut structs: Vec<Struct> = Vec::with_capacity(by_name.len());
        for line in text.lines() {
            if let Some(field) = line.strip_prefix(' ') {
                if let (Some(s), Some(f)) = (structs.last_mut(), parse_field(field, &by_name)) {
                    s.fields.push(f);
                }
                continue;
            }
            let (name, flags) = line.split_once(' ').unwrap_or((line, ""));
            if structs_of(flags) {
                let zeros =
                    zeros.get(name).map_or_else(zero::Zeros::default, |words| zero::Zeros::parse(words));
                structs.push(Struct { name, atomic: flags == "atomic", fields: Vec::new(), zeros });
            }
        }
        for s in &mut structs {
            s.fields.sort_by_key(|f| f.name);
        }
        Table { structs, by_name }
    }
}

fn parse_field(line: &'static str, names: &HashMap<&'static str, StructId>) -> Option<Field> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let (name, required) = name.strip_suffix('!').map_or((name, false), |n| (n, true));
    let written = words.next()?;
    let ty = parse_type(written, names);
    let leaf = written.trim_start_matches(['[', ']', '{', '}']);
    let opaque = if leaf_of(&ty) == &Type::Any && leaf != "any" { leaf } else { "" };
    let mut field = Field {
        name,
        required,
        ty,
        opaque,
        list: ListType::Atomic,
        atomic: false,
        granular: false,
        patch: PatchStrategy::default(),
    };
    for word in words {
        if let Some(keys) = word.strip_prefix("map:") {
            field.list = ListType::Map(keys.split(',').collect());
        } else if word == "set" {
            field.list = ListType::Set;
        } else if word == "atomic" {
            field.atomic = true;
        } else if word == "granular" {
            field.granular = true;
        } else if word == "patch=retainKeys" {
            field.patch.retain_keys = true;
        } else if let Some(rest) = word.strip_prefix("patch=merge") {
            field.patch.merge = Some(rest.strip_prefix(':'));
        }
    }
    Some(field)
}

fn leaf_of(ty: &Type) -> &Type {
    match ty {
        Type::List(inner) | Type::Map(inner) => leaf_of(inner),
        other => other,
    }
}

fn parse_type(text: &str, names: &HashMap<&'static str, StructId>) -> Type {
    if let Some(inner) = text.strip_prefix("[]") {
        return Type::List(Box::new(parse_type(inner, names)));
    }
    if let Some(inner) = text.strip_prefix("{}") {
        return Type::Map(Box::new(parse_type(inner, names)));
    }
    match text {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "double" => Type::Double,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        name => names.get(name).map_or(Type::Any, |id| Type::Struct(*id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_merge_keys_and_list_types() {
        let t = Table::builtin();
        let pod_spec = t.get(t.find("core.v1.PodSpec").unwrap());
        let containers = pod_spec.field("containers").unwrap();
        assert!(containers.required);
        assert_eq!(containers.list, ListType::Map(vec!["name"]));
        assert_eq!(containers.patch.merge, Some(Some("name")));
        assert!(pod_spec.field("volumes").unwrap().patch.retain_keys);
        assert_eq!(
            t.get(t.find("meta.v1.ObjectMeta").unwrap()).field("finalizers").unwrap().list,
            ListType::Set
        );
        assert_eq!(pod_spec.openapi_name(), "io.k8s.api.core.v1.PodSpec");
        assert!(t.get(t.find("meta.v1.LabelSelector").unwrap()).atomic);
    }

    #[test]
    fn every_named_type_is_in_the_table() {
        for line in SOURCE.lines().filter(|l| l.starts_with(' ')) {
            let ty = line.trim().split(' ').nth(1).unwrap().replace("[]", "").replace("{}", "");
            if ty.contains(".v1.") && !ty.starts_with("apiextensions.v1.JSON") && ty != "meta.v1.FieldsV1" {
                assert!(Table::builtin().find(&ty).is_some(), "{ty}");
            }
        }
    }
}
