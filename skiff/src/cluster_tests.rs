//! API server and controllers in one process, put together as `skiff server` does: what neither can be tried with
//! alone. Nothing sleeps: what comes later is watched for, with a deadline.

use std::fmt::Debug;
use std::time::Duration;

use apiserver::{Running, UserInfo};
use clap::Parser;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::assemble::{self, Components};
use crate::cli::{Cli, Command};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A control plane, until it is dropped.
struct Cluster {
    client: Client,
    stop: CancellationToken,
    _running: Running,
    _components: Components,
    _dir: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(further: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_str().unwrap();
        // Free a moment ago.
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let command = ["skiff", "server", "--data-dir", data, "--run-dir", data, "--port", &port];
        let address = ["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"];
        let arguments = command.into_iter().chain(address).chain(further.iter().copied());
        let cli = Cli::try_parse_from(arguments).unwrap();
        let Command::Server(args) = cli.command else { panic!("the command is `server`") };
        let stop = CancellationToken::new();
        let pki = assemble::prepare(&args, "n", "cluster.local").unwrap();
        let running = assemble::api_server(&args, &pki, &stop).await.unwrap();
        let mut components = Components::default();
        components.control_plane(&running.server, &args, &pki, &stop).unwrap();
        let client = running.server.client(UserInfo::authenticated("admin", vec!["system:masters".into()]));
        Self { client, stop, _running: running, _components: components, _dir: dir }
    }

    async fn create<K>(&self, api: &Api<K>, object: Value) -> K
    where
        K: Resource + Clone + Serialize + DeserializeOwned + Debug,
    {
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }
}

/// The object when it is as wanted.
async fn until<K>(api: &Api<K>, name: &str, wanted: impl Fn(&K) -> bool + Send + Sync) -> K
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let is = |object: Option<&K>| object.is_some_and(&wanted);
    match tokio::time::timeout(DEADLINE, await_condition(api.clone(), name, is)).await {
        Ok(found) => found.unwrap().unwrap(),
        Err(_) => panic!("{name} is not as wanted: {:?}", api.get_opt(name).await),
    }
}

async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let is = |object: Option<&K>| object.is_none();
    if tokio::time::timeout(DEADLINE, await_condition(api.clone(), name, is)).await.is_err() {
        panic!("{name} is still there: {:?}", api.get_opt(name).await);
    }
}

