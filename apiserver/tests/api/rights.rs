//! Who may do what: refusals, impersonation, escalation, nodes.

use apiserver::UserInfo;
use http::Method;
use serde_json::{Value, json};

use crate::common::objects::{configmap, pod};
use crate::common::{Api, MERGE, admin, node};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn jane() -> UserInfo {
    UserInfo::authenticated("jane", Vec::new())
}

fn role(name: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": verbs}]})
}

fn binding(name: &str, kind: &str, role: &str) -> Value {
    json!({"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]})
}

/// Waits until rules that were just written are in force.
async fn in_force(api: &Api, user: &UserInfo, verb: &str, resource: &str) {
    let review = json!({"spec": {"user": user.name, "groups": user.groups,
        "resourceAttributes": {"namespace": "default", "verb": verb, "resource": resource}}});
    for _ in 0..10_000 {
        let answer = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await.created();
        if answer["status"]["allowed"] == true {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} may not {verb} {resource}", user.name);
}

#[tokio::test]
async fn refusals_say_who_and_what() {
    let api = Api::start().await;
    let jane = api.acting(jane());
    for (path, message) in [
        (
            MAPS,
            "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"",
        ),
        (
            "/api/v1/nodes/n",
            "nodes \"n\" is forbidden: User \"jane\" cannot get resource \"nodes\" in API group \"\" at the cluster scope",
        ),
        (
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "deployments.apps \"d\" is forbidden: User \"jane\" cannot get resource \"deployments/scale\" in API group \"apps\" in the namespace \"a\"",
        ),
        ("/metrics", "forbidden: User \"jane\" cannot get path \"/metrics\""),
    ] {
        assert_eq!(jane.get(path).await.refused(403, "Forbidden"), message);
    }
    let anonymous = api.acting(UserInfo::anonymous());
    let message = anonymous.get(MAPS).await.refused(403, "Forbidden");
    assert!(message.contains("User \"system:anonymous\" cannot list"), "{message}");
    let unknown = http::Request::get(MAPS)
        .header("authorization", "Bearer nobody")
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(api.server.handle(unknown).await.status(), 401);
}

#[tokio::test]
async fn a_binding_gives_exactly_what_its_role_says() {
    let api = Api::start().await;
    api.post(
        &format!("{RBAC}/namespaces/default/roles"),
        &role("r", "configmaps", &["get", "list", "create"]),
    )
    .await
    .created();
    api.post(&format!("{RBAC}/namespaces/default/rolebindings"), &binding("b", "Role", "r")).await.created();
    in_force(&api, &jane(), "list", "configmaps").await;
    let jane = api.acting(jane());
    jane.get(MAPS).await.ok();
    jane.post(MAPS, &configmap("a")).await.created();
    jane.delete(&format!("{MAPS}/a")).await.refused(403, "Forbidden");
    jane.get("/api/v1/configmaps").await.refused(403, "Forbidden");
    let changed = json!({"roleRef": {"name": "other"}});
    let message = api
        .patch(&format!("{RBAC}/namespaces/default/rolebindings/b"), MERGE, &changed)
        .await
        .refused(422, "Invalid");
    assert!(message.contains("cannot change roleRef"), "{message}");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let api = Api::start().await;
    let rules = json!({"metadata": {"name": "manager"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "update", "patch", "get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    api.post(&format!("{RBAC}/clusterroles"), &rules).await.created();
    api.post(&format!("{RBAC}/clusterrolebindings"), &binding("m", "ClusterRole", "manager")).await.created();
    in_force(&api, &jane(), "get", "configmaps").await;
    let jane = api.acting(jane());
    let roles = format!("{RBAC}/namespaces/default/roles");
    jane.post(&roles, &role("fine", "configmaps", &["get"])).await.created();
    let message = jane.post(&roles, &role("more", "secrets", &["get"])).await.refused(403, "Forbidden");
    assert!(message.contains("is attempting to grant RBAC permissions not currently held"), "{message}");
    jane.post(
        &format!("{RBAC}/namespaces/default/rolebindings"),
        &binding("up", "ClusterRole", "cluster-admin"),
    )
    .await
    .refused(403, "Forbidden");
}

#[tokio::test]
async fn impersonation_is_a_right() {
    let api = Api::start().await;
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = |api: &Api, user: &'static str| {
        let api = api.clone();
        async move { api.ask(Method::POST, whoami).json(&json!({})).header("impersonate-user", user).send().await }
    };
    let as_jane = ask(&api, "jane").await.created();
    assert_eq!(as_jane["status"]["userInfo"]["username"], "jane");
    assert_eq!(as_jane["status"]["userInfo"]["groups"], json!(["system:authenticated"]));
    let message = ask(&api.acting(jane()), "admin").await.refused(403, "Forbidden");
    assert!(message.contains("cannot impersonate resource \"users\""), "{message}");
    let refused = api.ask(Method::GET, MAPS).header("impersonate-user", "jane").send().await;
    refused.refused(403, "Forbidden");
}

#[tokio::test]
async fn nodes_keep_to_themselves() {
    let api = Api::start().await;
    api.namespace("a").await;
    let mut p = pod("p");
    p["spec"]["nodeName"] = "n1".into();
    api.post("/api/v1/namespaces/a/pods", &p).await.created();
    for name in ["n1", "n2"] {
        api.post("/api/v1/nodes", &json!({"metadata": {"name": name}})).await.created();
    }
    let (own, other) = (api.acting(node("n1")), api.acting(node("n2")));
    let status = "/api/v1/namespaces/a/pods/p/status";
    let patch = json!({"status": {"phase": "Running"}});
    own.patch(status, MERGE, &patch).await.ok();
    let message = other.patch(status, MERGE, &patch).await.refused(403, "Forbidden");
    assert!(
        message.contains("can only update pod status for pods with spec.nodeName set to itself"),
        "{message}"
    );
    own.patch("/api/v1/nodes/n1", MERGE, &json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    other
        .patch("/api/v1/nodes/n1", MERGE, &json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .refused(403, "Forbidden");
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    own.patch("/api/v1/nodes/n1", MERGE, &taint).await.refused(403, "Forbidden");
    let message = own.post("/api/v1/namespaces/a/pods", &pod("q")).await.refused(403, "Forbidden");
    assert!(message.contains("can only create mirror pods"), "{message}");
    other.delete("/api/v1/namespaces/a/pods/p").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn reviews_answer_for_others() {
    let api = Api::start().await;
    let mine = json!({"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(api.acting(admin()).post(path, &mine).await.created()["status"]["allowed"], true);
    let refused = api.acting(jane()).post(path, &mine).await.created();
    assert_eq!(refused["status"], json!({"allowed": false}));
    let message = api.post(path, &json!({"spec": {}})).await.refused(422, "Invalid");
    assert!(
        message.contains("exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        "{message}"
    );
    api.acting(jane())
        .post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &mine)
        .await
        .refused(403, "Forbidden");
}
