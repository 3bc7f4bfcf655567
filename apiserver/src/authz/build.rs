//! The authorization of a server: masters, nodes, then roles.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::node::{NodeAuthorizer, NodeCaches, References, VolumeSecrets};
use super::rbac::{Rbac, RbacCaches, Rule};
use super::{Attributes, Authorizer, Decision, PrivilegedGroup, Union, bootstrap};
use crate::authn::UserInfo;
use crate::cache::{Cache, ResourceCache};

/// Upstream's `Node,RBAC` over this server's cache.
#[derive(Debug)]
pub struct Authorization {
    union: Union,
    rbac: Arc<Rbac>,
    references: Option<(Arc<References>, Arc<VolumeSecrets>)>,
    follows_volumes: bool,
    cache: Arc<Cache>,
    follows_roles: bool,
}

impl Authorization {
    /// The roles, for the check of writes to them.
    #[must_use]
    pub fn rbac(&self) -> &Arc<Rbac> {
        &self.rbac
    }
}

impl Authorizer for Authorization {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.union.authorize(attributes)
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        self.rbac.rules_for(user, namespace)
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.cache.ready().await;
            // A store that does not answer is not waited for: what the cache has must do.
            if let Err(error) = self.cache.read_consistent().await {
                tracing::warn!(%error, "authorizing by what the cache has");
            }
            if self.follows_roles {
                self.rbac.caught_up(self.cache.applied_revision()).await;
            }
            if let Some((references, secrets)) = &self.references {
                references.ready().await;
                if self.follows_volumes {
                    secrets.ready().await;
                }
            }
        })
    }
}

