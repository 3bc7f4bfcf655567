//! Roles and their bindings.

use serde_json::Value;

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
        if self.cluster {
            aggregation(object, errors);
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), meta::field(o, "creationTimestamp").into()]
    }
}

/// Who a role is given to; its name is there.
fn subject(s: &Value, cluster: bool, path: &Path, errors: &mut ErrorList) {
    let (kind, name, group) = (str_at(s, &["kind"]), str_at(s, &["name"]), str_at(s, &["apiGroup"]));
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.invalid_all(&path.child("name"), name, names::dns1123_subdomain(name));
            }
            if !group.is_empty() {
                errors.not_supported(&path.child("apiGroup"), group, &[""]);
            }
            if cluster && str_at(s, &["namespace"]).is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
        }
        "User" | "Group" => {}
        other => errors.not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

/// The roles that a cluster role is put together from.
fn aggregation(object: &Value, errors: &mut ErrorList) {
    let Some(rule) = object.get("aggregationRule").filter(|r| !r.is_null()) else { return };
    let path = Path::new("aggregationRule").child("clusterRoleSelectors");
    let selectors = list(rule, "clusterRoleSelectors");
    if selectors.is_empty() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.required(&path, why);
    }
    for (i, s) in selectors.iter().enumerate() {
        super::workload::label_selector(&super::typed(Some(s)), &path.index(i), errors);
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
            subject(s, self.cluster, &path, errors);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(check: impl FnOnce(&mut ErrorList)) -> Vec<String> {
        let mut e = ErrorList::new();
        check(&mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn subjects() {
        for (s, cluster, want) in [
            (json!({"kind": "User", "name": "u", "apiGroup": GROUP}), true, vec![]),
            (
                json!({"kind": "User", "name": "u", "apiGroup": "x"}),
                true,
                vec!["apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\""],
            ),
            (json!({"kind": "ServiceAccount", "name": "a", "apiGroup": ""}), false, vec![]),
            (
                json!({"kind": "ServiceAccount", "name": "A", "apiGroup": GROUP}),
                true,
                vec![
                    "name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                    "apiGroup: Unsupported value: \"rbac.authorization.k8s.io\": supported values: \"\"",
                    "namespace: Required value",
                ],
            ),
            (
                json!({"name": "a"}),
                false,
                vec![
                    "kind: Unsupported value: \"\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
                ],
            ),
        ] {
            let want: Vec<String> = want.into_iter().map(|w| format!("subjects[0].{w}")).collect();
            assert_eq!(told(|e| subject(&s, cluster, &Path::new("subjects").index(0), e)), want, "{s}");
        }
    }

    #[test]
    fn aggregation_rules() {
        let none = json!({"aggregationRule": {}});
        assert_eq!(
            told(|e| aggregation(&none, e)),
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"
            ]
        );
        let odd = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}});
        assert_eq!(
            told(|e| aggregation(&odd, e)),
            [
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"
            ]
        );
    }
}
