//! Access reviews: questions about authorization, asked and answered in one request, never stored.

use std::sync::Arc;

use api_types::field::{ErrorList, Path};
use api_types::json::Parsed;
use api_types::meta::{self, str_at};
use api_types::schema::{Table, decode};
use api_types::status::Status;
use axum::body::Body;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::respond::{self, Answer};
use crate::authn::UserInfo;
use crate::authz::{Attributes, Decision};
use crate::request::RequestInfo;
use crate::request::body;
use crate::server::Server;

/// A kind that is a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// May I?
    SelfSubjectAccess,
    /// May they?
    SubjectAccess,
    /// May they, in this namespace?
    LocalSubjectAccess,
    /// Who am I?
    SelfSubject,
}

/// Every review as (kind, group, resource, namespaced).
pub const ALL: [(Review, &str, &str, &str, bool); 4] = [
    (Review::SelfSubject, "authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", false),
    (
        Review::LocalSubjectAccess,
        "authorization.k8s.io",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        true,
    ),
    (
        Review::SelfSubjectAccess,
        "authorization.k8s.io",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        false,
    ),
    (Review::SubjectAccess, "authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews", false),
];

/// The review a path stands for.
pub fn find(info: &RequestInfo) -> Option<Review> {
    let found =
        ALL.iter().find(|(_, group, _, plural, _)| info.group == *group && info.resource == *plural)?;
    (info.version == "v1" && info.name.is_empty() && info.subresource.is_empty()).then_some(found.0)
}

impl Review {
    /// Answers the question in the request's body.
    pub async fn answer(
        self,
        server: &Arc<Server>,
        user: &UserInfo,
        info: &RequestInfo,
        request: http::Request<Body>,
    ) -> Answer {
        if *request.method() != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let (parts, sent) = request.into_parts();
        let media = body::media(parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()))?;
        let bytes = body::read(sent).await?;
        let Parsed { value: mut review, .. } = body::parse(&bytes, media).map_err(Status::bad_request)?;
        let entry = ALL.iter().find(|(r, ..)| *r == self).ok_or_else(Status::no_such_path)?;
        let table = Table::builtin();
        let type_name = format!("{}.v1.{}", entry.1.trim_end_matches(".k8s.io"), entry.2);
        if let Some(id) = table.find(&type_name) {
            decode::normalize(&mut review, id, table).map_err(|e| {
                Status::bad_request(format!(
                    "{} in version \"v1\" cannot be handled as a {}: {}",
                    entry.2, entry.2, e.0
                ))
            })?;
        }
        review["kind"] = entry.2.into();
        review["apiVersion"] = format!("{}/v1", entry.1).into();
        if !review["metadata"].is_object() {
            review["metadata"] = json!({});
        }
        review["status"] = match self {
            Self::SelfSubject => json!({"userInfo": user_json(user)}),
            Self::SelfSubjectAccess => decide(server, user, &review)?,
            Self::SubjectAccess | Self::LocalSubjectAccess => {
                let asked = meta::str_at(&review, &["spec", "resourceAttributes", "namespace"]);
                if self == Self::LocalSubjectAccess && asked != info.namespace {
                    let path = Path::new("spec").child("resourceAttributes").child("namespace");
                    return Err(invalid(|e| e.invalid(&path, asked, "must match metadata.namespace")));
                }
                decide(server, &subject(&review), &review)?
            }
        };
        Ok(respond::json(StatusCode::CREATED, &review))
    }
}

fn invalid(fill: impl FnOnce(&mut ErrorList)) -> Status {
    let mut errors = ErrorList::new();
    fill(&mut errors);
    Status::invalid("authorization.k8s.io", "", "", &errors)
}

fn user_json(user: &UserInfo) -> Value {
    let mut v = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        v["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        v["extra"] = json!(user.extra);
    }
    v
}

fn subject(review: &Value) -> UserInfo {
    let groups = meta::at(review, &["spec", "groups"]).and_then(Value::as_array);
    UserInfo {
        name: str_at(review, &["spec", "user"]).to_owned(),
        uid: str_at(review, &["spec", "uid"]).to_owned(),
        groups: groups.into_iter().flatten().filter_map(|g| g.as_str().map(str::to_owned)).collect(),
        extra: Default::default(),
    }
}

fn decide(server: &Server, user: &UserInfo, review: &Value) -> Result<Value, Status> {
    let resource = meta::at(review, &["spec", "resourceAttributes"]);
    let path = meta::at(review, &["spec", "nonResourceAttributes"]);
    let attributes = match (resource, path) {
        (Some(r), None) => {
            let t = |f: &str| str_at(r, &[f]);
            Attributes::resource(user, t("verb"), t("group"), t("version"), t("resource"))
                .with_subresource(t("subresource"))
                .named(t("name"))
                .in_namespace(t("namespace"))
        }
        (None, Some(p)) => Attributes::path(user, str_at(p, &["verb"]), str_at(p, &["path"])),
        _ => {
            let text = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            let path = Path::new("spec").child("resourceAttributes");
            return Err(invalid(|e| e.invalid(&path, resource.cloned().unwrap_or_default(), text)));
        }
    };
    let (mut status, reason) = match server.authorizer().authorize(&attributes) {
        Decision::Allow(reason) => (json!({"allowed": true}), json!(reason)),
        Decision::Deny(reason) => (json!({"allowed": false, "denied": true}), json!(reason)),
        Decision::NoOpinion(reason) => (json!({"allowed": false}), json!(reason)),
    };
    if reason != "" {
        status["reason"] = reason;
    }
    Ok(status)
}
