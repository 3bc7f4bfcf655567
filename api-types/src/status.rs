//! Refusals of whole requests: the `Status` object, with upstream's codes, reasons and messages
//! (`apimachinery/pkg/api/errors`).

use serde_json::{Value, json};

use crate::field::ErrorList;

/// A request that is refused or has failed. Its fields are those of a `Status` object.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason; empty where upstream gives none.
    pub reason: &'static str,
    /// The sentence people read.
    pub message: String,
    /// `details`, or null.
    pub details: Value,
    /// Where a list may go on that can no longer be exact; mostly empty.
    pub continue_token: String,
}

/// What a request is about, as messages name it: `deployments.apps`.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// The words for a code, as the `Status` of an unadorned failure carries them.
impl Status {
    /// A status of one's own making.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, continue_token: String::new() }
    }

    fn about(mut self, group: &str, resource: &str, name: &str) -> Self {
        let mut d = serde_json::Map::new();
        if !name.is_empty() {
            d.insert("name".into(), name.into());
        }
        if !group.is_empty() {
            d.insert("group".into(), group.into());
        }
        if !resource.is_empty() {
            d.insert("kind".into(), resource.into());
        }
        self.details = Value::Object(d);
        self
    }

    /// 404 of an object.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(group, resource)))
            .about(group, resource, name)
    }

    /// 404 of a path.
    pub fn no_such_path() -> Self {
        let mut s = Self::new(404, "NotFound", "the server could not find the requested resource");
        s.details = json!({});
        s
    }

    /// 409 of a create.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(group, resource)))
            .about(group, resource, name)
    }

    /// 409 of a write.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(group, resource)),
        )
        .about(group, resource, name)
    }

    /// 409 of an update made on an older version.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422 with one cause a field.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let kind_name = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut s = Self::new(422, "Invalid", format!("{kind_name} {name:?} is invalid: {list}"))
            .about(group, kind, name);
        let causes: Vec<Value> = errors
            .0
            .iter()
            .map(|e| json!({"reason": e.kind.reason(), "message": e.body, "field": e.field}))
            .collect();
        if let Value::Object(d) = &mut s.details {
            d.insert("causes".into(), causes.into());
        }
        s
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 about an object.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, resource);
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let mut s = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        s.details = json!({});
        s
    }

    /// 406.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        Self::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {}", accepted.join(", ")),
        )
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }

    /// 410: the history asked for is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut s = Self::new(429, "TooManyRequests", message);
        s.details = json!({"retryAfterSeconds": retry_after_seconds});
        s
    }

    /// 504: it did not happen in time, and may be tried again.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let mut s = Self::new(500, "InternalError", format!("Internal error occurred: {message}"));
        s.details = json!({"causes": [{"message": message.to_string()}]});
        s
    }

    /// The `Status` object.
    pub fn to_json(&self) -> Value {
        let mut v = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            v["reason"] = self.reason.into();
        }
        if !self.continue_token.is_empty() {
            v["metadata"]["continue"] = self.continue_token.as_str().into();
        }
        if !self.details.is_null() {
            v["details"] = self.details.clone();
        }
        v
    }
}

/// The `Status` object of a deletion that is complete.
pub fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": resource, "uid": uid});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