/// Puts it together; its tasks start once the cache is ready. Kinds that the cache does not hold are as
/// good as empty: without those of RBAC only masters and nodes are allowed anything.
#[must_use]
pub fn build(cache: &Arc<Cache>, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Authorization> {
    let rbac = Rbac::new();
    let mut authorizers: Vec<Arc<dyn Authorizer>> = vec![Arc::new(PrivilegedGroup)];
    let mut references = None;
    let mut follows_volumes = false;
    if let Some(caches) = NodeCaches::of(cache) {
        let (refs, secrets) = (References::new(), VolumeSecrets::new());
        let follow = refs.clone().run(caches.pods.clone(), stop.clone());
        tasks.spawn(after_ready(cache.clone(), stop.clone(), follow));
        if let Some(volumes) = &caches.volumes {
            follows_volumes = true;
            let follow = secrets.clone().run(volumes.clone(), stop.clone());
            tasks.spawn(after_ready(cache.clone(), stop.clone(), follow));
        }
        references = Some((refs.clone(), secrets.clone()));
        authorizers.push(Arc::new(NodeAuthorizer::new(bootstrap::node_rules(), caches, refs, secrets)));
    }
    let caches = rbac_caches(cache);
    let follows_roles = caches.is_some();
    if let Some(caches) = caches {
        tasks.spawn(after_ready(cache.clone(), stop.clone(), rbac.clone().run(caches, stop.clone())));
    }
    authorizers.push(rbac.clone());
    Arc::new(Authorization {
        union: Union::new(authorizers),
        rbac,
        references,
        follows_volumes,
        cache: cache.clone(),
        follows_roles,
    })
}

fn rbac_caches(cache: &Cache) -> Option<RbacCaches> {
    let of =
        |kind: &str| -> Option<Arc<ResourceCache>> { cache.resource(&format!("/registry/{kind}/")).cloned() };
    Some(RbacCaches {
        roles: of("roles")?,
        cluster_roles: of("clusterroles")?,
        role_bindings: of("rolebindings")?,
        cluster_role_bindings: of("clusterrolebindings")?,
    })
}

async fn after_ready(cache: Arc<Cache>, stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = async {
            cache.ready().await;
            task.await;
        } => {}
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::cache::{CacheConfig, FieldDef, ResourceConfig};
    use crate::storage::Storage;
    use crate::storage::embedded::{EmbeddedOptions, EmbeddedStorage};

    const FIELDS: &[FieldDef] =
        &[FieldDef { name: "spec.nodeName", path: &["spec", "nodeName"], default: "" }];

    /// User (`name` or `name+group`), verb, `group/resource[/subresource]` or a path, namespace, allowed.
    type Case = (&'static str, &'static str, &'static str, &'static str, bool);

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        ("admin+system:masters", "delete", "/nodes", "", true),
        ("admin+system:masters", "post", "/anything", "", true),
        ("jane", "get", "/api", "", true),
        ("jane", "get", "/version", "", true),
        ("jane", "get", "/metrics", "", false),
        ("jane", "create", "authorization.k8s.io/selfsubjectaccessreviews", "", true),
        ("jane", "list", "/pods", "default", false),
        ("prometheus+system:monitoring", "get", "/metrics", "", true),
        ("system:kube-scheduler", "create", "/pods/binding", "default", true),
        ("system:kube-scheduler", "patch", "/pods/status", "default", true),
        ("system:kube-scheduler", "watch", "/persistentvolumes", "", true),
        ("system:kube-scheduler", "create", "/pods", "default", false),
        ("system:kube-scheduler", "get", "/secrets", "default", false),
        ("system:kube-scheduler", "get", "/configmaps", "kube-system", false),
        ("system:kube-controller-manager", "watch", "apps/deployments", "", true),
        ("system:kube-controller-manager", "update", "apps/deployments", "default", false),
        ("system:kube-controller-manager", "create", "/serviceaccounts/token", "kube-system", true),
        ("system:serviceaccount:kube-system:deployment-controller", "create", "apps/replicasets", "default", true),
        ("system:serviceaccount:kube-system:deployment-controller", "create", "/pods", "default", false),
        ("system:serviceaccount:kube-system:replicaset-controller", "create", "/pods", "default", true),
        ("system:serviceaccount:kube-system:namespace-controller", "deletecollection", "example.com/things", "a", true),
        ("system:serviceaccount:kube-system:generic-garbage-collector", "patch", "example.com/things", "a", true),
        ("system:serviceaccount:default:deployment-controller", "create", "apps/replicasets", "default", false),
        ("system:kube-proxy", "watch", "discovery.k8s.io/endpointslices", "", true),
        ("system:kube-proxy", "watch", "/nodes", "", true),
        ("system:kube-proxy", "update", "/nodes", "", false),
        ("system:node:n1+system:nodes", "create", "/nodes", "", true),
        ("system:node:n1+system:nodes", "patch", "/pods/status", "default", true),
        ("system:node:n1+system:nodes", "list", "/pods", "", false),
        ("system:node:n1", "create", "/nodes", "", false),
    ];

    #[tokio::test]
    async fn components_have_the_rights_of_upstreams() {
        let dir = TempDir::new().unwrap();
        let storage = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
        let kinds = [
            ("pods", true),
            ("roles", true),
            ("rolebindings", true),
            ("clusterroles", false),
            ("clusterrolebindings", false),
        ];
        let config = |(kind, namespaced): (&str, bool)| ResourceConfig {
            prefix: format!("/registry/{kind}/"),
            namespaced,
            fields: FIELDS,
        };
        let cache = Cache::new(storage.clone(), CacheConfig::new(kinds.into_iter().map(config).collect()));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let _guard = stop.clone().drop_guard();
        let authorization = build(&cache, &tasks, &stop);
        tasks.spawn(cache.clone().run(stop.clone()));
        // Written after everything runs: `ready` must not return before it counts.
        let writes = bootstrap::reconcile(&bootstrap::Existing::default());
        futures::future::join_all(writes.iter().map(|write| {
            let metadata = &write.object["metadata"];
            let namespace = metadata["namespace"].as_str().map(|n| format!("{n}/")).unwrap_or_default();
            let key =
                format!("/registry/{}/{namespace}{}", write.resource, metadata["name"].as_str().unwrap());
            let (storage, value) = (storage.clone(), write.object.to_string());
            async move { storage.create(&key, value.into(), None).await.unwrap() }
        }))
        .await;
        authorization.ready().await;
        for (who, verb, what, namespace, allowed) in CASES {
            let (name, groups) = who.split_once('+').map_or((*who, vec![]), |(n, g)| (n, vec![g.to_owned()]));
            let user = UserInfo::authenticated(name, groups);
            let (group, rest) = what.split_once('/').unwrap();
            let is_path = matches!(*verb, "get" | "post") && group.is_empty() && namespace.is_empty();
            let attributes = if is_path {
                Attributes::path(&user, verb, what)
            } else {
                let (resource, subresource) = rest.split_once('/').unwrap_or((rest, ""));
                Attributes::resource(&user, verb, group, "v1", resource)
                    .with_subresource(subresource)
                    .in_namespace(namespace)
            };
            let decision = authorization.authorize(&attributes);
            assert_eq!(decision.is_allowed(), *allowed, "{who} {verb} {what} in {namespace:?}: {decision:?}");
        }
        stop.cancel();
        tasks.close();
        tokio::time::timeout(std::time::Duration::from_secs(20), tasks.wait()).await.expect("its tasks end");
    }
}
