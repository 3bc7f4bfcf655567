//! Upstream's default roles and bindings, as tables, and the objects made of them.
//!
//! A rule is one line: `<verbs> <groups> <resources> [<names>]`, or `<verbs> <urls>`, lists separated by
//! commas, `core` for the core group. The tables state the policy of v1.36 with its default features.

mod bindings;
mod controller_roles;
mod namespaced;
mod reconcile;
mod system_roles;
mod user_roles;

use serde_json::{Value, json};

use super::rbac::Rule;
pub use reconcile::{Existing, Write, WriteKind, reconcile};

/// Names of roles and their rules.
type RoleTable = &'static [(&'static str, &'static [&'static str])];

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const API_GROUP: &str = "rbac.authorization.k8s.io";
const CONTROLLER_PREFIX: &str = "system:controller:";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Roles made of those labelled to be part of them, and what each is itself a part of.
const AGGREGATED: [(&str, Option<&str>); 3] =
    [("admin", None), ("edit", Some("admin")), ("view", Some("edit"))];

fn aggregation_label(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

/// Reads a line of a table.
fn rule(line: &str) -> Rule {
    let mut columns = line.split(' ').map(|column| -> Vec<String> {
        column.split(',').map(|item| if item == "core" { String::new() } else { item.to_owned() }).collect()
    });
    let mut next = || columns.next().unwrap_or_default();
    let (verbs, second, resources, resource_names) = (next(), next(), next(), next());
    if resources.is_empty() {
        return Rule { verbs, non_resource_urls: second, ..Rule::default() };
    }
    Rule { verbs, api_groups: second, resources, resource_names, ..Rule::default() }
}

fn rules(lines: &[&str]) -> Vec<Rule> {
    lines.iter().map(|line| rule(line)).collect()
}

/// The rules of `system:node`, which the node authorizer restricts further.
#[must_use]
pub fn node_rules() -> Vec<Rule> {
    let (_, lines) =
        system_roles::ROLES.iter().find(|(name, _)| *name == "system:node").unwrap_or(&("", &[]));
    rules(lines)
}

fn metadata(name: &str, namespace: Option<&str>, labels: &[String]) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    });
    for label in labels {
        metadata["labels"][label] = "true".into();
    }
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

/// Every default cluster role. Those that are put together have no rules yet.
fn cluster_roles() -> Vec<Value> {
    let role = |name: &str, lines: &[&str], labels: &[String]| {
        json!({
            "apiVersion": API_VERSION,
            "kind": "ClusterRole",
            "metadata": metadata(name, None, labels),
            "rules": rules(lines),
        })
    };
    let part_of = |name: &str| -> Vec<String> {
        name.strip_prefix("system:aggregate-to-").map(aggregation_label).into_iter().collect()
    };
    let controllers =
        controller_roles::ROLES.iter().map(|(name, lines)| (format!("{CONTROLLER_PREFIX}{name}"), lines));
    let others =
        user_roles::ROLES.iter().chain(system_roles::ROLES).map(|(name, lines)| ((*name).to_owned(), lines));
    let mut roles: Vec<Value> =
        others.chain(controllers).map(|(name, lines)| role(&name, lines, &part_of(&name))).collect();
    for (name, of) in AGGREGATED {
        let labels: Vec<String> = of.map(aggregation_label).into_iter().collect();
        let mut role = role(name, &[], &labels);
        let selector = json!({"matchLabels": {aggregation_label(name): "true"}});
        role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
        roles.push(role);
    }
    roles
}

