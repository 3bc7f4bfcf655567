//! Reviews: questions about identity and rights, asked and answered in one request, never stored.

mod access;
mod rules;
mod token;
mod validate;

use std::sync::Arc;

use api_types::json::Parsed;
use api_types::schema::{Table, decode};
use api_types::status::Status;
use axum::body::Body;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::respond::{self, Answer};
use crate::authn::UserInfo;
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
    /// Whose token is this?
    Token,
    /// What may I, in this namespace?
    SelfSubjectRules,
}

/// Every review as (kind, group, resource, namespaced).
pub const ALL: [(Review, &str, &str, &str, bool); 6] = [
    (Review::SelfSubject, "authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", false),
    (Review::Token, "authentication.k8s.io", "TokenReview", "tokenreviews", false),
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
    (
        Review::SelfSubjectRules,
        "authorization.k8s.io",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
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
            Self::SelfSubjectAccess => {
                validate::access(self, &review, "")?;
                access::decide(server, user, &review)
            }
            Self::SubjectAccess | Self::LocalSubjectAccess => {
                validate::access(self, &review, &info.namespace)?;
                access::decide(server, &access::subject(&review), &review)
            }
            Self::Token => token::review(server, &review).await?,
            Self::SelfSubjectRules => rules::review(server, user, &review)?,
        };
        Ok(respond::json(StatusCode::CREATED, &review))
    }
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
