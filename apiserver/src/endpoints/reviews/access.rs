//! May I, may they?

use std::collections::BTreeMap;

use api_types::field::Path;
use api_types::meta::{self, str_at};
use api_types::status::Status;
use serde_json::{Value, json};

use super::invalid;
use crate::authn::UserInfo;
use crate::authz::{Attributes, Decision};
use crate::server::Server;

/// May they?
pub(super) fn others(server: &Server, review: &Value) -> Result<Value, Status> {
    decide(server, &named(review)?, review)
}

/// May they, in this namespace?
pub(super) fn local(server: &Server, review: &Value, namespace: &str) -> Result<Value, Status> {
    let asked = str_at(review, &["spec", "resourceAttributes", "namespace"]);
    if asked != namespace {
        let path = Path::new("spec").child("resourceAttributes").child("namespace");
        return Err(invalid("", |e| e.invalid(&path, asked, "must match metadata.namespace")));
    }
    others(server, review)
}

/// Whom the review names: somebody.
fn named(review: &Value) -> Result<UserInfo, Status> {
    let subject = subject(review);
    if subject.name.is_empty() && subject.groups.is_empty() {
        let path = Path::new("spec").child("user");
        let text = "at least one of user or group must be specified";
        return Err(invalid("", |e| e.invalid(&path, "", text)));
    }
    Ok(subject)
}

fn extra(review: &Value) -> BTreeMap<String, Vec<String>> {
    let all = meta::at(review, &["spec", "extra"]).and_then(Value::as_object);
    let texts = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect()
    };
    all.into_iter().flatten().map(|(k, v)| (k.to_lowercase(), texts(v))).collect()
}

fn subject(review: &Value) -> UserInfo {
    let groups = meta::at(review, &["spec", "groups"]).and_then(Value::as_array);
    UserInfo {
        name: str_at(review, &["spec", "user"]).to_owned(),
        uid: str_at(review, &["spec", "uid"]).to_owned(),
        groups: groups.into_iter().flatten().filter_map(|g| g.as_str().map(str::to_owned)).collect(),
        extra: extra(review),
    }
}

pub(super) fn decide(server: &Server, user: &UserInfo, review: &Value) -> Result<Value, Status> {
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
            return Err(invalid("", |e| e.invalid(&path, resource.cloned().unwrap_or_default(), text)));
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
