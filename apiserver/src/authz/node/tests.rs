//! The node authorizer over a cache of pods.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::authn::UserInfo;
use crate::authz::bootstrap::node_rules;
use crate::cache::{Cache, CacheConfig, FieldDef, ResourceConfig};
use crate::storage::Storage;
use crate::storage::embedded::{EmbeddedOptions, EmbeddedStorage};

const FIELDS: &[FieldDef] = &[FieldDef { name: "spec.nodeName", path: &["spec", "nodeName"], default: "" }];

struct Fixture {
    authorizer: NodeAuthorizer,
    storage: Arc<EmbeddedStorage>,
    cache: Arc<Cache>,
    _guard: DropGuard,
    _dir: TempDir,
}

impl Fixture {
    async fn new(pods: &[(&str, Value)]) -> Self {
        let dir = TempDir::new().unwrap();
        let storage = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
        for (key, pod) in pods {
            storage.create(&format!("/registry/pods/{key}"), pod.to_string().into(), None).await.unwrap();
        }
        let kinds = ["pods", "persistentvolumes", "volumeattachments", "resourceslices"];
        let config = |kind: &str| ResourceConfig {
            prefix: format!("/registry/{kind}/"),
            namespaced: kind == "pods",
            fields: FIELDS,
        };
        let cache = Cache::new(storage.clone(), CacheConfig::new(kinds.map(config).into()));
        let stop = CancellationToken::new();
        tokio::spawn(cache.clone().run(stop.clone()));
        cache.ready().await;
        let caches = NodeCaches::of(&cache).unwrap();
        let (references, secrets) = (References::new(), VolumeSecrets::new());
        tokio::spawn(references.clone().run(caches.pods.clone(), stop.clone()));
        tokio::spawn(secrets.clone().run(caches.volumes.clone().unwrap(), stop.clone()));
        references.ready().await;
        secrets.ready().await;
        let authorizer = NodeAuthorizer::new(node_rules(), caches, references, secrets);
        Self { authorizer, storage, cache, _guard: stop.drop_guard(), _dir: dir }
    }

