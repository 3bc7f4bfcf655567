//! What a node agent may write: its node, its lease, and mirrors of its own pods.

use serde_json::{Value, json};

use crate::common::kind::merge;
use crate::common::{Api, MERGE, node, objects};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn start() -> (Api, Api, String) {
    let api = Api::start().await;
    let made = api.post("/api/v1/nodes", &objects::named("v1", "Node", "n1")).await.created();
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    // A consistent read: from here on the cache has it.
    api.get("/api/v1/nodes/n1").await.ok();
    let own = api.acting(node("n1"));
    (api, own, uid)
}

#[tokio::test]
async fn labels_of_others_are_not_the_nodes_to_set() {
    let (_api, own, _) = start().await;
    let label = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
    for key in
        ["own", "example.com/a", "kubernetes.io/arch", "node.kubernetes.io/a", "x.kubelet.kubernetes.io/a"]
    {
        own.patch("/api/v1/nodes/n1", MERGE, &label(key)).await.ok();
    }
    for key in ["node-role.kubernetes.io/control-plane", "node-restriction.kubernetes.io/a", "a.k8s.io/b"] {
        let told = own.patch("/api/v1/nodes/n1", MERGE, &label(key)).await.refused(403, "Forbidden");
        assert_eq!(told, format!("nodes \"n1\" is forbidden: is not allowed to modify labels: {key}"));
    }
    let mut second = objects::named("v1", "Node", "n2");
    second["metadata"]["labels"] = json!({"b.k8s.io/x": "", "a.k8s.io/x": "", "c": ""});
    assert_eq!(
        own.acting(node("n2")).post("/api/v1/nodes", &second).await.refused(403, "Forbidden"),
        "nodes \"n2\" is forbidden: node \"n2\" is not allowed to set the following labels: a.k8s.io/x, b.k8s.io/x"
    );
    assert_eq!(
        own.post("/api/v1/nodes", &second).await.refused(403, "Forbidden"),
        "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\""
    );
}

#[tokio::test]
async fn leases_and_storage_nodes_are_the_nodes_own() {
    let (api, own, _) = start().await;
    api.post("/api/v1/namespaces", &objects::namespace("kube-node-lease")).await;
    let lease = |name: &str| objects::named("coordination.k8s.io/v1", "Lease", name);
    let leases = |ns: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{ns}/leases");
    let csi = |name: &str| {
        let mut it = objects::named("storage.k8s.io/v1", "CSINode", name);
        it["spec"] = json!({"drivers": []});
        it
    };
    own.post(&leases("kube-node-lease"), &lease("n1")).await.created();
    own.post("/apis/storage.k8s.io/v1/csinodes", &csi("n1")).await.created();
    for (reply, why) in [
        (
            own.post(&leases("kube-node-lease"), &lease("n2")).await,
            "can only access node lease with the same name as the requesting node",
        ),
        (
            own.post("/apis/storage.k8s.io/v1/csinodes", &csi("n2")).await,
            "can only access CSINode with the same name as the requesting node",
        ),
    ] {
        let told = reply.refused(403, "Forbidden");
        assert!(told.ends_with(why), "{told}");
    }
}

#[tokio::test]
async fn mirrors_refer_to_nothing_but_their_node() {
    let (_api, own, uid) = start().await;
    let mut pod = objects::pod("m");
    merge(
        &mut pod,
        &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]},
            "spec": {"nodeName": "n1"}}),
    );
    let owner = |change: Value| {
        let mut one = pod["metadata"]["ownerReferences"][0].clone();
        merge(&mut one, &change);
        json!({"metadata": {"ownerReferences": [one]}})
    };
    let volume = |source: Value| {
        let mut one = json!({"name": "v"});
        merge(&mut one, &source);
        json!({"spec": {"volumes": [one]}})
    };
    for (change, why) in [
        (
            json!({"metadata": {"ownerReferences": null}}),
            "can only create pods with an owner reference set to itself",
        ),
        (owner(json!({"name": "n2"})), "can only create pods with an owner reference set to itself"),
        (
            owner(json!({"controller": null})),
            "can only create pods with a controller owner reference set to itself",
        ),
        (owner(json!({"blockOwnerDeletion": true})), "must not set blockOwnerDeletion on an owner reference"),
        (
            json!({"spec": {"containers": [{"name": "a", "image": "b", "envFrom": [{"configMapRef": {"name": "a"}}]}]}}),
            "can not create pods that reference configmaps",
        ),
        (
            json!({"spec": {"resourceClaims": [{"name": "a", "resourceClaimName": "b"}]}}),
            "can not create pods that reference resourceclaims",
        ),
        (
            volume(json!({"csi": {"driver": "a.example.com"}})),
            "can not create pods that reference csidrivers (via CSI volumes)",
        ),
        (
            volume(json!({"persistentVolumeClaim": {"claimName": "a"}})),
            "can not create pods that reference persistentvolumeclaims",
        ),
    ] {
        let mut sent = pod.clone();
        merge(&mut sent, &change);
        let told = own.post(PODS, &sent).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"m\" is forbidden: node \"n1\" {why}"), "{change}");
    }
    // These are nobody's to do, and another plugin is asked first.
    for (change, why) in [
        (json!({"spec": {"serviceAccountName": "a"}}), "service accounts"),
        (volume(json!({"secret": {"secretName": "a"}})), "secrets"),
    ] {
        let mut sent = pod.clone();
        merge(&mut sent, &change);
        let told = own.post(PODS, &sent).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"m\" is forbidden: a mirror pod may not reference {why}"));
    }
    let mut sent = pod.clone();
    merge(&mut sent, &owner(json!({"uid": "u"})));
    assert_eq!(
        own.post(PODS, &sent).await.refused(403, "Forbidden"),
        format!("pods \"m\" is forbidden: node n1 UID mismatch: expected u got {uid}")
    );
    let alone = json!([{"name": "v", "emptyDir": {}}, {"name": "w", "projected": {"sources": [
        {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}]);
    pod["spec"]["volumes"] = alone;
    own.post(PODS, &pod).await.created();
}

#[tokio::test]
async fn the_nodes_owners_are_not_its_own_to_set() {
    let (_api, own, _) = start().await;
    let owners = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]}});
    let told = own.patch("/api/v1/nodes/n1", MERGE, &owners).await.refused(403, "Forbidden");
    assert_eq!(told, "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify ownerReferences");
}