fn token_secret(name: &str, account: &str) -> Value {
    json!({"metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
        "type": "kubernetes.io/service-account-token"})
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_hold_the_token_of_their_account() {
    let cluster = Cluster::start().await;
    let client = &cluster.client;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let robot = cluster.create(&accounts, json!({"metadata": {"name": "robot"}})).await;
    cluster.create(&secrets, token_secret("one", "robot")).await;
    let filled =
        until(&secrets, "one", |secret| secret.data.as_ref().is_some_and(|d| d.contains_key("token"))).await;
    let data = filled.data.unwrap();
    assert_eq!(data["namespace"].0, b"default");
    assert!(data["ca.crt"].0.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let annotations = filled.metadata.annotations.unwrap();
    assert_eq!(annotations.get("kubernetes.io/service-account.uid"), robot.metadata.uid.as_ref());
    // The API server accepts it, and writes down that it was used.
    let token = String::from_utf8(data["token"].0.clone()).unwrap();
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let review = cluster.create(&reviews, json!({"metadata": {}, "spec": {"token": token}})).await;
    let status = review.status.unwrap();
    assert_eq!(status.error, None);
    assert_eq!(status.user.unwrap().username.as_deref(), Some("system:serviceaccount:default:robot"));
    let last_used = "kubernetes.io/legacy-token-last-used";
    until(&secrets, "one", |secret| {
        secret.metadata.labels.as_ref().is_some_and(|l| l.contains_key(last_used))
    })
    .await;
    // A secret that goes is forgotten by its account.
    let listed = json!({"secrets": [{"name": "one"}, {"name": "other"}]});
    accounts.patch("robot", &PatchParams::default(), &Patch::Merge(listed)).await.unwrap();
    secrets.delete("one", &DeleteParams::default()).await.unwrap();
    until(&accounts, "robot", |account| {
        let names: Vec<_> = account.secrets.iter().flatten().map(|secret| secret.name.as_deref()).collect();
        names == [Some("other")]
    })
    .await;
    // An account takes its tokens with it, and one that never was has none.
    cluster.create(&secrets, token_secret("two", "robot")).await;
    until(&secrets, "two", |secret| secret.data.is_some()).await;
    accounts.delete("robot", &DeleteParams::default()).await.unwrap();
    until_gone(&secrets, "two").await;
    cluster.create(&secrets, token_secret("three", "nobody")).await;
    until_gone(&secrets, "three").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_nobody_uses_are_cleaned_up() {
    let cluster = Cluster::start_with(&["--legacy-service-account-token-clean-up-period", "1ms"]).await;
    let client = &cluster.client;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    // As in a cluster that has written down the use of tokens for long.
    let tracking = "kube-apiserver-legacy-service-account-token-tracking";
    until(&maps, tracking, |_| true).await;
    let long_ago = Patch::Merge(json!({"data": {"since": "2026-01-01"}}));
    maps.patch(tracking, &PatchParams::default(), &long_ago).await.unwrap();
    let account = json!({"metadata": {"name": "old"}, "secrets": [{"name": "given"}]});
    cluster.create(&accounts, account).await;
    for name in ["given", "by-hand"] {
        cluster.create(&secrets, token_secret(name, "old")).await;
    }
    let invalid_since = "kubernetes.io/legacy-token-invalid-since";
    let is_marked = |secret: &Secret| {
        secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(invalid_since))
    };
    let given = until(&secrets, "given", |secret| is_marked(secret) && secret.data.is_some()).await;
    let token = String::from_utf8(given.data.unwrap()["token"].0.clone()).unwrap();
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let review = cluster.create(&reviews, json!({"metadata": {}, "spec": {"token": token}})).await;
    let error = review.status.unwrap().error.unwrap();
    assert!(error.contains("has been marked invalid"), "{error}");
    // The attempt is a use of today: whoever it was has the time to object. It and the mark are of long ago now; it is
    // written down behind the answer, and must not come after this.
    let last_used = "kubernetes.io/legacy-token-last-used";
    let is_used = |secret: &Secret| {
        secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(last_used))
    };
    until(&secrets, "given", is_used).await;
    let labels = json!({invalid_since: "2026-01-02", last_used: "2026-01-02"});
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    secrets.patch("given", &PatchParams::default(), &patch).await.unwrap();
    until_gone(&secrets, "given").await;
    until(&accounts, "old", |account| account.secrets.iter().flatten().next().is_none()).await;
    assert!(!is_marked(&secrets.get("by-hand").await.unwrap()));
}

fn verbs(role: &ClusterRole) -> Vec<&str> {
    role.rules.iter().flatten().flat_map(|rule| &rule.verbs).map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_roles_are_put_together() {
    let cluster = Cluster::start().await;
    let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    let part = |name: &str, label: &str, verb: &str| {
        json!({"metadata": {"name": name, "labels": {label: "true"}},
            "rules": [{"verbs": [verb], "apiGroups": ["example.com"], "resources": ["things"]}]})
    };
    let whole = |name: &str, labels: Value, label: &str| {
        json!({"metadata": {"name": name, "labels": labels},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}})
    };
    cluster.create(&roles, part("b-part", "to-inner", "list")).await;
    cluster.create(&roles, whole("outer", json!({}), "to-outer")).await;
    cluster.create(&roles, whole("inner", json!({"to-outer": "true"}), "to-inner")).await;
    until(&roles, "outer", |role| verbs(role) == ["list"]).await;
    cluster.create(&roles, part("a-part", "to-inner", "get")).await;
    let inner = until(&roles, "inner", |role| verbs(role) == ["get", "list"]).await;
    let owners = inner.metadata.managed_fields.unwrap();
    let is_ours = |name: &str, operation: &str| {
        owners.iter().any(|o| o.manager.as_deref() == Some(name) && o.operation.as_deref() == Some(operation))
    };
    assert!(is_ours("clusterrole-aggregation-controller", "Apply"), "{owners:?}");
    until(&roles, "outer", |role| verbs(role) == ["get", "list"]).await;
    // A part that is no part any more, and one that goes.
    let unlabel = json!({"metadata": {"labels": {"to-inner": null}}});
    roles.patch("a-part", &PatchParams::default(), &Patch::Merge(unlabel)).await.unwrap();
    until(&roles, "outer", |role| verbs(role) == ["list"]).await;
    roles.delete("b-part", &DeleteParams::default()).await.unwrap();
    until(&roles, "outer", |role| verbs(role).is_empty()).await;
    // The default roles are put together in the same way, one from the other.
    let label = "rbac.authorization.k8s.io/aggregate-to-view";
    cluster.create(&roles, part("things", label, "frobnicate")).await;
    until(&roles, "admin", |role| verbs(role).contains(&"frobnicate")).await;
}

fn ready(cidr: &ServiceCIDR) -> Option<(&str, &str, &str)> {
    let conditions = cidr.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((&ready.status, &ready.reason, &ready.message))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_in_use_stays() {
    let cluster = Cluster::start().await;
    let cidrs: Api<ServiceCIDR> = Api::all(cluster.client.clone());
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    let finalizer = "networking.k8s.io/service-cidr-finalizer".to_owned();
    let is_ready = Some(("True", "", "Kubernetes Service CIDR is ready"));
    let is_held = |cidr: &ServiceCIDR| cidr.metadata.finalizers.as_ref() == Some(&vec![finalizer.clone()]);
    until(&cidrs, "kubernetes", |cidr| is_held(cidr) && ready(cidr) == is_ready).await;
    cluster.create(&cidrs, json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}})).await;
    until(&cidrs, "more", |cidr| is_held(cidr) && ready(cidr) == is_ready).await;
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.97.0.5", "ports": [{"port": 80}]}});
    cluster.create(&services, service).await;
    cidrs.delete("more", &DeleteParams::default()).await.unwrap();
    let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
    until(&cidrs, "more", |cidr| ready(cidr) == Some(("False", "Terminating", why))).await;
    // Not before everybody can know, which takes ten seconds from its deletion.
    services.delete("s", &DeleteParams::default()).await.unwrap();
    until_gone(&cidrs, "more").await;
}
