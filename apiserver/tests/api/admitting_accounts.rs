//! Service accounts that insist on the secrets they list, and pods that mirror a file.

use serde_json::{Value, json};

use crate::common::objects::pod;
use crate::common::{Api, STRATEGIC};

const PODS: &str = "/api/v1/namespaces/a/pods";
const ACCOUNTS: &str = "/api/v1/namespaces/a/serviceaccounts";

fn with(name: &str, spec: &Value) -> Value {
    let mut p = pod(name);
    p["spec"]["serviceAccountName"] = "strict".into();
    for (field, value) in spec.as_object().unwrap() {
        p["spec"][field] = value.clone();
    }
    p
}

#[tokio::test]
async fn pods_use_the_secrets_that_their_account_lists() {
    let api = Api::start().await;
    api.namespace("a").await;
    let strict = json!({"metadata": {"name": "strict",
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "mine", "kind": "Secret"}], "imagePullSecrets": [{"name": "pull"}]});
    let reply = api.post(ACCOUNTS, &strict).await;
    assert_eq!(
        reply.warnings(),
        [
            "299 - \"metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets\""
        ]
    );
    assert_eq!(reply.created()["secrets"], json!([{"name": "mine"}]));
    let volume = |name: &str| json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]});
    let made = api.post(PODS, &with("p", &volume("mine"))).await.created();
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(
        api.post(PODS, &with("q", &volume("other"))).await.refused(403, "Forbidden"),
        "pods \"q\" is forbidden: volume with secret.secretName=\"other\" is not allowed because service account strict does not reference that secret"
    );
    assert_eq!(
        api.post(PODS, &with("q", &json!({"imagePullSecrets": [{"name": "other"}]})))
            .await
            .refused(403, "Forbidden"),
        "pods \"q\" is forbidden: imagePullSecrets[0].name=\"other\" is not allowed because service account strict does not reference that imagePullSecret"
    );
    // Others are free, and so is the same account without the annotation.
    let mut free = with("free", &volume("other"));
    free["spec"]["serviceAccountName"] = "default".into();
    api.post(PODS, &free).await.created();
    let debug = |secret: &str| {
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "i",
            "envFrom": [{"secretRef": {"name": secret}}]}]}})
    };
    let ephemeral = format!("{PODS}/p/ephemeralcontainers");
    assert_eq!(
        api.patch(&ephemeral, STRATEGIC, &debug("other")).await.refused(403, "Forbidden"),
        "pods \"p\" is forbidden: ephemeral container debug with envFrom referencing secret.secretName=\"other\" is not allowed because service account strict does not reference that secret"
    );
    api.patch(&ephemeral, STRATEGIC, &debug("mine")).await.ok();
}

#[tokio::test]
async fn a_mirror_has_no_account() {
    let api = Api::start().await;
    api.namespace("a").await;
    let mirror = |spec: Value| {
        let mut p = pod("m");
        p["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into();
        for (field, value) in spec.as_object().unwrap() {
            p["spec"][field] = value.clone();
        }
        p
    };
    let projected = json!({"volumes": [{"name": "v", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}}]}}]});
    for (spec, why) in [
        (json!({"serviceAccountName": "default"}), "a mirror pod may not reference service accounts"),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "a mirror pod may not reference secrets"),
        (projected, "a mirror pod may not use ServiceAccountToken volume projections"),
    ] {
        let message = api.post(PODS, &mirror(spec)).await.refused(403, "Forbidden");
        assert_eq!(message, format!("pods \"m\" is forbidden: {why}"));
    }
    let made = api.post(PODS, &mirror(json!({}))).await.created();
    assert_eq!(made["spec"].get("serviceAccountName"), None);
}
