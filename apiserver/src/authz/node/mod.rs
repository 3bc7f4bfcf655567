//! The node authorizer: a node agent may do what `system:node` may, but only to what concerns its node.
//!
//! Decides for users named `system:node:<node>` in `system:nodes`. Secrets, config maps, claims and
//! service accounts are its business when a pod bound to the node refers to them ([`references`]); pods
//! when they are bound to it; node, lease and CSI node when they have its name.

mod pod_refs;
pub mod references;

use std::sync::Arc;

use super::rbac::Rule;
use super::{Attributes, Authorizer, Decision};
use crate::cache::ResourceCache;
pub use references::{RefKind, References};

/// The node authorizer.
#[derive(Debug)]
pub struct NodeAuthorizer {
    rules: Vec<Rule>,
    pods: Arc<ResourceCache>,
    references: Arc<References>,
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

impl NodeAuthorizer {
    /// With the rules of `system:node`, the cache of pods and what pods refer to.
    #[must_use]
    pub fn new(rules: Vec<Rule>, pods: Arc<ResourceCache>, references: Arc<References>) -> Self {
        Self { rules, pods, references }
    }

    fn by_rules(&self, a: &Attributes<'_>) -> Decision {
        if self.rules.iter().any(|rule| rule.allows(a)) { Decision::ALLOW } else { no("") }
    }

    fn related(&self, node: &str, kind: RefKind, a: &Attributes<'_>) -> Decision {
        if a.name.is_empty() {
            return no("No Object name found");
        }
        if self.references.refers(node, kind, a.namespace, a.name) {
            return Decision::ALLOW;
        }
        unrelated(node)
    }

    /// Reading single objects, also by a list or watch of one name.
    fn read(&self, node: &str, kind: RefKind, a: &Attributes<'_>) -> Decision {
        if !matches!(a.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if a.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, kind, a)
    }

    fn get(&self, node: &str, kind: RefKind, a: &Attributes<'_>) -> Decision {
        match get_only(a) {
            Ok(()) => self.related(node, kind, a),
            Err(refused) => refused,
        }
    }

    fn claim(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if a.subresource != "status" {
            return self.get(node, RefKind::Claim, a);
        }
        if !matches!(a.verb, "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related(node, RefKind::Claim, a)
    }

    fn service_account(&self, node: &str, a: &Attributes<'_>) -> Decision {
        match (a.verb, a.subresource) {
            ("get", "") => self.related(node, RefKind::ServiceAccount, a),
            ("create", _) if a.name.is_empty() => {
                no("can only create tokens for individual service accounts")
            }
            ("create", "token") => self.related(node, RefKind::ServiceAccount, a),
            ("create", _) => no("can only create token subresource of serviceaccount"),
            _ => no("can only create tokens for individual service accounts"),
        }
    }

    fn pod(&self, node: &str, a: &Attributes<'_>) -> Decision {
        match (a.subresource, a.verb) {
            ("", "get") => match get_only(a) {
                Ok(()) => self.own_pod(node, a),
                Err(refused) => refused,
            },
            ("", "list" | "watch") => {
                if a.field_selectors.contains(&("spec.nodeName", node)) {
                    return Decision::ALLOW;
                }
                if a.name.is_empty() {
                    return no("can only list/watch pods with spec.nodeName field selector");
                }
                self.own_pod(node, a)
            }
            // Restricted to its own (mirror) pods at admission.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Decision::ALLOW
            }
            _ => no(""),
        }
    }

    fn own_pod(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if a.name.is_empty() {
            return no("No Object name found");
        }
        let key = format!("{}{}/{}", self.pods.config().prefix, a.namespace, a.name);
        let bound = self.pods.get(&key).is_some_and(|pod| pod.field("spec.nodeName") == Some(node));
        if bound { Decision::ALLOW } else { unrelated(node) }
    }
}

fn unrelated(node: &str) -> Decision {
    no(format!("no relationship found between node '{node}' and this object"))
}

fn get_only(a: &Attributes<'_>) -> Result<(), Decision> {
    if a.verb != "get" {
        return Err(no("can only get individual resources of this type"));
    }
    if !a.subresource.is_empty() {
        return Err(no("cannot get subresource"));
    }
    Ok(())
}

fn node_object(node: &str, a: &Attributes<'_>) -> Decision {
    match (a.subresource, a.verb) {
        // Restricted to its own node at admission.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::ALLOW,
        ("", "get" | "list" | "watch") => match a.name {
            name if name == node => Decision::ALLOW,
            "" => no(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name => no(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => no(""),
    }
}

fn lease(node: &str, a: &Attributes<'_>) -> Decision {
    if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if a.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    // The name of what is created is checked at admission.
    if a.verb != "create" && a.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Decision::ALLOW
}

fn csi_node(node: &str, a: &Attributes<'_>) -> Decision {
    if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !a.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if a.verb != "create" && a.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Decision::ALLOW
}

/// A node may look at the slices that name it, and sweep them away. Others it may not touch: whose a slice is would
/// have to be checked at admission.
fn resource_slice(node: &str, a: &Attributes<'_>) -> Decision {
    if !a.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match a.verb {
        "list" | "watch" | "deletecollection" if a.field_selectors.contains(&("spec.nodeName", node)) => {
            Decision::ALLOW
        }
        "list" | "watch" | "deletecollection" => {
            no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
        }
        _ => unrelated(node),
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, a: &Attributes<'_>) -> Decision {
        let Some(node) = a.user.node() else { return no("") };
        if node.is_empty() {
            return no(format!("unknown node for user {}", super::forbidden::quote(&a.user.name)));
        }
        if !a.resource_request {
            return self.by_rules(a);
        }
        match (a.api_group, a.resource) {
            ("", "secrets") => self.read(node, RefKind::Secret, a),
            ("", "configmaps") => self.read(node, RefKind::ConfigMap, a),
            ("", "persistentvolumeclaims") => self.claim(node, a),
            ("", "serviceaccounts") => self.service_account(node, a),
            // Nothing relates these to a node yet.
            ("", "persistentvolumes")
            | ("storage.k8s.io", "volumeattachments")
            | ("resource.k8s.io", "resourceclaims") => match get_only(a) {
                Ok(()) => unrelated(node),
                Err(refused) => refused,
            },
            ("", "nodes") => node_object(node, a),
            ("", "pods") => self.pod(node, a),
            ("coordination.k8s.io", "leases") => lease(node, a),
            ("storage.k8s.io", "csinodes") => csi_node(node, a),
            ("resource.k8s.io", "resourceslices") => resource_slice(node, a),
            _ => self.by_rules(a),
        }
    }
}

#[cfg(test)]
mod tests;
