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
    own.post(PODS, &pod).await.created();
}
