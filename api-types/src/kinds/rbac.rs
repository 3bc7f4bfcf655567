//! Roles and their bindings.

use serde_json::{Value, json};

use super::pod_spec::one_of;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut, str_at};
use crate::{names, table};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The strategy of roles and cluster roles.
pub struct Role {
    /// Whether rules may name paths that are no resources.
    pub cluster: bool,
}

/// The strategy of role bindings and cluster role bindings.
pub struct RoleBinding {
    /// Whether it must name a cluster role.
    pub cluster: bool,
}

fn list<'a>(v: &'a Value, field: &str) -> &'a [Value] {
    v.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Strategy for Role {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            default_to(root, "rules", json!([]));
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        for (i, r) in list(object, "rules").iter().enumerate() {
            let path = Path::new("rules").index(i);
            if list(r, "verbs").is_empty() {
                errors.required(&path.child("verbs"), "verbs must contain at least one value");
            }
            if !list(r, "nonResourceURLs").is_empty() {
                if !self.cluster {
                    errors.invalid(
                        &path.child("nonResourceURLs"),
                        r["nonResourceURLs"].clone(),
                        "namespaced rules cannot apply to non-resource URLs",
                    );
                }
                if ["apiGroups", "resources", "resourceNames"].iter().any(|f| !list(r, f).is_empty()) {
                    errors.invalid(
                        &path.child("nonResourceURLs"),
                        r["nonResourceURLs"].clone(),
                        "rules cannot apply to both regular resources and non-resource URLs",
                    );
                }
                continue;
            }
            if list(r, "apiGroups").is_empty() {
                errors
                    .required(&path.child("apiGroups"), "resource rules must supply at least one api group");
            }
            if list(r, "resources").is_empty() {
                errors.required(&path.child("resources"), "resource rules must supply at least one resource");
            }
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), meta::field(o, "creationTimestamp").into()]
    }
}

impl Strategy for RoleBinding {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        default_to(object_mut(root, "roleRef"), "apiGroup", GROUP);
        for s in super::pod_defaults::objects(root.get_mut("subjects")) {
            let kind = s.get("kind").and_then(Value::as_str).unwrap_or("");
            let group = if kind == "User" || kind == "Group" { GROUP } else { "" };
            if !group.is_empty() {
                default_to(s, "apiGroup", group);
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let path = Path::new("roleRef");
        let group = str_at(object, &["roleRef", "apiGroup"]);
        if group != GROUP {
            errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
        }
        let kinds: &[&str] = if self.cluster { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
        let kind = str_at(object, &["roleRef", "kind"]);
        if !kinds.contains(&kind) {
            errors.not_supported(&path.child("kind"), kind, kinds);
        }
        let name = str_at(object, &["roleRef", "name"]);
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_all(&path.child("name"), name, names::path_segment(name));
        }
        for (i, s) in list(object, "subjects").iter().enumerate() {
            let path = Path::new("subjects").index(i);
            if str_at(s, &["name"]).is_empty() {
                errors.required(&path.child("name"), "");
            }
            let kind = str_at(s, &["kind"]);
            one_of(Some(kind), &["ServiceAccount", "User", "Group"], &path.child("kind"), errors);
            if kind == "ServiceAccount" && self.cluster && str_at(s, &["namespace"]).is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        if new.get("roleRef") != old.get("roleRef") {
            errors.invalid(&Path::new("roleRef"), new["roleRef"].clone(), "cannot change roleRef");
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let subjects = |kind: &str| {
            let names: Vec<String> = list(o, "subjects")
                .iter()
                .filter(|s| str_at(s, &["kind"]) == kind)
                .map(|s| match kind {
                    "ServiceAccount" => format!("{}/{}", str_at(s, &["namespace"]), str_at(s, &["name"])),
                    _ => str_at(s, &["name"]).to_owned(),
                })
                .collect();
            Value::from(names.join(", "))
        };
        let role = format!("{}/{}", str_at(o, &["roleRef", "kind"]), str_at(o, &["roleRef", "name"]));
        vec![
            meta::name(o).into(),
            role.into(),
            table::age(o, now).into(),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    }
}
