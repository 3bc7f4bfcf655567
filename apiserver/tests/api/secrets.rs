//! Secrets: text becomes data, types bring rules.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
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

/// A certificate and its key, in PEM.
fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(["example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Keys that do not fit are told about, not refused.
#[tokio::test]
async fn keys_should_belong_to_their_certificates() {
    let api = Api::start().await;
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (other_certificate, other) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (ed_certificate, ed_key) = pair(&rcgen::PKCS_ED25519);
    let (rsa_certificate, rsa_key) = pair(&rcgen::PKCS_RSA_SHA256);
    let (large_certificate, large_key) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
    let none = String::new();
    let chain = format!("text before\n{certificate}{other_certificate}");
    let public = certificate.replace("CERTIFICATE", "PUBLIC KEY");
    for (certificate, key, warning) in [
        (&certificate, &key, None),
        (&chain, &key, None),
        (&ed_certificate, &ed_key, None),
        (&rsa_certificate, &rsa_key, None),
        (&large_certificate, &large_key, None),
        (&certificate, &other, Some("tls: private key does not match public key")),
        (&certificate, &large_key, Some("tls: private key does not match public key")),
        (&certificate, &rsa_key, Some("tls: private key type does not match public key type")),
        (&none, &key, Some("tls: failed to find any PEM data in certificate input")),
        (&certificate, &none, Some("tls: failed to find any PEM data in key input")),
        (
            &key,
            &key,
            Some(
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
        ),
        (
            &certificate,
            &certificate,
            Some("tls: found a certificate rather than a key in the PEM for the private key"),
        ),
        (
            &public,
            &key,
            Some(
                "tls: failed to find \\\"CERTIFICATE\\\" PEM block in certificate input after skipping PEM blocks of the following types: [PUBLIC KEY]",
            ),
        ),
        (&broken, &key, Some("x509: malformed certificate")),
        (&certificate, &no_key, Some("tls: failed to parse private key")),
    ] {
        let mut s = named("v1", "Secret", "s");
        s["type"] = "kubernetes.io/tls".into();
        s["data"] = json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)});
        let reply = api.post(&format!("{ALL}?dryRun=All"), &s).await;
        let want: Vec<String> = warning.map(|w| format!("299 - \"{w}\"")).into_iter().collect();
        assert_eq!(reply.warnings(), want, "{certificate} {key}");
        reply.created();
    }
}
