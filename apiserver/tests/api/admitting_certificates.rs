//! Who may approve and sign requests for certificates, and what nobody may ask for.

use apiserver::UserInfo;
use apiserver::authz::Attributes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::DnType;
use serde_json::{Value, json};

use crate::common::{Api, MERGE};

const ALL: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn object(name: &str, signer: &str, organization: &str) -> Value {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    let request = STANDARD.encode(params.serialize_request(&key).unwrap().pem().unwrap());
    json!({"metadata": {"name": name},
        "spec": {"request": request, "signerName": signer, "usages": ["client auth"]}})
}

/// A user who may write requests, and act on signers by these names.
async fn signer(api: &Api, user: &str, verb: &str, names: Value) -> Api {
    let rules = json!([
        {"apiGroups": ["certificates.k8s.io"], "verbs": ["get", "patch"],
            "resources": ["certificatesigningrequests/approval", "certificatesigningrequests/status"]},
        {"apiGroups": ["certificates.k8s.io"], "verbs": [verb], "resources": ["signers"], "resourceNames": names},
    ]);
    let role = json!({"metadata": {"name": user}, "rules": rules});
    api.post(&format!("{RBAC}/clusterroles"), &role).await.created();
    let binding = json!({"metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    api.post(&format!("{RBAC}/clusterrolebindings"), &binding).await.created();
    let info = UserInfo::authenticated(user, vec![]);
    let name = names[0].as_str().unwrap();
    let asked = Attributes::resource(&info, verb, "certificates.k8s.io", "*", "signers").named(name);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !api.server.authorizer().authorize(&asked).is_allowed() {
        assert!(std::time::Instant::now() < deadline, "{user} never got the right");
        tokio::task::yield_now().await;
    }
    api.acting(info)
}

fn approved() -> Value {
    json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}})
}

#[tokio::test]
async fn approval_takes_a_right_on_the_signer() {
    let api = Api::start().await;
    let one = signer(&api, "one", "approve", json!(["example.com/a"])).await;
    let domain = signer(&api, "domain", "approve", json!(["example.com/*"])).await;
    for (name, of) in [("a", "example.com/a"), ("b", "example.com/b"), ("c", "other.com/a")] {
        api.post(ALL, &object(name, of, "x")).await.created();
    }
    let told = |name: &str, of: &str| {
        format!(
            "certificatesigningrequests.certificates.k8s.io \"{name}\" is forbidden: user not permitted to approve requests with signerName \"{of}\""
        )
    };
    let path = |name: &str| format!("{ALL}/{name}/approval");
    for (who, name, of) in
        [(&one, "b", "example.com/b"), (&one, "c", "other.com/a"), (&domain, "c", "other.com/a")]
    {
        let reply = who.patch(&path(name), MERGE, &approved()).await;
        assert_eq!(reply.refused(403, "Forbidden"), told(name, of));
    }
    one.patch(&path("a"), MERGE, &approved()).await.ok();
    domain.patch(&path("b"), MERGE, &approved()).await.ok();
}

#[tokio::test]
async fn signing_takes_a_right_on_the_signer() {
    let api = Api::start().await;
    let one = signer(&api, "one", "sign", json!(["example.com/a"])).await;
    for (name, of) in [("a", "example.com/a"), ("b", "example.com/b")] {
        api.post(ALL, &object(name, of, "x")).await.created();
    }
    let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "r"}]}});
    assert_eq!(
        one.patch(&format!("{ALL}/b/status"), MERGE, &failed).await.refused(403, "Forbidden"),
        "certificatesigningrequests.certificates.k8s.io \"b\" is forbidden: user not permitted to sign requests with signerName \"example.com/b\""
    );
    one.patch(&format!("{ALL}/b/status"), MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    one.patch(&format!("{ALL}/a/status"), MERGE, &failed).await.ok();
}

#[tokio::test]
async fn nobody_becomes_a_master_by_certificate() {
    let api = Api::start().await;
    let ours = "kubernetes.io/kube-apiserver-client";
    assert_eq!(
        api.post(ALL, &object("a", ours, "system:masters")).await.refused(403, "Forbidden"),
        "certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    );
    api.post(ALL, &object("a", ours, "developers")).await.created();
    api.post(ALL, &object("b", "example.com/other", "system:masters")).await.created();
}