fn binding(
    kind: &str,
    role_kind: &str,
    role: &str,
    name: &str,
    namespace: Option<&str>,
    subjects: &[&str],
) -> Value {
    let subjects: Vec<Value> = subjects.iter().map(|subject| bindings::subject(subject)).collect();
    let mut binding = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata(name, namespace, &[]),
        "roleRef": {"apiGroup": API_GROUP, "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

/// Every default cluster role binding; each has the name of its role.
fn cluster_role_bindings() -> Vec<Value> {
    let of = |role: &str, subjects: &[&str]| {
        binding("ClusterRoleBinding", "ClusterRole", role, role, None, subjects)
    };
    let fixed = bindings::CLUSTER.iter().map(|(role, subjects)| of(role, subjects));
    let controllers = controller_roles::ROLES.iter().map(|(name, _)| {
        let account = format!("sa:kube-system/{name}");
        of(&format!("{CONTROLLER_PREFIX}{name}"), &[&account])
    });
    fixed.chain(controllers).collect()
}

/// Every default role in a namespace.
fn roles() -> Vec<Value> {
    let role = |(namespace, name, lines): &(&str, &str, &[&str])| {
        json!({
            "apiVersion": API_VERSION,
            "kind": "Role",
            "metadata": metadata(name, Some(namespace), &[]),
            "rules": rules(lines),
        })
    };
    namespaced::ROLES.iter().map(role).collect()
}

/// Every default role binding.
fn role_bindings() -> Vec<Value> {
    let bound = |(namespace, name, role, subjects): &(&str, &str, &str, &[&str])| {
        binding("RoleBinding", "Role", role, name, Some(namespace), subjects)
    };
    namespaced::BINDINGS.iter().map(bound).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lines_become_rules() {
        let read = rule("get,list core,apps pods,pods/log a,b");
        assert_eq!(read.verbs, ["get", "list"]);
        assert_eq!(read.api_groups, ["", "apps"]);
        assert_eq!(read.resources, ["pods", "pods/log"]);
        assert_eq!(read.resource_names, ["a", "b"]);
        let url = rule("get /healthz,/version");
        assert_eq!(url.non_resource_urls, ["/healthz", "/version"]);
        assert!(url.resources.is_empty() && url.api_groups.is_empty());
    }

    #[test]
    fn every_line_is_well_formed() {
        let tables = user_roles::ROLES.iter().chain(system_roles::ROLES).chain(controller_roles::ROLES);
        let lines =
            tables.flat_map(|(_, lines)| lines.iter()).chain(namespaced::ROLES.iter().flat_map(|r| r.2));
        for line in lines {
            let columns: Vec<_> = line.split(' ').collect();
            let sorted = |column: &str| column.split(',').is_sorted();
            assert!(sorted(columns[0]), "verbs of {line}");
            match columns.len() {
                2 => assert!(
                    columns[1] == "*" || columns[1].split(',').all(|url| url.starts_with('/')),
                    "{line}"
                ),
                3 | 4 => assert!(sorted(columns[2]), "resources of {line}"),
                _ => panic!("{line}"),
            }
        }
    }

    #[test]
    fn names_are_unique_and_bindings_have_roles() {
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let roles: Vec<_> = cluster_roles().iter().map(name).collect();
        let unique: BTreeSet<_> = roles.iter().cloned().collect();
        assert_eq!(unique.len(), roles.len());
        for binding in cluster_role_bindings() {
            assert!(unique.contains(binding["roleRef"]["name"].as_str().unwrap()), "{binding}");
        }
        let namespaced: BTreeSet<_> =
            super::roles().iter().map(|r| (r["metadata"]["namespace"].to_string(), name(r))).collect();
        for binding in role_bindings() {
            let role = binding["roleRef"]["name"].as_str().unwrap().to_owned();
            assert!(namespaced.contains(&(binding["metadata"]["namespace"].to_string(), role)), "{binding}");
        }
    }

    /// The policy was compared with that of v1.36.2 as it is with its default features, without what is switched
    /// on by features that are off (trust bundles, pod certificates, workloads, device taint rules).
    #[test]
    fn the_policy_is_that_of_the_version_we_serve() {
        assert_eq!(cluster_roles().len(), 69);
        assert_eq!(cluster_role_bindings().len(), 50);
        assert_eq!(super::roles().len(), 7);
        assert_eq!(role_bindings().len(), 7);
        let all = cluster_roles();
        let has = |role: &str, line: &str| {
            let role = all.iter().find(|r| r["metadata"]["name"] == role).unwrap();
            let wanted = serde_json::to_value(rule(line)).unwrap();
            role["rules"].as_array().unwrap().contains(&wanted)
        };
        for (role, line) in [
            (
                "system:aggregate-to-edit",
                "create,delete,deletecollection,patch,update core,events.k8s.io events",
            ),
            ("system:aggregate-to-view", "get,list,watch core,events.k8s.io events"),
            ("system:kube-scheduler", "get,list,update,watch coordination.k8s.io leases kube-scheduler"),
            ("system:kube-scheduler", "create,delete resource.k8s.io resourceclaims"),
            ("system:kube-scheduler", "patch,update resource.k8s.io resourceclaims/binding"),
            ("system:monitoring", "get core nodes/metrics"),
            ("system:node", "create,patch,update core,events.k8s.io events"),
        ] {
            assert!(has(role, line), "{role}: {line}");
        }
    }

    #[test]
    fn the_node_role_is_there() {
        assert!(node_rules().len() > 20);
    }
}
