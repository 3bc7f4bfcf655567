//! Tokens that are kept in secrets: judged by the secret and the account as they are, their use written down.

use apiserver::{Signer, legacy};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use crate::common::certificates::{ISSUER, signer};
use crate::common::objects::named;
use crate::common::{Api, MERGE, version};

const SECRETS: &str = "/api/v1/namespaces/a/secrets";
const ACCOUNT: &str = "/api/v1/namespaces/a/serviceaccounts/default";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const TRACKING: &str =
    "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// A server with a namespace `a`, and what signs as it does.
async fn start() -> (Api, Signer) {
    let api = Api::start().await;
    api.namespace("a").await;
    let dir = tempfile::tempdir().unwrap();
    (api, signer(dir.path()))
}

/// A secret with the token of the account, as the controller fills it.
async fn filled(api: &Api, signer: &Signer, name: &str) -> String {
    let account = api.get(ACCOUNT).await.ok();
    let uid = account["metadata"]["uid"].as_str().unwrap();
    let token = legacy::sign(signer, "a", "default", uid, name).unwrap();
    let secret = json!({"metadata": {"name": name, "annotations": {
            "kubernetes.io/service-account.name": "default", "kubernetes.io/service-account.uid": uid}},
        "type": "kubernetes.io/service-account-token", "data": {"token": STANDARD.encode(&token)}});
    api.post(SECRETS, &secret).await.created();
    token
}

async fn bear(api: &Api, token: &str) -> Response<Body> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(SELF)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
    api.server.handle(request).await
}

async fn review(api: &Api, token: &str, audiences: &[&str]) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences}});
    api.post(REVIEWS, &body).await.created()["status"].clone()
}

fn today() -> String {
    api_types::meta::now()[..10].to_owned()
}

async fn label(api: &Api, name: &str, label: &str) -> Value {
    api.get(&format!("{SECRETS}/{name}")).await.ok()["metadata"]["labels"][label].clone()
}

