//! One operation: its name as upstream's generators build it (clients are generated from these names), what it takes
//! and what it answers.

use api_types::schema::Table;
use serde_json::{Value, json};

use super::Dialect;

pub const PATCH: &str = "meta.v1.Patch";
pub const DELETE_OPTIONS: &str = "meta.v1.DeleteOptions";
pub const STATUS: &str = "meta.v1.Status";
pub const WATCH_EVENT: &str = "meta.v1.WatchEvent";

/// Media types an answer can have.
const PRODUCES: &[&str] = &["application/json", "application/yaml"];
const PRODUCES_STREAM: &[&str] = &["application/json", "application/yaml", "application/json;stream=watch"];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const ANYTHING: &[&str] = &["*/*"];

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    List,
    Watch,
    WatchList,
    Get,
    /// A stream of text.
    Log,
    Post,
    Put,
    Patch,
    Delete,
    DeleteCollection,
    /// A stream in both directions.
    Connect,
}

impl Action {
    /// The value of `x-kubernetes-action`.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
            Self::WatchList => "watchlist",
            Self::Get | Self::Log => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Connect => "connect",
        }
    }

    /// How the name of the operation begins.
    pub fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch | Self::WatchList => "watch",
            Self::Get | Self::Log => "read",
            Self::Post => "create",
            Self::Put => "replace",
            Self::Patch => "patch",
            Self::Delete | Self::DeleteCollection => "delete",
            Self::Connect => "connect",
        }
    }

    fn consumes(self) -> &'static [&'static str] {
        if self == Self::Patch { PATCHES } else { ANYTHING }
    }

    fn produces(self) -> &'static [&'static str] {
        match self {
            Self::List | Self::Watch | Self::WatchList => PRODUCES_STREAM,
            Self::Log => &["text/plain", "application/json", "application/yaml"],
            Self::Connect => ANYTHING,
            _ => PRODUCES,
        }
    }

    /// The answers that carry the object, beside 200.
    fn codes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Post => &[("201", "Created"), ("202", "Accepted")],
            Self::Put | Self::Patch => &[("201", "Created")],
            Self::Delete => &[("202", "Accepted")],
            _ => &[],
        }
    }
}

/// An operation about to be written.
pub struct Operation {
    /// What it does.
    pub action: Action,
    /// Its name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// The group and version it is filed under, such as `core_v1`.
    pub tag: String,
    /// The kind it is about.
    pub kind: (String, String, String),
    /// The struct of its body.
    pub body: Option<String>,
    /// The struct of its answer; `None` for text.
    pub answer: Option<String>,
    /// Its parameters.
    pub parameters: Vec<Value>,
}

/// The name of a struct in the documents.
pub fn full_name(type_name: &str) -> String {
    let table = Table::builtin();
    match table.find(type_name) {
        Some(id) => table.get(id).openapi_name(),
        None => format!("io.k8s.apimachinery.pkg.apis.{type_name}"),
    }
}

impl Operation {
    /// As a document has it.
    pub fn write(self, dialect: Dialect) -> Value {
        let answer = match &self.answer {
            Some(name) => dialect.reference(&full_name(name)),
            None => json!({"type": "string"}),
        };
        let mut responses = json!({"401": {"description": "Unauthorized"}});
        for (code, description) in [("200", "OK")].iter().chain(self.action.codes()) {
            let mut response = json!({"description": description});
            match dialect {
                Dialect::V2 => response["schema"] = answer.clone(),
                Dialect::V3 => response["content"] = contents(&answer, self.action.produces()),
            }
            responses[*code] = response;
        }
        let (group, version, kind) = &self.kind;
        let mut op = json!({
            "tags": [self.tag],
            "operationId": self.id,
            "description": self.description,
            "responses": responses,
            "x-kubernetes-action": self.action.name(),
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        });
        let mut parameters = self.parameters;
        if let Some(body) = &self.body {
            let schema = dialect.reference(&full_name(body));
            match dialect {
                Dialect::V2 => {
                    let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
                    if body != DELETE_OPTIONS {
                        parameter["required"] = true.into();
                    }
                    parameters.insert(0, parameter);
                }
                Dialect::V3 => {
                    op["requestBody"] = json!({"content": contents(&schema, self.action.consumes())});
                    if body != DELETE_OPTIONS {
                        op["requestBody"]["required"] = true.into();
                    }
                }
            }
        }
        if dialect == Dialect::V2 {
            op["consumes"] = json!(self.action.consumes());
            op["produces"] = json!(self.action.produces());
            op["schemes"] = json!(["https"]);
        }
        if !parameters.is_empty() {
            op["parameters"] = parameters.into();
        }
        op
    }
}

fn contents(schema: &Value, media: &[&str]) -> Value {
    Value::Object(media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect())
}

/// A question about the API itself, such as which resources a group has.
pub fn about(id: &str, tag: &str, description: &str, answer: Option<&str>, dialect: Dialect) -> Value {
    let schema = match answer {
        Some(name) => dialect.reference(name),
        None => json!({"type": "string"}),
    };
    let mut op = json!({"operationId": id, "tags": [tag], "description": description,
        "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}}});
    match dialect {
        Dialect::V2 => {
            op["responses"]["200"]["schema"] = schema;
            op["consumes"] = json!(["application/json"]);
            op["produces"] = json!(["application/json"]);
            op["schemes"] = json!(["https"]);
        }
        Dialect::V3 => op["responses"]["200"]["content"] = contents(&schema, &["application/json"]),
    }
    json!({"get": op})
}
