//! Schemas of structs, and of everything they refer to.

use std::collections::BTreeSet;

use api_types::catalog::{self, Kind};
use api_types::schema::{Field, ListType, Struct, Table, Type};
use serde_json::{Map, Value, json};

use super::CreatedOnly;
use super::Dialect;
use super::descriptions::Descriptions;
use crate::discovery;

/// The schemas of these kinds, their lists, of what can only be created, and all they refer to.
pub fn closure(kinds: &[&'static Kind], created: &[CreatedOnly], dialect: Dialect) -> Map<String, Value> {
    let table = Table::builtin();
    let descriptions = Descriptions::read();
    let mut out = Map::new();
    let mut todo: Vec<&Struct> = Vec::new();
    let mut seen: BTreeSet<&'static str> = BTreeSet::new();
    let mut always = vec![
        "meta.v1.Status",
        "meta.v1.DeleteOptions",
        "meta.v1.ListMeta",
        "meta.v1.Patch",
        "meta.v1.WatchEvent",
        "meta.v1.APIResourceList",
    ];
    if dialect == Dialect::V2 {
        always.extend([
            "meta.v1.APIGroupList",
            "meta.v1.APIVersions",
            "meta.v1.GroupResource",
            "apimachinery.version.Info",
        ]);
    }
    let lists = kinds.iter().map(|k| format!("{}List", k.type_name));
    let own = kinds.iter().map(|k| k.type_name.to_owned());
    let below = kinds.iter().flat_map(|k| k.subresources.iter().filter_map(|s| body_type(s.body(k.kind)?)));
    let asked = created.iter().map(CreatedOnly::type_name);
    for name in own.chain(lists).chain(below).chain(asked).chain(always.iter().map(|s| (*s).to_owned())) {
        if let Some(id) = table.find(&name) {
            let s = table.get(id);
            if seen.insert(s.name) {
                todo.push(s);
            }
        }
    }
    while let Some(s) = todo.pop() {
        out.insert(s.openapi_name(), structure(s, table, dialect, &descriptions));
        for f in &s.fields {
            if let Some(name) = opaque_name(f.opaque) {
                // JSON that stands for a schema may be of any type, the others are objects.
                let any = name.contains("apiextensions");
                out.entry(name).or_insert_with(|| if any { json!({}) } else { json!({"type": "object"}) });
            }
            if let Some(id) = referred(&f.ty) {
                let next = table.get(id);
                if seen.insert(next.name) {
                    todo.push(next);
                }
            }
        }
    }
    for (name, schema) in primitives(dialect) {
        out.insert(name.to_owned(), schema);
    }
    out
}

/// The struct of a subresource's body.
pub fn body_type((group, version, kind): (&str, &str, &str)) -> Option<String> {
    let group = match group {
        "" => "core",
        g => g.split('.').next().unwrap_or(g),
    };
    let name = format!("{group}.{version}.{kind}");
    Table::builtin().find(&name).map(|_| name)
}

fn referred(ty: &Type) -> Option<api_types::schema::StructId> {
    match ty {
        Type::Struct(id) => Some(*id),
        Type::List(inner) | Type::Map(inner) => referred(inner),
        _ => None,
    }
}

const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

fn primitives(dialect: Dialect) -> [(&'static str, Value); 4] {
    let time = json!({"type": "string", "format": "date-time"});
    // Swagger 2 has no alternatives: there both are texts, as upstream writes them.
    let (quantity, int_or_string) = match dialect {
        Dialect::V2 => (json!({"type": "string"}), json!({"type": "string", "format": "int-or-string"})),
        Dialect::V3 => (
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
    };
    [(TIME, time.clone()), (MICRO_TIME, time), (QUANTITY, quantity), (INT_OR_STRING, int_or_string)]
}

fn structure(s: &Struct, table: &Table, dialect: Dialect, descriptions: &Descriptions) -> Value {
    let name = s.openapi_name();
    let mut properties = Map::new();
    for f in &s.fields {
        let mut p = field(f, s, table, dialect);
        if let Some(d) = descriptions.field(&name, f.name) {
            // A reference stands alone in OpenAPI; its description goes beside it as upstream's documents do.
            if dialect == Dialect::V3 && p.contains_key("$ref") {
                p = Map::from_iter([("allOf".to_owned(), json!([Value::Object(p)]))]);
                p.insert("default".into(), json!({}));
            }
            p.insert("description".into(), d.into());
        }
        properties.insert(f.name.to_owned(), Value::Object(p));
    }
    let mut out = json!({"type": "object"});
    if !properties.is_empty() {
        out["properties"] = Value::Object(properties);
    }
    if let Some(d) = descriptions.of_type(&name) {
        out["description"] = d.into();
    }
    let required: Vec<&str> = s.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if s.atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    let gvks: Vec<Value> = group_version_kinds(s.name);
    if !gvks.is_empty() {
        out["x-kubernetes-group-version-kind"] = gvks.into();
    }
    out
}

/// Kinds of bodies that have no place of their own in the catalog.
const BODIES: [(&str, &str, &str); 4] = [
    ("authentication.v1.TokenRequest", "authentication.k8s.io", "TokenRequest"),
    ("autoscaling.v1.Scale", "autoscaling", "Scale"),
    ("meta.v1.Status", "", "Status"),
    ("policy.v1.Eviction", "policy", "Eviction"),
];

fn group_version_kinds(type_name: &str) -> Vec<Value> {
    let of = |k: &Kind, kind: &str| json!({"group": k.group, "version": k.version, "kind": kind});
    let stem = type_name.strip_suffix("List");
    let created = CreatedOnly::all().find(|r| r.type_name() == type_name).map(|r| (r.group, r.kind));
    let body = BODIES.iter().find(|(name, ..)| *name == type_name).map(|(_, group, kind)| (*group, *kind));
    if let Some((group, kind)) = created.or(body) {
        return vec![json!({"group": group, "version": "v1", "kind": kind})];
    }
    if let "meta.v1.DeleteOptions" | "meta.v1.WatchEvent" = type_name {
        // Every group knows these.
        let kind = type_name.trim_start_matches("meta.v1.");
        return discovery::group_versions()
            .map(|(group, version)| json!({"group": group, "version": version, "kind": kind}))
            .collect();
    }
    catalog::all()
        .iter()
        .filter_map(|k| {
            if k.type_name == type_name {
                Some(of(k, k.kind))
            } else if Some(k.type_name) == stem {
                Some(of(k, &format!("{}List", k.kind)))
            } else {
                None
            }
        })
        .collect()
}

fn field(f: &Field, s: &Struct, table: &Table, dialect: Dialect) -> Map<String, Value> {
    let opaque = opaque_name(f.opaque);
    let mut p = match ty(&f.ty, opaque.as_deref(), table, dialect) {
        Value::Object(p) => p,
        _ => Map::new(),
    };
    if f.granular {
        p.insert("x-kubernetes-map-type".into(), "granular".into());
    } else if f.atomic && !matches!(f.ty, Type::List(_)) {
        p.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    // The items of a list of objects are of no type of list.
    let of_objects = f.name == "items" && s.name.ends_with("List");
    if matches!(f.ty, Type::List(_)) && !of_objects {
        let (kind, keys) = match &f.list {
            ListType::Atomic => ("atomic", None),
            ListType::Set => ("set", None),
            ListType::Map(keys) => ("map", Some(keys)),
        };
        p.insert("x-kubernetes-list-type".into(), kind.into());
        if let Some(keys) = keys {
            p.insert("x-kubernetes-list-map-keys".into(), json!(keys));
        }
    }
    let mut strategies = Vec::new();
    if let Some(key) = &f.patch.merge {
        strategies.push("merge");
        if let Some(key) = key {
            p.insert("x-kubernetes-patch-merge-key".into(), (*key).into());
        }
    }
    if f.patch.retain_keys {
        strategies.push("retainKeys");
    }
    if !strategies.is_empty() {
        p.insert("x-kubernetes-patch-strategy".into(), strategies.join(",").into());
    }
    p
}

/// The name in the documents of a type that holds anything.
fn opaque_name(name: &str) -> Option<String> {
    match name {
        "" => None,
        "RawExtension" => Some("io.k8s.apimachinery.pkg.runtime.RawExtension".into()),
        other => match other.strip_prefix("meta.") {
            Some(rest) => Some(format!("io.k8s.apimachinery.pkg.apis.meta.{rest}")),
            None => Some(format!("io.k8s.apiextensions-apiserver.pkg.apis.{other}")),
        },
    }
}

fn ty(t: &Type, opaque: Option<&str>, table: &Table, dialect: Dialect) -> Value {
    match t {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Time => dialect.reference(TIME),
        Type::MicroTime => dialect.reference(MICRO_TIME),
        Type::Quantity => dialect.reference(QUANTITY),
        Type::IntOrString => dialect.reference(INT_OR_STRING),
        Type::Any => opaque.map_or_else(|| json!({"type": "object"}), |name| dialect.reference(name)),
        Type::List(inner) => json!({"type": "array", "items": ty(inner, opaque, table, dialect)}),
        Type::Map(inner) => {
            json!({"type": "object", "additionalProperties": ty(inner, opaque, table, dialect)})
        }
        Type::Struct(id) => dialect.reference(&table.get(*id).openapi_name()),
    }
}
