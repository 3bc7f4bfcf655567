//! The node authorizer: a node agent may do what `system:node` may, but only to what concerns its node.
//!
//! Decides for users named `system:node:<node>` in `system:nodes`. Secrets, config maps, claims of volumes and
//! devices and service accounts are its business when a pod bound to the node refers to them ([`references`]);
//! volumes when such a claim is bound to them, and then their secrets ([`volumes`]); pods when they are bound to it,
//! slices and attachments when they name it; node, lease and CSI node when they have its name.

mod follow;
mod named;
mod pod_refs;
pub mod references;
mod volume_refs;
pub mod volumes;

use std::sync::Arc;

use super::rbac::Rule;
use super::{Attributes, Authorizer, Decision};
use crate::cache::{Cache, CachedObject, ResourceCache};
pub use references::{RefKind, References};
pub use volumes::VolumeSecrets;

/// The node authorizer.
#[derive(Debug)]
pub struct NodeAuthorizer {
    rules: Vec<Rule>,
    caches: NodeCaches,
    references: Arc<References>,
    secrets: Arc<VolumeSecrets>,
}

/// What is looked at. Kinds that are not cached are as good as empty.
#[derive(Debug, Clone)]
pub struct NodeCaches {
    /// Pods.
    pub pods: Arc<ResourceCache>,
    /// PersistentVolumes.
    pub volumes: Option<Arc<ResourceCache>>,
    /// VolumeAttachments.
    pub attachments: Option<Arc<ResourceCache>>,
    /// ResourceSlices.
    pub slices: Option<Arc<ResourceCache>>,
}

impl NodeCaches {
    /// Those of a cache, when it has pods.
    #[must_use]
    pub fn of(cache: &Cache) -> Option<Self> {
        let find = |kind: &str| cache.resource(&format!("/registry/{kind}/")).cloned();
        Some(Self {
            pods: find("pods")?,
            volumes: find("persistentvolumes"),
            attachments: find("volumeattachments"),
            slices: find("resourceslices"),
        })
    }
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

impl NodeAuthorizer {
    /// With the rules of `system:node`, and what pods and volumes refer to.
    #[must_use]
    pub fn new(
        rules: Vec<Rule>,
        caches: NodeCaches,
        references: Arc<References>,
        secrets: Arc<VolumeSecrets>,
    ) -> Self {
        Self { rules, caches, references, secrets }
    }

    fn by_rules(&self, a: &Attributes<'_>) -> Decision {
        if self.rules.iter().any(|rule| rule.allows(a)) { Decision::ALLOW } else { no("") }
    }

    fn related(&self, node: &str, kind: RefKind, a: &Attributes<'_>) -> Decision {
        if a.name.is_empty() {
            return no("No Object name found");
        }
        let object = format!("{}/{}", a.namespace, a.name);
        let by_volume = || {
            let claims = self.secrets.claims(&object);
            claims.iter().any(|claim| self.references.refers(node, RefKind::Claim, claim))
        };
        if self.references.refers(node, kind, &object) || (kind == RefKind::Secret && by_volume()) {
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
            ("get", "") => self.read(node, RefKind::ServiceAccount, a),
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
        let bound = |pod: &CachedObject| pod.field("spec.nodeName") == Some(node);
        own(Some(&self.caches.pods), node, a, bound)
    }

    /// A volume that a claim of the node's pods is bound to.
    fn volume(&self, node: &str, a: &Attributes<'_>) -> Decision {
        let bound = |volume: &CachedObject| {
            let claim = volume_refs::claim(&volume.bytes);
            claim.is_some_and(|claim| self.references.refers(node, RefKind::Claim, &claim))
        };
        get_only(a).map_or_else(|no| no, |()| own(self.caches.volumes.as_ref(), node, a, bound))
    }

    /// An attachment to the node.
    fn attachment(&self, node: &str, a: &Attributes<'_>) -> Decision {
        let here = |attachment: &CachedObject| {
            volume_refs::attached_to(&attachment.bytes).is_some_and(|name| name == node)
        };
        get_only(a).map_or_else(|no| no, |()| own(self.caches.attachments.as_ref(), node, a, here))
    }

    /// A slice that names the node.
    fn resource_slice(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if !a.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match a.verb {
            // Whom a new one names is checked at admission.
            "create" => Decision::ALLOW,
            "get" | "update" | "patch" | "delete" => {
                let names = |slice: &CachedObject| slice.field("spec.nodeName") == Some(node);
                own(self.caches.slices.as_ref(), node, a, names)
            }
            "list" | "watch" | "deletecollection" if a.field_selectors.contains(&("spec.nodeName", node)) => {
                Decision::ALLOW
            }
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }
}

/// Allowed when the object is there and related to the node.
fn own(
    cache: Option<&Arc<ResourceCache>>,
    node: &str,
    a: &Attributes<'_>,
    related: impl FnOnce(&CachedObject) -> bool,
) -> Decision {
    if a.name.is_empty() {
        return no("No Object name found");
    }
    let found = cache.and_then(|cache| {
        let config = cache.config();
        let namespace = if config.namespaced { format!("{}/", a.namespace) } else { String::new() };
        cache.get(&format!("{}{namespace}{}", config.prefix, a.name))
    });
    if found.is_some_and(|object| related(&object)) { Decision::ALLOW } else { unrelated(node) }
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
            ("", "persistentvolumes") => self.volume(node, a),
            ("storage.k8s.io", "volumeattachments") => self.attachment(node, a),
            ("resource.k8s.io", "resourceclaims") => self.get(node, RefKind::ResourceClaim, a),
            ("", "nodes") => named::node_object(node, a),
            ("", "pods") => self.pod(node, a),
            ("coordination.k8s.io", "leases") => named::lease(node, a),
            ("storage.k8s.io", "csinodes") => named::csi_node(node, a),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, a),
            _ => self.by_rules(a),
        }
    }
}

#[cfg(test)]
mod tests;
