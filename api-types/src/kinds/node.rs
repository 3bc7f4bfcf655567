//! Nodes.

use serde_json::Value;

use super::{addresses, keep_status, node_spec, plural};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut, str_at};
use crate::table;

/// The strategy of nodes.
pub struct Node;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

impl Strategy for Node {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        plural::pod_ranges(object_mut(root, "spec"));
        let status = object_mut(root, "status");
        if let Some(capacity) = status.get("capacity").cloned() {
            meta::default_to(status, "allocatable", capacity);
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        node_spec::validate(object, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        node_spec::update(new, old, errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        node_spec::amounts(new, errors);
        node_spec::features(new, errors);
        node_spec::update(new, old, errors);
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut all = Vec::new();
        if meta::at(object, &["spec", "configSource"]).is_some_and(|v| !v.is_null()) {
            all.push("spec.configSource: the feature is removed".to_owned());
        }
        if !str_at(object, &["spec", "externalID"]).is_empty() {
            all.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        let ranges = meta::at(object, &["spec", "podCIDRs"]).and_then(Value::as_array);
        for (i, range) in ranges.into_iter().flatten().enumerate() {
            let path = Path::new("spec").child("podCIDRs").index(i);
            all.extend(addresses::cidr_warnings(&path, range.as_str().unwrap_or("")));
        }
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let or = |s: &str, none: &str| if s.is_empty() { Value::from(none) } else { s.into() };
        vec![
            meta::name(o).into(),
            status(o).into(),
            roles(o).into(),
            table::age(o, now).into(),
            str_at(o, &["status", "nodeInfo", "kubeletVersion"]).into(),
            or(address(o, "InternalIP"), "<none>"),
            or(address(o, "ExternalIP"), "<none>"),
            or(str_at(o, &["status", "nodeInfo", "osImage"]), "<unknown>"),
            or(str_at(o, &["status", "nodeInfo", "kernelVersion"]), "<unknown>"),
            or(str_at(o, &["status", "nodeInfo", "containerRuntimeVersion"]), "<unknown>"),
        ]
    }
}

fn address<'a>(o: &'a Value, kind: &str) -> &'a str {
    let list = meta::at(o, &["status", "addresses"]).and_then(Value::as_array);
    list.into_iter().flatten().find(|a| str_at(a, &["type"]) == kind).map_or("", |a| str_at(a, &["address"]))
}

fn status(o: &Value) -> String {
    let list = meta::at(o, &["status", "conditions"]).and_then(Value::as_array);
    let ready = list.into_iter().flatten().find(|c| str_at(c, &["type"]) == "Ready");
    let mut text = match ready.map(|c| str_at(c, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".into(),
        None => "Unknown".into(),
    };
    if meta::at(o, &["spec", "unschedulable"]).and_then(Value::as_bool) == Some(true) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(o: &Value) -> String {
    let mut roles: Vec<String> = Vec::new();
    for (k, v) in meta::labels(o) {
        if let Some(role) = k.strip_prefix(ROLE_PREFIX).filter(|r| !r.is_empty()) {
            roles.push(role.to_owned());
        } else if k == "kubernetes.io/role" && !v.is_empty() {
            roles.push(v);
        }
    }
    roles.sort();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}