    fn ask(&self, a: impl for<'a> FnOnce(&'a UserInfo) -> Attributes<'a>) -> Decision {
        self.authorizer.authorize(&a(&agent()))
    }

    fn secret(&self, name: &str) -> bool {
        let user = agent();
        let get = Attributes::resource(&user, "get", "", "v1", "secrets").in_namespace("a").named(name);
        self.authorizer.authorize(&get).is_allowed()
    }

    async fn secret_becomes(&self, name: &str, allowed: bool) {
        self.cache.read_consistent().await.unwrap();
        let wait = async {
            while self.secret(name) != allowed {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the references follow");
    }
}

fn agent() -> UserInfo {
    UserInfo::authenticated("system:node:n1", vec!["system:nodes".into()])
}

fn pod(node: &str, secret: &str) -> Value {
    json!({
        "metadata": {"uid": "u", "name": "p"},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "sa",
            "volumes": [
                {"name": "s", "secret": {"secretName": secret}},
                {"name": "c", "configMap": {"name": "conf"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            ],
            "resourceClaims": [{"name": "g", "resourceClaimName": "gpu"}],
        },
    })
}

/// Group, resource, subresource, verb, namespace, name: why not (`None`: allowed).
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

#[tokio::test]
async fn decisions() {
    let f = Fixture::new(&[
        ("a/mine", pod("n1", "s1")),
        ("a/other", pod("n2", "s2")),
        ("a/pending", pod("", "s3")),
    ])
    .await;
    let unrelated = "no relationship found between node 'n1' and this object";
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("", "secrets", "", "get", "a", "s1", None),
        ("", "secrets", "", "watch", "a", "s1", None),
        ("", "secrets", "", "get", "a", "s2", Some(unrelated)),
        ("", "secrets", "", "get", "a", "s3", Some(unrelated)),
        ("", "secrets", "", "get", "b", "s1", Some(unrelated)),
        ("", "secrets", "", "list", "a", "", Some("No Object name found")),
        ("", "secrets", "", "list", "", "", Some("can only read namespaced object of this type")),
        ("", "secrets", "", "create", "a", "s1", Some("can only read resources of this type")),
        ("", "configmaps", "", "get", "a", "conf", None),
        ("", "configmaps", "", "get", "a", "none", Some(unrelated)),
        ("", "persistentvolumeclaims", "", "get", "a", "data", None),
        ("", "persistentvolumeclaims", "", "list", "a", "data", Some("can only get individual resources of this type")),
        ("", "persistentvolumeclaims", "status", "patch", "a", "data", None),
        ("", "persistentvolumeclaims", "status", "patch", "a", "none", Some(unrelated)),
        ("", "persistentvolumes", "", "get", "", "pv", Some(unrelated)),
        ("", "serviceaccounts", "token", "create", "a", "sa", None),
        ("", "serviceaccounts", "token", "create", "a", "none", Some(unrelated)),
        ("", "serviceaccounts", "", "get", "a", "sa", None),
        ("", "serviceaccounts", "", "create", "a", "sa", Some("can only create token subresource of serviceaccount")),
        ("", "serviceaccounts", "", "list", "a", "", Some("can only create tokens for individual service accounts")),
        ("", "pods", "", "get", "a", "mine", None),
        ("", "pods", "", "get", "a", "other", Some(unrelated)),
        ("", "pods", "", "list", "", "", Some("can only list/watch pods with spec.nodeName field selector")),
        ("", "pods", "", "watch", "a", "mine", None),
        ("", "pods", "", "create", "a", "", None),
        ("", "pods", "", "delete", "a", "mine", None),
        ("", "pods", "", "patch", "a", "mine", Some("")),
        ("", "pods", "status", "patch", "a", "mine", None),
        ("", "pods", "eviction", "create", "a", "mine", None),
        ("", "pods", "exec", "create", "a", "mine", Some("")),
        ("", "nodes", "", "get", "", "n1", None),
        ("", "nodes", "", "get", "", "n2", Some("node 'n1' cannot read 'n2', only its own Node object")),
        ("", "nodes", "", "list", "", "", Some("node 'n1' cannot read all nodes, only its own Node object")),
        ("", "nodes", "status", "patch", "", "n1", None),
        ("", "nodes", "", "delete", "", "n1", Some("")),
        ("coordination.k8s.io", "leases", "", "update", "kube-node-lease", "n1", None),
        ("coordination.k8s.io", "leases", "", "create", "kube-node-lease", "", None),
        ("coordination.k8s.io", "leases", "", "update", "kube-node-lease", "n2",
            Some("can only access node lease with the same name as the requesting node")),
        ("coordination.k8s.io", "leases", "", "update", "default", "n1",
            Some("can only access leases in the \"kube-node-lease\" system namespace")),
        ("coordination.k8s.io", "leases", "", "list", "kube-node-lease", "",
            Some("can only get, create, update, patch, or delete a node lease")),
        ("storage.k8s.io", "csinodes", "", "get", "", "n1", None),
        ("storage.k8s.io", "csinodes", "", "get", "", "n2", Some("can only access CSINode with the same name as the requesting node")),
        ("resource.k8s.io", "resourceslices", "", "get", "", "s", Some("no relationship found between node 'n1' and this object")),
        ("resource.k8s.io", "resourceslices", "", "deletecollection", "", "",
            Some("can only list/watch/deletecollection resourceslices with nodeName field selector")),
        ("resource.k8s.io", "resourceslices", "", "create", "", "", None),
        ("resource.k8s.io", "resourceslices", "status", "get", "", "s", Some("cannot authorize ResourceSlice subresources")),
        ("resource.k8s.io", "resourceclaims", "", "get", "a", "gpu", None),
        ("resource.k8s.io", "resourceclaims", "", "get", "a", "none", Some(unrelated)),
        ("resource.k8s.io", "resourceclaims", "status", "get", "a", "gpu", Some("cannot get subresource")),
        ("storage.k8s.io", "volumeattachments", "", "list", "", "", Some("can only get individual resources of this type")),
        ("", "services", "", "list", "", "", None),
        ("", "services", "", "create", "a", "", Some("")),
        ("", "events", "", "create", "a", "", None),
        ("apps", "deployments", "", "list", "a", "", Some("")),
    ];
    for (group, resource, subresource, verb, namespace, name, why) in cases {
        let decision = f.ask(|user| {
            Attributes::resource(user, verb, group, "v1", resource)
                .with_subresource(subresource)
                .in_namespace(namespace)
                .named(name)
        });
        let expected = why.map_or(Decision::ALLOW, no);
        assert_eq!(decision, expected, "{verb} {group}/{resource}/{subresource} {namespace}/{name}");
    }
    let selected =
        f.ask(|u| Attributes::resource(u, "watch", "", "v1", "pods").selecting(&[("spec.nodeName", "n1")]));
    assert!(selected.is_allowed());
    let selected =
        f.ask(|u| Attributes::resource(u, "watch", "", "v1", "pods").selecting(&[("spec.nodeName", "n2")]));
    assert!(!selected.is_allowed());
}

#[tokio::test]
async fn slices_that_name_the_node() {
    let f = Fixture::new(&[]).await;
    for (selected, allowed) in [("n1", true), ("n2", false)] {
        for verb in ["list", "watch", "deletecollection"] {
            let (user, selectors) = (agent(), [("spec.nodeName", selected)]);
            let asked = Attributes::resource(&user, verb, "resource.k8s.io", "v1", "resourceslices");
            let decision = f.authorizer.authorize(&asked.selecting(&selectors));
            assert_eq!(decision.is_allowed(), allowed, "{verb} {selected}");
        }
    }
}

#[tokio::test]
async fn others_are_none_of_its_business() {
    let f = Fixture::new(&[]).await;
    let ask = |name: &str, groups: &[&str]| {
        let user = UserInfo::authenticated(name, groups.iter().map(|g| (*g).to_owned()).collect());
        f.authorizer.authorize(&Attributes::resource(&user, "list", "", "v1", "services"))
    };
    assert_eq!(ask("system:node:n1", &[]), no(""));
    assert_eq!(ask("jane", &["system:nodes"]), no(""));
    assert_eq!(ask("system:node:", &["system:nodes"]), no("unknown node for user \"system:node:\""));
}

#[tokio::test]
async fn references_come_and_go_with_pods() {
    let f = Fixture::new(&[("a/one", pod("n1", "s")), ("a/two", pod("", "s"))]).await;
    assert!(f.secret("s"));
    let get = async |key: &str| f.storage.get(key).await.unwrap().unwrap().revision;
    let (one, two) = ("/registry/pods/a/one", "/registry/pods/a/two");
    f.storage.delete(one, get(one).await).await.unwrap();
    f.secret_becomes("s", false).await;
    let bound = pod("n1", "s").to_string();
    f.storage.update(two, bound.into(), get(two).await, None).await.unwrap();
    f.secret_becomes("s", true).await;
    let mut debugged = pod("n1", "s");
    debugged["spec"]["ephemeralContainers"] = json!([{"envFrom": [{"secretRef": {"name": "debug"}}]}]);
    f.storage.update(two, debugged.to_string().into(), get(two).await, None).await.unwrap();
    f.secret_becomes("debug", true).await;
    assert!(f.secret("s"));
    f.storage.delete(two, get(two).await).await.unwrap();
    f.secret_becomes("debug", false).await;
    assert!(!f.secret("s"));
}

#[tokio::test]
async fn volumes_and_their_secrets_follow_the_claim() {
    let f = Fixture::new(&[("a/mine", pod("n1", "s1"))]).await;
    let volume = |claim: &str| {
        json!({"spec": {
            "claimRef": {"namespace": "a", "name": claim},
            "csi": {"nodeStageSecretRef": {"namespace": "a", "name": "stage"}},
        }})
    };
    let allowed = |group: &'static str, resource: &'static str, name: &'static str| {
        f.ask(|user| Attributes::resource(user, "get", group, "v1", resource).named(name)).is_allowed()
    };
    let create = async |key: &str, object: Value| {
        f.storage.create(&format!("/registry/{key}"), object.to_string().into(), None).await.unwrap()
    };
    create("persistentvolumes/v", volume("data")).await;
    create("persistentvolumes/other", volume("none")).await;
    create("volumeattachments/here", json!({"spec": {"nodeName": "n1"}})).await;
    create("volumeattachments/there", json!({"spec": {"nodeName": "n2"}})).await;
    create("resourceslices/here", json!({"spec": {"nodeName": "n1"}})).await;
    create("resourceslices/there", json!({"spec": {"nodeName": "n2"}})).await;
    f.secret_becomes("stage", true).await;
    for (group, resource, yes, no) in [
        ("", "persistentvolumes", "v", "other"),
        ("storage.k8s.io", "volumeattachments", "here", "there"),
        ("resource.k8s.io", "resourceslices", "here", "there"),
    ] {
        assert!(allowed(group, resource, yes), "{resource}");
        assert!(!allowed(group, resource, no), "{resource}");
    }
    let key = "/registry/persistentvolumes/v";
    let revision = f.storage.get(key).await.unwrap().unwrap().revision;
    f.storage.delete(key, revision).await.unwrap();
    f.secret_becomes("stage", false).await;
}