#[tokio::test]
async fn an_account_is_known_by_the_token_of_a_secret() {
    let (api, signer) = start().await;
    let token = filled(&api, &signer, "t").await;
    assert_eq!(label(&api, "t", LAST_USED).await, Value::Null);
    let response = bear(&api, &token).await;
    assert_eq!(response.status(), 201);
    assert!(response.headers().get("warning").is_none());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let who: Value = serde_json::from_slice(&bytes).unwrap();
    let user = &who["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:a:default");
    assert_eq!(user["uid"], api.get(ACCOUNT).await.ok()["metadata"]["uid"]);
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"])
    );
    assert_eq!(user.get("extra"), None);
    assert_eq!(label(&api, "t", LAST_USED).await, today());
    // Once a day is enough.
    let before = api.get(&format!("{SECRETS}/t")).await.ok();
    let status = review(&api, &token, &[]).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!([ISSUER])));
    assert_eq!(version(&api.get(&format!("{SECRETS}/t")).await.ok()), version(&before));
    let status = review(&api, &token, &["other"]).await;
    assert_eq!(
        status["error"],
        format!("token audiences [\"{ISSUER}\"] is invalid for the target audiences [\"other\"]")
    );
    // One that its account lists was made by itself, in older versions.
    api.patch(ACCOUNT, MERGE, &json!({"secrets": [{"name": "t"}]})).await.ok();
    api.get(ACCOUNT).await.ok();
    let response = bear(&api, &token).await;
    assert_eq!(response.status(), 201);
    assert_eq!(
        response.headers()["warning"],
        "299 - \"Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.\""
    );
    let metrics = api.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.raw);
    for line in [
        "serviceaccount_legacy_tokens_total 4",
        "serviceaccount_legacy_manual_token_uses_total 2",
        "serviceaccount_legacy_auto_token_uses_total 1",
        "serviceaccount_invalid_legacy_auto_token_uses_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_token_is_as_good_as_its_secret() {
    let (api, signer) = start().await;
    let uid = api.get(ACCOUNT).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned();
    let sign =
        |account: &str, uid: &str, secret: &str| legacy::sign(&signer, "a", account, uid, secret).unwrap();
    // Signed, but in no secret.
    assert_eq!(
        review(&api, &sign("default", &uid, "none"), &[]).await["error"],
        "Token has been invalidated"
    );
    for (token, why) in [
        (sign("", &uid, "t"), "serviceAccountName claim is missing"),
        (sign("default", "", "t"), "serviceAccountUID claim is missing"),
        (sign("default", &uid, ""), "secretName claim is missing"),
        (sign("a:b", &uid, "t"), "sub claim is invalid"),
    ] {
        assert_eq!(review(&api, &token, &[]).await["error"], why);
    }
    let token = filled(&api, &signer, "t").await;
    assert_eq!(review(&api, &token, &[]).await["authenticated"], true);
    // Marked as invalid by the cleaner; the attempt is written down.
    let invalid = json!({"metadata": {"labels": {INVALID_SINCE: "2026-01-01", LAST_USED: null}}});
    api.patch(&format!("{SECRETS}/t"), MERGE, &invalid).await.ok();
    api.get(&format!("{SECRETS}/t")).await.ok();
    assert_eq!(
        review(&api, &token, &[]).await["error"],
        "the token in secret a/t for service account a/default has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token"
    );
    assert_eq!(bear(&api, &token).await.status(), 401);
    assert_eq!(label(&api, "t", LAST_USED).await, today());
    api.patch(&format!("{SECRETS}/t"), MERGE, &json!({"metadata": {"labels": {INVALID_SINCE: null}}}))
        .await
        .ok();
    api.get(&format!("{SECRETS}/t")).await.ok();
    assert_eq!(review(&api, &token, &[]).await["authenticated"], true);
    // Another token in its place.
    let other = json!({"data": {"token": STANDARD.encode("other")}});
    api.patch(&format!("{SECRETS}/t"), MERGE, &other).await.ok();
    api.get(&format!("{SECRETS}/t")).await.ok();
    assert_eq!(review(&api, &token, &[]).await["error"], "Token does not match server's copy");
    api.delete(&format!("{SECRETS}/t")).await.ok();
    api.get(SECRETS).await.ok();
    assert_eq!(review(&api, &token, &[]).await["error"], "Token has been invalidated");
    // Another account of that name.
    let token = filled(&api, &signer, "u").await;
    api.delete(ACCOUNT).await.ok();
    api.get("/api/v1/serviceaccounts").await.ok();
    assert_eq!(review(&api, &token, &[]).await["error"], "serviceaccount \"default\" not found");
    let again = named("v1", "ServiceAccount", "default");
    let again = api.post("/api/v1/namespaces/a/serviceaccounts", &again).await.created();
    let there = again["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        review(&api, &token, &[]).await["error"],
        format!("ServiceAccount UID ({there}) does not match claim ({uid})")
    );
    // Somebody else's signature.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.key");
    std::fs::write(&path, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let forged = legacy::sign(&Signer::read(&path).unwrap(), "a", "default", there, "u").unwrap();
    assert_eq!(review(&api, &forged, &[]).await["error"], "no key is known that the token is signed with");
}

#[tokio::test]
async fn it_is_known_since_when_use_is_written_down() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps?watch=1&fieldSelector=metadata.name=kube-apiserver-legacy-service-account-token-tracking";
    let mut watch = api.watch(path).await;
    let (_, made) = watch.event().await;
    assert_eq!(made["data"], json!({"since": today()}));
    api.patch(TRACKING, MERGE, &json!({"data": {"since": "yesterday", "x": "y"}})).await.ok();
    watch.event().await;
    let (_, corrected) = watch.event().await;
    assert_eq!(corrected["data"], json!({"since": today(), "x": "y"}));
    api.patch(TRACKING, MERGE, &json!({"data": {"since": "2026-01-01"}})).await.ok();
    let (_, kept) = watch.event().await;
    assert_eq!(kept["data"]["since"], "2026-01-01");
    api.delete(TRACKING).await.ok();
    let gone = "kube-apiserver-legacy-service-account-token-tracking";
    assert_eq!(watch.shorts(2).await, [format!("DELETED {gone}"), format!("ADDED {gone}")]);
}
