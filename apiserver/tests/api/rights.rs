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

/// Who may write admission policies may not thereby learn what parameters say.
#[tokio::test]
async fn policies_refer_to_what_their_writer_can_read() {
    const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
    let api = Api::start().await;
    let admin_api = &api;
    let rules = json!([{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}]);
    let may_write = json!({"metadata": {"name": "policies"}, "rules": rules});
    admin_api.post(&format!("{RBAC}/clusterroles"), &may_write).await.created();
    let bound = binding("policies", "ClusterRole", "policies");
    admin_api.post(&format!("{RBAC}/clusterrolebindings"), &bound).await.created();
    let jane = api.acting(jane());
    let policy = |kind: Value| {
        json!({"metadata": {"name": "p"}, "spec": {"paramKind": kind, "validations": [{"expression": "true"}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""],
                "apiVersions": ["v1"], "resources": ["pods"]}]}}})
    };
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    let mut tries = 0..10_000;
    while jane.post(&format!("{policies}?dryRun=All"), &policy(Value::Null)).await.code == 403 {
        assert!(tries.next().is_some(), "jane may not write policies");
        tokio::task::yield_now().await;
    }
    const JANE: &str = "&{jane  [system:authenticated] map[]}";
    let configmaps = policy(json!({"apiVersion": "v1", "kind": "ConfigMap"}));
    assert_eq!(
        jane.post(&policies, &configmaps).await.refused(422, "Invalid"),
        format!(
            "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: spec.paramKind: Forbidden: user {JANE} must have \"get\" permission on all objects of the referenced paramKind (kind=ConfigMap, apiVersion=v1)"
        )
    );
    let made = admin_api.post(&policies, &configmaps).await.created();
    // What is there already is not asked about again.
    let one = format!("{policies}/p");
    jane.patch(&one, MERGE, &json!({"spec": {"failurePolicy": "Ignore"}})).await.ok();
    assert_eq!(made["spec"]["paramKind"]["kind"], "ConfigMap");
    let refer = |name: &str, parameter: Value| json!({"metadata": {"name": "b"}, "spec": {"policyName": name, "validationActions": ["Deny"], "paramRef": parameter}});
    let named = json!({"name": "c", "namespace": "default", "parameterNotFoundAction": "Deny"});
    let any = json!({"selector": {}, "parameterNotFoundAction": "Deny"});
    for (parameter, policy, why) in [
        (
            &named,
            "p",
            format!("user {JANE} does not have \"get\" permission on the object referenced by paramRef"),
        ),
        (
            &any,
            "p",
            format!("user {JANE} does not have \"list\" permission on the object referenced by paramRef"),
        ),
        (
            &named,
            "none",
            format!(
                "unable to get policy none to determine minimum required permissions and user {JANE} does not have \"get\" permission for all groups, versions and resources"
            ),
        ),
    ] {
        let bindings = format!("{GROUP}/validatingadmissionpolicybindings");
        assert_eq!(
            jane.post(&bindings, &refer(policy, parameter.clone())).await.refused(422, "Invalid"),
            format!(
                "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: spec.paramRef: Forbidden: {why}"
            )
        );
    }
    let mut rights = role("maps", "configmaps", &["get"]);
    rights["metadata"]["namespace"] = "default".into();
    admin_api.post(&format!("{RBAC}/namespaces/default/roles"), &rights).await.created();
    let bound = binding("maps", "Role", "maps");
    admin_api.post(&format!("{RBAC}/namespaces/default/rolebindings"), &bound).await.created();
    in_force(admin_api, &self::jane(), "get", "configmaps").await;
    let bindings = format!("{GROUP}/validatingadmissionpolicybindings");
    jane.post(&bindings, &refer("p", named)).await.created();
}