#[tokio::test]
async fn evictions_and_statuses_are_of_the_nodes_pods() {
    let (api, own, _) = start().await;
    api.post("/api/v1/nodes", &objects::named("v1", "Node", "n2")).await.created();
    let account = objects::named("v1", "ServiceAccount", "default");
    api.post("/api/v1/namespaces/default/serviceaccounts", &account).await.created();
    for (name, at) in [("mine", "n1"), ("other", "n2")] {
        let mut pod = objects::pod(name);
        pod["spec"]["nodeName"] = at.into();
        api.post(PODS, &pod).await.created();
    }
    let eviction =
        |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    assert_eq!(
        own.post(&format!("{PODS}/other/eviction"), &eviction("other")).await.refused(403, "Forbidden"),
        "pods \"other\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself"
    );
    for (status, why) in [
        (
            json!({"resourceClaimStatuses": [{"name": "a", "resourceClaimName": "b"}]}),
            "cannot update resource claim statues",
        ),
        (
            json!({"extendedResourceClaimStatus": {"resourceClaimName": "b", "requestMappings": []}}),
            "cannot update extended resource claim status",
        ),
    ] {
        let path = format!("{PODS}/mine/status");
        let told = own.patch(&path, MERGE, &json!({"status": status})).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"mine\" is forbidden: node \"n1\" {why}"));
    }
    own.post(&format!("{PODS}/mine/eviction"), &eviction("mine")).await.created();
}

#[tokio::test]
async fn slices_are_the_nodes_that_they_name() {
    const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";
    let (api, own, _) = start().await;
    let slice = |name: &str, node: &str| {
        json!({"metadata": {"name": name}, "spec": {"driver": "d.example.com", "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "a"}]}})
    };
    own.post(SLICES, &slice("mine", "n1")).await.created();
    api.post(SLICES, &slice("other", "n2")).await.created();
    assert_eq!(
        own.post(SLICES, &slice("x", "n2")).await.refused(403, "Forbidden"),
        "resourceslices.resource.k8s.io \"x\" is forbidden: can only create ResourceSlice with the same NodeName as the requesting node"
    );
    // A consistent read: from here on the cache has them.
    api.get(SLICES).await.ok();
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    own.get(&format!("{SLICES}/mine")).await.ok();
    own.patch(&format!("{SLICES}/mine"), MERGE, &label).await.ok();
    for refused in [
        own.get(&format!("{SLICES}/other")).await,
        own.patch(&format!("{SLICES}/other"), MERGE, &label).await,
        own.delete(&format!("{SLICES}/other")).await,
        own.get(SLICES).await,
    ] {
        refused.refused(403, "Forbidden");
    }
    own.delete(&format!("{SLICES}?fieldSelector=spec.nodeName=n1")).await.ok();
    assert_eq!(crate::common::names(&api.get(SLICES).await.ok()), ["other"]);
}

#[tokio::test]
async fn certificates_are_asked_for_in_the_nodes_own_name() {
    const ALL: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (_api, own, _) = start().await;
    let request = |name: &str, of: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(rcgen::DnType::CommonName, of);
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
        json!({"metadata": {"name": name}, "spec": {"request": encoded,
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"]}})
    };
    own.post(ALL, &request("a", "system:node:n1")).await.created();
    assert_eq!(
        own.post(ALL, &request("b", "system:node:n2")).await.refused(403, "Forbidden"),
        "certificatesigningrequests.certificates.k8s.io \"b\" is forbidden: can only create a node CSR with CN=system:node:n1"
    );
    let mut elsewhere = request("c", "anybody");
    elsewhere["spec"]["signerName"] = "example.com/signer".into();
    own.post(ALL, &elsewhere).await.created();
}

#[tokio::test]
async fn of_claims_a_node_writes_how_far_they_are_expanded() {
    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
    let (api, own, _) = start().await;
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    api.post(CLAIMS, &claim).await.created();
    let account = objects::named("v1", "ServiceAccount", "default");
    api.post("/api/v1/namespaces/default/serviceaccounts", &account).await.created();
    let mut pod = objects::pod("p");
    pod["spec"]["nodeName"] = "n1".into();
    pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    api.post(PODS, &pod).await.created();
    crate::common::until("the node sees the claim", async || {
        own.get(&format!("{CLAIMS}/c")).await.code == 200
    })
    .await;
    let status = format!("{CLAIMS}/c/status");
    let change = json!({"status": {"capacity": {"storage": "2Gi"}, "allocatedResources": {"storage": "2Gi"},
        "conditions": [{"type": "Resizing", "status": "True"}]}});
    own.patch(&status, MERGE, &change).await.ok();
    // Nor does it label a claim by the way.
    for change in [json!({"status": {"phase": "Lost"}}), json!({"metadata": {"labels": {"a": "b"}}})] {
        assert_eq!(
            own.patch(&status, MERGE, &change).await.refused(403, "Forbidden"),
            "persistentvolumeclaims \"c\" is forbidden: node \"n1\" is not allowed to update fields other than status.quantity and status.conditions"
        );
    }
}
