//! What the command line of an API server switches: admission plugins, bounds, anonymous requests.

use std::time::Duration;

use apiserver::{AdmissionSwitches, Config};
use http::Method;
use serde_json::json;

use crate::common::{Api, MERGE, objects};

fn without(names: &[&str]) -> impl FnOnce(&mut Config) {
    let disable = names.iter().map(|name| (*name).to_owned()).collect();
    move |config| config.admission = AdmissionSwitches { enable: Vec::new(), disable }
}

#[tokio::test]
async fn plugins_are_switched_off() {
    let api = Api::start_with(without(&["DenyServiceExternalIPs", "ServiceAccount", "ResourceQuota"])).await;
    let names = api.server.registry().admission().names();
    assert!(!names.contains(&"ResourceQuota") && names.contains(&"LimitRanger"), "{names:?}");
    let mut service = objects::service("s");
    service["spec"]["externalIPs"] = json!(["203.0.113.1"]);
    api.post("/api/v1/namespaces/default/services", &service).await.created();
    // Nobody has made the account, and nobody asks for it.
    let made = api.post("/api/v1/namespaces/default/pods", &objects::pod("p")).await.created();
    assert_eq!(made["spec"].get("serviceAccountName"), None);
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "0"}}});
    api.post("/api/v1/namespaces/default/resourcequotas", &quota).await.created();
    api.post("/api/v1/namespaces/default/configmaps", &objects::configmap("c")).await.created();
    // Granting rights that one does not have is not a matter of plugins.
    let mut role = json!({"metadata": {"name": "r"}});
    role["rules"] = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let jane = api.acting(apiserver::UserInfo::authenticated("jane", Vec::new()));
    jane.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn unknown_plugins_are_refused_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, cert, key) = crate::common::certificates::write(dir.path());
    let mut config = Api::config(dir.path(), (ca, cert, key));
    config.admission.enable = vec!["Nonsense".into()];
    let refused = apiserver::build(config, Default::default()).await.err().unwrap();
    assert_eq!(refused.to_string(), "enable-admission-plugins plugin \"Nonsense\" is unknown");
    assert!(!dir.path().join("store").exists());
}

#[tokio::test]
async fn claims_grow_in_classes_that_let_them() {
    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
    let api = Api::start().await;
    for (name, grows) in [("grows", true), ("fixed", false)] {
        let class = json!({"metadata": {"name": name}, "provisioner": "a.example.com", "allowVolumeExpansion": grows});
        api.post("/apis/storage.k8s.io/v1/storageclasses", &class).await.created();
        let claim = json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": name, "volumeName": "v", "resources": {"requests": {"storage": "1Gi"}}}});
        api.post(CLAIMS, &claim).await.created();
    }
    let grow = async |name: &str, to: &str| {
        let larger = json!({"spec": {"resources": {"requests": {"storage": to}}}});
        api.patch(&format!("{CLAIMS}/{name}"), MERGE, &larger).await
    };
    // Validation is faster with a claim that is not bound.
    grow("grows", "2Gi").await.refused(422, "Invalid");
    for name in ["grows", "fixed"] {
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        api.patch(&format!("{CLAIMS}/{name}/status"), MERGE, &bound).await.ok();
    }
    grow("grows", "2Gi").await.ok();
    assert_eq!(
        grow("fixed", "2Gi").await.refused(403, "Forbidden"),
        "persistentvolumeclaims \"fixed\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    );
    grow("fixed", "1024Mi").await.ok();
}

#[tokio::test]
async fn anonymous_requests_are_switched_off() {
    let api = Api::start_with(|config| config.anonymous_auth = false).await;
    let request = http::Request::get("/version").body(axum::body::Body::empty()).unwrap();
    assert_eq!(api.server.handle(request).await.status(), 401);
    let open = Api::start().await;
    let request = http::Request::get("/version").body(axum::body::Body::empty()).unwrap();
    assert_eq!(open.server.handle(request).await.status(), 200);
}

#[tokio::test]
async fn requests_may_take_as_long_as_it_says() {
    let api = Api::start_with(|config| config.request_timeout = Duration::from_millis(100)).await;
    // A body that never comes.
    let body =
        axum::body::Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let request = http::Request::builder().method(Method::POST).uri("/api/v1/namespaces");
    let request = request.extension(std::sync::Arc::new(crate::common::admin())).body(body).unwrap();
    assert_eq!(api.server.handle(request).await.status(), 504);
}
