//! Certificate signing requests, their approval and their status; runtime classes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE};
use apiserver::UserInfo;

const ALL: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// The base64 of the PEM of a request.
fn request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    STANDARD.encode(params.serialize_request(&key).unwrap().pem().unwrap())
}

/// The base64 of the PEM of a certificate.
fn certificate() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    STANDARD.encode(params.self_signed(&key).unwrap().pem())
}

fn object(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"request": request(), "signerName": "example.com/signer",
        "usages": ["client auth"], "expirationSeconds": 3600, "username": "mallory"}})
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "Tried", "message": "m"})
}

#[tokio::test]
async fn requests() {
    let api = Api::start().await;
    let object = object("csr");
    let text = object["spec"]["request"].as_str().unwrap().to_owned();
    let mut der = STANDARD.decode(&text).unwrap();
    let middle = der.len() / 2;
    der[middle] = if der[middle] == b'A' { b'B' } else { b'A' };
    let kind = Kind {
        path: ALL,
        object: object.clone(),
        becomes: json!({"spec": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
            "status": {}}),
        row: json!(["csr", "example.com/signer", "admin", "60m", "Pending"]),
        refused: vec![
            (
                json!({"spec": {"request": STANDARD.encode("x")}}),
                "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
            ),
            (
                json!({"spec": {"usages": null}}),
                "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: spec.usages: Required value",
            ),
            (
                json!({"spec": {"usages": ["client auth", "client auth"]}}),
                "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: spec.usages[1]: Duplicate value: \"client auth\"",
            ),
            (
                json!({"spec": {"signerName": "signer"}}),
                "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: spec.signerName: Invalid value: \"signer\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
            (
                json!({"spec": {"signerName": "kubernetes.io/legacy-unknown"}}),
                "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
            ),
            (
                json!({"spec": {"expirationSeconds": 60}}),
                "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    let made = kind.check(&api).await;
    // A signature that does not fit its content.
    let mut forged = object;
    forged["spec"]["request"] = STANDARD.encode(&der).into();
    api.post(ALL, &forged).await.refused(422, "Invalid");
    // What was asked is never changed.
    let same = api.patch(&format!("{ALL}/csr"), MERGE, &json!({"spec": {"username": "eve"}})).await.ok();
    assert_eq!(same["spec"], made["spec"]);
}

#[tokio::test]
async fn the_requester_is_recorded() {
    let api = Api::start().await;
    let mut user = UserInfo::authenticated("jane", vec!["system:masters".into()]);
    user.uid = "u-1".into();
    user.extra.insert("example.com/team".into(), vec!["a".into()]);
    let made = api.acting(user).post(ALL, &object("jane")).await.created();
    assert_eq!(made["spec"]["username"], "jane");
    assert_eq!(made["spec"]["uid"], "u-1");
    assert_eq!(made["spec"]["extra"], json!({"example.com/team": ["a"]}));
    let listed = api.get(&format!("{ALL}?fieldSelector=spec.signerName%3Dexample.com/signer")).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn approval_and_status() {
    let api = Api::start().await;
    let made = api.post(ALL, &object("csr")).await.created();
    let one = format!("{ALL}/csr");
    let (approval, status) = (format!("{one}/approval"), format!("{one}/status"));
    // The status may not approve, and the approval may not issue.
    let approved = json!({"status": {"conditions": [condition("Approved")]}});
    assert_eq!(
        api.patch(&status, MERGE, &approved).await.refused(422, "Invalid"),
        "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: status.conditions: Forbidden: updates may not add a condition of type \"Approved\""
    );
    let mut both = made.clone();
    both["status"] = json!({"conditions": [condition("Approved"), condition("Denied")]});
    assert_eq!(
        api.put(&approval, &both).await.refused(422, "Invalid"),
        "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
    );
    let mut grant = made.clone();
    grant["status"] = json!({"conditions": [condition("Approved")], "certificate": certificate()});
    grant["spec"]["username"] = "eve".into();
    let granted = api.put(&approval, &grant).await.ok();
    assert_eq!(granted["spec"], made["spec"]);
    assert!(granted["status"].get("certificate").is_none(), "{granted}");
    assert!(granted["status"]["conditions"][0]["lastTransitionTime"].is_string(), "{granted}");
    assert_eq!(api.get(&approval).await.ok(), granted);
    // It cannot be taken back.
    assert_eq!(
        api.patch(&approval, MERGE, &json!({"status": {"conditions": null}})).await.refused(422, "Invalid"),
        "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""
    );
    let issue = |c: String| json!({"status": {"certificate": c}});
    assert_eq!(
        api.patch(&status, MERGE, &issue(request())).await.refused(422, "Invalid"),
        "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\""
    );
    let plain = String::from_utf8(STANDARD.decode(certificate()).unwrap()).unwrap();
    let headed = plain.replacen("-----\n", "-----\nProc-Type: 4\n\n", 1);
    assert_eq!(
        api.patch(&status, MERGE, &issue(STANDARD.encode(headed))).await.refused(422, "Invalid"),
        "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: status.certificate: Invalid value: \"<certificate data>\": no PEM block headers are permitted"
    );
    // Labels come along, through both.
    for path in [&approval, &status] {
        let by = path.rsplit('/').next();
        let labelled = json!({"metadata": {"labels": {"by": by}}, "spec": {"username": "eve"}});
        let changed = api.patch(path, MERGE, &labelled).await.ok();
        assert_eq!(changed["metadata"]["labels"], labelled["metadata"]["labels"]);
        assert_eq!(changed["spec"], made["spec"]);
    }
    let issued = api.patch(&status, MERGE, &issue(certificate())).await.ok();
    assert_eq!(issued["status"]["conditions"], granted["status"]["conditions"]);
    assert_eq!(
        api.patch(&status, MERGE, &issue(certificate())).await.refused(422, "Invalid"),
        "CertificateSigningRequest.certificates.k8s.io \"csr\" is invalid: status.certificate: Forbidden: updates may not modify existing certificate content"
    );
    let group = api.get("/apis/certificates.k8s.io/v1").await.ok();
    let names: Vec<&str> =
        group["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"certificatesigningrequests/approval"), "{names:?}");
}

#[tokio::test]
async fn runtime_classes() {
    let api = Api::start().await;
    let kind = Kind {
        path: "/apis/node.k8s.io/v1/runtimeclasses",
        object: json!({"metadata": {"name": "gvisor"}, "handler": "runsc", "overhead": {"podFixed": {"cpu": "1"}}}),
        becomes: json!({"handler": "runsc"}),
        row: json!(["gvisor", "runsc"]),
        refused: vec![
            (
                json!({"handler": "a.b"}),
                "RuntimeClass.node.k8s.io \"gvisor\" is invalid: handler: Invalid value: \"a.b\": must not contain dots",
            ),
            (
                json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
                "RuntimeClass.node.k8s.io \"gvisor\" is invalid: overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"scheduling": {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]}}),
                "RuntimeClass.node.k8s.io \"gvisor\" is invalid: scheduling.tolerations[1]: Duplicate value: {\"key\":\"a\",\"operator\":\"Exists\"}",
            ),
        ],
        sealed: vec![(
            json!({"handler": "kata"}),
            "RuntimeClass.node.k8s.io \"gvisor\" is invalid: handler: Invalid value: \"kata\": field is immutable",
        )],
        status: None,
    };
    kind.check(&api).await;
}

#[tokio::test]
async fn requests_with_every_kind_of_key() {
    let api = Api::start().await;
    let algorithms = [
        ("p256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("p521", &rcgen::PKCS_ECDSA_P521_SHA512),
        ("p521-256", &rcgen::PKCS_ECDSA_P521_SHA256),
        ("ed25519", &rcgen::PKCS_ED25519),
    ];
    for (name, algorithm) in algorithms {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let request = params.serialize_request(&key).unwrap();
        let mut sent = object(name);
        sent["spec"]["request"] = STANDARD.encode(request.pem().unwrap()).into();
        api.post(ALL, &sent).await.created();
        // The last byte belongs to the signature.
        let mut der = request.der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        let lines = STANDARD.encode(der);
        let pem =
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{lines}\n-----END CERTIFICATE REQUEST-----\n");
        let mut forged = object(&format!("{name}-forged"));
        forged["spec"]["request"] = STANDARD.encode(pem).into();
        let told = api.post(ALL, &forged).await.refused(422, "Invalid");
        assert!(told.ends_with("verification failure"), "{told}");
    }
}
