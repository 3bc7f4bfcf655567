//! What may I, in this namespace?

use api_types::meta::str_at;
use api_types::status::Status;
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::authz::rbac::Rule;
use crate::server::Server;

/// The status of a `SelfSubjectRulesReview`. Nodes' rights follow from a graph and cannot be listed: upstream says so
/// in the same words.
pub(super) fn review(server: &Server, user: &UserInfo, review: &Value) -> Result<Value, Status> {
    let namespace = str_at(review, &["spec", "namespace"]);
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, mut errors) = server.authorizer().rules_for(user, namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in &rules {
        sort(rule, &mut resources, &mut paths);
    }
    let mut incomplete = !errors.is_empty();
    if user.node().is_some() {
        incomplete = true;
        errors.insert(0, "node authorizer does not support user rule resolution".into());
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": incomplete});
    if !errors.is_empty() {
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(status)
}

fn sort(rule: &Rule, resources: &mut Vec<Value>, paths: &mut Vec<Value>) {
    let of = |fields: &[(&str, &Vec<String>)]| {
        let set = fields.iter().filter(|(_, list)| !list.is_empty());
        Value::Object(set.map(|(name, list)| ((*name).to_owned(), json!(list))).collect())
    };
    if !rule.resources.is_empty() {
        resources.push(of(&[
            ("verbs", &rule.verbs),
            ("apiGroups", &rule.api_groups),
            ("resources", &rule.resources),
            ("resourceNames", &rule.resource_names),
        ]));
    }
    if !rule.non_resource_urls.is_empty() {
        paths.push(of(&[("verbs", &rule.verbs), ("nonResourceURLs", &rule.non_resource_urls)]));
    }
}
