//! Paths and operations of a kind.

use api_types::catalog::{Kind, Subresource};
use api_types::schema::Table;
use serde_json::{Map, Value, json};

use super::schemas::body_type;
use super::{Dialect, ReviewKind};

/// Adds the paths of a kind.
pub fn add(kind: &Kind, dialect: Dialect, paths: &mut Map<String, Value>) {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let base = if kind.namespaced() {
        let all = format!("{root}/{}", kind.plural);
        paths.insert(all, json!({"get": operation(kind, "list", dialect)}));
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    };
    let mut collection =
        json!({"get": operation(kind, "list", dialect), "post": operation(kind, "post", dialect)});
    if kind.verbs.contains(&"deletecollection") {
        collection["delete"] = operation(kind, "deletecollection", dialect);
    }
    shared_parameters(&mut collection, kind, false, dialect);
    paths.insert(base.clone(), collection);
    let mut one = json!({"get": operation(kind, "get", dialect), "put": operation(kind, "put", dialect),
        "patch": operation(kind, "patch", dialect), "delete": operation(kind, "delete", dialect)});
    shared_parameters(&mut one, kind, true, dialect);
    paths.insert(format!("{base}/{{name}}"), one);
    for s in kind.subresources {
        let mut item = json!({});
        for verb in s.verbs() {
            let (method, action) = match *verb {
                "get" if *s == Subresource::Log => ("get", "get"),
                "get" => ("get", "get"),
                "update" => ("put", "put"),
                "patch" => ("patch", "patch"),
                _ => ("post", "post"),
            };
            item[method] = below(kind, *s, action, dialect);
        }
        shared_parameters(&mut item, kind, true, dialect);
        paths.insert(format!("{base}/{{name}}/{}", s.path()), item);
    }
}

/// Adds the path of a review: it can be posted and nothing else.
pub fn add_review(review: &ReviewKind, dialect: Dialect, paths: &mut Map<String, Value>) {
    let own = full_name(&review.type_name());
    let place = if review.namespaced { "namespaces/{namespace}/" } else { "" };
    let path = format!("/apis/{}/v1/{place}{}", review.group, review.plural);
    let of = Of { group: review.group, version: "v1", kind: review.kind };
    let gvk = (review.group, "v1", review.kind);
    let mut item = json!({"post": build(&of, "", "post", Some(own.clone()), &own, gvk, dialect)});
    let mut parameters = vec![parameter("pretty", "query", "string", dialect)];
    if review.namespaced {
        parameters.insert(0, parameter("namespace", "path", "string", dialect));
    }
    item["parameters"] = parameters.into();
    paths.insert(path, item);
}

fn parameter(name: &str, place: &str, ty: &str, dialect: Dialect) -> Value {
    let mut p = json!({"name": name, "in": place, "uniqueItems": true});
    match dialect {
        Dialect::V2 => p["type"] = ty.into(),
        Dialect::V3 => p["schema"] = json!({"type": ty, "uniqueItems": true}),
    }
    if place == "path" {
        p["required"] = true.into();
    }
    p
}

fn shared_parameters(item: &mut Value, kind: &Kind, named: bool, dialect: Dialect) {
    let mut all = Vec::new();
    if named {
        all.push(parameter("name", "path", "string", dialect));
    }
    if kind.namespaced() {
        all.push(parameter("namespace", "path", "string", dialect));
    }
    all.push(parameter("pretty", "query", "string", dialect));
    item["parameters"] = all.into();
}

fn query_parameters(action: &str) -> &'static [(&'static str, &'static str)] {
    match action {
        "list" => &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        "post" | "put" => &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")],
        "patch" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ],
        "delete" | "deletecollection" => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        _ => &[],
    }
}

const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

fn full_name(type_name: &str) -> String {
    let table = Table::builtin();
    table.find(type_name).map(|id| table.get(id).openapi_name()).unwrap_or_default()
}

fn operation(kind: &Kind, action: &str, dialect: Dialect) -> Value {
    let own = full_name(kind.type_name);
    let (body, answer) = match action {
        "list" => (None, full_name(&format!("{}List", kind.type_name))),
        "post" | "put" => (Some(own.clone()), own),
        "patch" => (Some(PATCH.to_owned()), own),
        "delete" | "deletecollection" => (Some(DELETE_OPTIONS.to_owned()), STATUS.to_owned()),
        _ => (None, own),
    };
    build(&Of::kind(kind), "", action, body, &answer, (kind.group, kind.version, kind.kind), dialect)
}

fn below(kind: &Kind, s: Subresource, action: &str, dialect: Dialect) -> Value {
    let gvk = s.body(kind.kind).unwrap_or((kind.group, kind.version, kind.kind));
    let name = s.body(kind.kind).map_or(Some(kind.type_name.to_owned()), body_type).map(|t| full_name(&t));
    let streams =
        matches!(s, Subresource::Log | Subresource::Exec | Subresource::Attach | Subresource::PortForward);
    let answer = name.clone().filter(|_| !streams).unwrap_or_default();
    let body = match action {
        "patch" => Some(PATCH.to_owned()),
        "put" | "post" if !streams => name,
        _ => None,
    };
    build(&Of::kind(kind), s.path(), action, body, &answer, gvk, dialect)
}

/// What an operation is about.
struct Of<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl<'a> Of<'a> {
    fn kind(kind: &'a Kind) -> Self {
        Self { group: kind.group, version: kind.version, kind: kind.kind }
    }
}

fn build(
    kind: &Of<'_>,
    below: &str,
    action: &str,
    body: Option<String>,
    answer: &str,
    (group, version, name): (&str, &str, &str),
    dialect: Dialect,
) -> Value {
    let tag = if kind.group.is_empty() { "core".to_owned() } else { kind.group.replace('.', "_") };
    let mut parameters: Vec<Value> =
        query_parameters(action).iter().map(|(n, t)| parameter(n, "query", t, dialect)).collect();
    let media: &[&str] = if action == "patch" {
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ]
    } else {
        &["application/json", "application/yaml"]
    };
    let contents = |schema: Value, media: &[&str]| {
        Value::Object(media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect())
    };
    let mut ok = json!({"description": "OK"});
    let schema = if answer.is_empty() { json!({"type": "string"}) } else { dialect.reference(answer) };
    match dialect {
        Dialect::V2 => ok["schema"] = schema,
        Dialect::V3 => ok["content"] = contents(schema, &["application/json"]),
    }
    let capital = |s: &str| {
        s.split('/')
            .map(|p| p[..1.min(p.len())].to_uppercase() + p.get(1..).unwrap_or(""))
            .collect::<String>()
    };
    let mut op = json!({
        "tags": [format!("{tag}_{}", kind.version)],
        "operationId": format!("{action}{}{}{}{}", capital(&tag), capital(kind.version), capital(kind.kind), capital(below)),
        "responses": {"200": ok, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": name},
    });
    if let Some(body) = body {
        let schema = dialect.reference(&body);
        match dialect {
            Dialect::V2 => {
                op["consumes"] = json!(media);
                let optional = action.starts_with("delete");
                parameters.insert(
                    0,
                    json!({"name": "body", "in": "body", "required": !optional, "schema": schema}),
                );
            }
            Dialect::V3 => op["requestBody"] = json!({"content": contents(schema, media)}),
        }
    }
    if dialect == Dialect::V2 {
        op["produces"] = json!(["application/json"]);
    }
    if !parameters.is_empty() {
        op["parameters"] = parameters.into();
    }
    op
}
