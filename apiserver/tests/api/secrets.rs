//! Secrets: text becomes data, types bring rules.

use serde_json::json;

use crate::common::objects::named;
use crate::common::{Api, MERGE};

const ALL: &str = "/api/v1/namespaces/default/secrets";

#[tokio::test]
async fn text_becomes_data() {
    let api = Api::start().await;
    let mut s = named("v1", "Secret", "s");
    s["stringData"] = json!({"a": "text", "b": "ü"});
    s["data"] = json!({"a": "b2xk", "c": "Yw=="});
    let made = api.post(ALL, &s).await.created();
    assert_eq!(made["type"], "Opaque");
    assert_eq!(made["data"], json!({"a": "dGV4dA==", "b": "w7w=", "c": "Yw=="}));
    assert!(made.get("stringData").is_none());
    let patched = api.patch(&format!("{ALL}/s"), MERGE, &json!({"stringData": {"c": "new"}})).await.ok();
    assert_eq!(patched["data"]["c"], "bmV3");
    api.patch(&format!("{ALL}/s"), MERGE, &json!({"type": "other"})).await.refused(422, "Invalid");
}

#[tokio::test]
async fn types_bring_rules() {
    let api = Api::start().await;
    for (kind, data, ok) in [
        ("kubernetes.io/tls", json!({}), false),
        ("kubernetes.io/tls", json!({"tls.crt": "", "tls.key": ""}), true),
        ("kubernetes.io/basic-auth", json!({}), false),
        ("kubernetes.io/basic-auth", json!({"username": "YQ=="}), true),
        ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eA=="}), false),
        ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="}), true),
        ("kubernetes.io/service-account-token", json!({}), false),
        ("anything/else", json!({}), true),
    ] {
        let mut s = named("v1", "Secret", "s");
        s["type"] = kind.into();
        s["data"] = data;
        let reply = api.post(&format!("{ALL}?dryRun=All"), &s).await;
        assert_eq!(reply.code, if ok { 201 } else { 422 }, "{kind}: {reply:?}");
    }
    let mut broken = named("v1", "Secret", "s");
    broken["data"] = json!({"a": "%%%"});
    let message = api.post(ALL, &broken).await.refused(400, "BadRequest");
    assert!(message.ends_with("illegal base64 data at input byte 0"), "{message}");
}
