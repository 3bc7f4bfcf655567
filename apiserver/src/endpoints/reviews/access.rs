//! May I, may they?

use std::collections::BTreeMap;

use api_types::meta::{self, str_at};
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::authz::{Attributes, Decision};
use crate::server::Server;

fn extra(review: &Value) -> BTreeMap<String, Vec<String>> {
    let all = meta::at(review, &["spec", "extra"]).and_then(Value::as_object);
    let texts = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect()
    };
    all.into_iter().flatten().map(|(k, v)| (k.to_lowercase(), texts(v))).collect()
}

/// Whom the review names.
pub(super) fn subject(review: &Value) -> UserInfo {
    let groups = meta::at(review, &["spec", "groups"]).and_then(Value::as_array);
    UserInfo {
        name: str_at(review, &["spec", "user"]).to_owned(),
        uid: str_at(review, &["spec", "uid"]).to_owned(),
        groups: groups.into_iter().flatten().filter_map(|g| g.as_str().map(str::to_owned)).collect(),
        extra: extra(review),
    }
}

/// Whether they may; of a review that was found valid.
pub(super) fn decide(server: &Server, user: &UserInfo, review: &Value) -> Value {
    let resource = meta::at(review, &["spec", "resourceAttributes"]);
    let path = meta::at(review, &["spec", "nonResourceAttributes"]);
    let attributes = match (resource, path) {
        (_, Some(p)) => Attributes::path(user, str_at(p, &["verb"]), str_at(p, &["path"])),
        (resource, None) => {
            let t = |f: &str| resource.map_or("", |r| str_at(r, &[f]));
            Attributes::resource(user, t("verb"), t("group"), t("version"), t("resource"))
                .with_subresource(t("subresource"))
                .named(t("name"))
                .in_namespace(t("namespace"))
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
    status
}
