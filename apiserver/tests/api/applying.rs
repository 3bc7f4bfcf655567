//! Server-side apply: creation, conflicts, shared ownership, removal, refusals.

use http::Method;
use serde_json::{Value, json};

use crate::common::objects::{configmap, deployment};
use crate::common::owners::{APPLY, DEPLOYMENT, DEPLOYMENTS, MAP, MAPS, apply, map, owned_by, owners};
use crate::common::{Api, MERGE, version};

#[tokio::test]
async fn an_apply_creates_and_updates() {
    let api = Api::start().await;
    let made = apply(&api, MAP, "me", &map(json!({"a": "1", "b": "2"}))).await.created();
    assert_eq!(made["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(owners(&made), vec![("me Apply".into(), json!({"f:data": {"f:a": {}, "f:b": {}}}))]);
    // What is not named any more goes; what is named changes.
    let next = apply(&api, MAP, "me", &map(json!({"a": "3"}))).await.ok();
    assert_eq!(next["data"], json!({"a": "3"}));
    // The same again costs no revision.
    assert_eq!(version(&apply(&api, MAP, "me", &map(json!({"a": "3"}))).await.ok()), version(&next));
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  y: yaml\n";
    let reply = api.ask(Method::PATCH, &format!("{MAP}?fieldManager=me")).raw(yaml).media(APPLY).send().await;
    assert_eq!(reply.ok()["data"], json!({"y": "yaml"}));
    let gone =
        apply(&api, MAP, "me", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}))
            .await
            .ok();
    assert_eq!((gone.get("data"), owners(&gone)), (None, Vec::new()));
}

#[tokio::test]
async fn conflicts_and_force() {
    let api = Api::start().await;
    api.post(&format!("{DEPLOYMENTS}?fieldManager=kubectl"), &deployment("web")).await.created();
    let config = |replicas: i64, image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas,
            "template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
    };
    let reply = apply(&api, DEPLOYMENT, "me", &config(2, "demo:1")).await;
    assert_eq!(
        reply.body["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using apps/v1", "field": ".spec.replicas"}])
    );
    assert_eq!(
        reply.refused(409, "Conflict"),
        "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        apply(&api, DEPLOYMENT, "me", &config(2, "demo:2")).await.refused(409, "Conflict"),
        "Apply failed with 2 conflicts: conflicts with \"kubectl\" using apps/v1:\n- .spec.replicas\n- .spec.template.spec.containers[name=\"main\"].image"
    );
    let forced = apply(&api, &format!("{DEPLOYMENT}?force=true"), "me", &config(2, "demo:2")).await.ok();
    assert_eq!(forced["spec"]["replicas"], 2);
    let all = owners(&forced);
    assert_eq!(owned_by(&all, "me Apply")["f:spec"]["f:replicas"], json!({}));
    let theirs = owned_by(&all, "kubectl Update");
    assert!(theirs["f:spec"].get("f:replicas").is_none(), "{theirs}");
    let container = &theirs["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"];
    assert!(container.get("f:image").is_none() && container.get("f:name").is_some(), "{theirs}");
    // The other one now is in conflict when it applies.
    let message = apply(&api, DEPLOYMENT, "kubectl2", &config(3, "demo:2")).await.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
}

#[tokio::test]
async fn owners_share_what_they_agree_on() {
    let api = Api::start().await;
    apply(&api, MAP, "a", &map(json!({"x": "1", "mine": "a"}))).await.created();
    let both = apply(&api, MAP, "b", &map(json!({"x": "1"}))).await.ok();
    let all = owners(&both);
    assert_eq!(owned_by(&all, "a Apply"), &json!({"f:data": {"f:mine": {}, "f:x": {}}}));
    assert_eq!(owned_by(&all, "b Apply"), &json!({"f:data": {"f:x": {}}}));
    // One gives it up: it stays for the other, and what only the first had goes.
    let one = apply(&api, MAP, "a", &map(json!({}))).await.ok();
    assert_eq!(one["data"], json!({"x": "1"}));
    let none = apply(&api, MAP, "b", &map(json!({}))).await.ok();
    assert_eq!(none.get("data"), None, "{none}");
}

#[tokio::test]
async fn requests_that_are_refused() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    let with = |path: &str, value: Value| {
        let mut c = map(json!({"a": "b"}));
        *c.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        c
    };
    let meta = |extra: Value| {
        let mut c = map(json!({"a": "b"}));
        for (k, v) in extra.as_object().unwrap() {
            c["metadata"][k] = v.clone();
        }
        c
    };
    for (path, config, code, reason, message) in [
        (
            MAP,
            map(json!({})),
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "a?fieldManager=me",
            meta(json!({"managedFields": []})),
            400,
            "BadRequest",
            "metadata.managedFields must be nil",
        ),
        (
            "a?fieldManager=me",
            with("/kind", "Secret".into()),
            400,
            "BadRequest",
            "invalid object type: /v1, Kind=Secret",
        ),
        (
            "a?fieldManager=me",
            with("/apiVersion", "apps/v1".into()),
            400,
            "BadRequest",
            "invalid object type: apps/v1, Kind=ConfigMap",
        ),
        ("a?fieldManager=me", json!({}), 400, "BadRequest", "invalid object type: /, Kind="),
        (
            "a?fieldManager=me",
            json!([]),
            400,
            "BadRequest",
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            "a?fieldManager=me",
            with("/metadata/name", "b".into()),
            400,
            "BadRequest",
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "a?fieldManager=me",
            meta(json!({"namespace": "other"})),
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "a?fieldManager=me",
            with("/data", json!({"a": 5})),
            500,
            "",
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:5}",
        ),
        (
            "a?fieldManager=me",
            {
                let mut c = map(json!({}));
                c["datta"] = json!(1);
                c
            },
            500,
            "",
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .datta: field not declared in schema",
        ),
        (
            "a?fieldManager=me&dryRun=x",
            map(json!({})),
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"x\"]: supported values: \"All\"",
        ),
        ("a?fieldManager=me", with("/data", json!({"bad key": "x"})), 422, "Invalid", ""),
        (
            "new?fieldManager=me",
            {
                let mut c = meta(json!({"uid": "u"}));
                c["metadata"]["name"] = "new".into();
                c
            },
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"new\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
        (
            "new?fieldManager=me",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "new-"}}),
            400,
            "BadRequest",
            "the name of the object (new based on URL) was undeterminable: name must be provided",
        ),
        (
            "a?fieldManager=me",
            meta(json!({"resourceVersion": "1"})),
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
        ),
    ] {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{MAPS}/{path}") };
        let got = api.patch(&path, APPLY, &config).await.refused(code, reason);
        assert!(message.is_empty() || got == message, "{path} {config}: {got}");
    }
    let path = format!("{MAP}?fieldManager=me");
    let raw =
        |body: &'static str, media: &'static str| api.ask(Method::PATCH, &path).raw(body).media(media).send();
    let message = raw("a: b: c", APPLY).await.refused(400, "BadRequest");
    assert!(message.starts_with("error encoding patch: "), "{message}");
    let message = raw("{}", "application/apply-patch+cbor").await.refused(415, "UnsupportedMediaType");
    assert_eq!(
        message,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    );
    let message = api.patch(&format!("{MAP}?force=true"), MERGE, &json!({})).await.refused(422, "Invalid");
    assert_eq!(
        message,
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    apply(
        &api,
        &format!("{DEPLOYMENT}/status"),
        "me",
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}),
    )
    .await
    .refused(404, "NotFound");
}

#[tokio::test]
async fn repeated_keys_follow_the_field_validation() {
    let api = Api::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: one\n  x: two\n";
    let ask = |validation: &str| {
        let path = format!("{MAP}?fieldManager=me&fieldValidation={validation}");
        api.ask(Method::PATCH, &path).raw(yaml).media(APPLY).send()
    };
    let why =
        "error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"x\" already set in map";
    assert_eq!(ask("Strict").await.refused(400, "BadRequest"), format!("error strict decoding patch: {why}"));
    let warned = ask("Warn").await;
    assert_eq!(warned.warnings().len(), 1, "{:?}", warned.warnings());
    assert_eq!(warned.created()["data"], json!({"x": "two"}));
    assert!(ask("Ignore").await.warnings().is_empty());
}

#[tokio::test]
async fn a_dry_run_applies_nothing() {
    let api = Api::start().await;
    let path = format!("{MAP}?dryRun=All");
    assert_eq!(apply(&api, &path, "me", &map(json!({"a": "1"}))).await.created()["data"]["a"], "1");
    api.get(MAP).await.refused(404, "NotFound");
    let made = apply(&api, MAP, "me", &map(json!({"a": "1"}))).await.created();
    assert_eq!(apply(&api, &path, "me", &map(json!({"a": "2"}))).await.ok()["data"]["a"], "2");
    assert_eq!(api.get(MAP).await.ok(), made);
}

#[tokio::test]
async fn lists_are_merged_by_their_keys() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/services/s";
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": ports}});
    let ports = |o: &Value| -> Vec<String> {
        o["spec"]["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| format!("{}/{}", p["port"], p["name"].as_str().unwrap_or("")))
            .collect()
    };
    apply(&api, path, "a", &service(json!([{"name": "x", "port": 1}, {"name": "y", "port": 2}])))
        .await
        .created();
    // The protocol that is left out is a part of the key.
    let both =
        apply(&api, path, "b", &service(json!([{"name": "z", "port": 3, "protocol": "TCP"}]))).await.ok();
    assert_eq!(ports(&both), vec!["1/x", "2/y", "3/z"]);
    let all = owners(&both);
    let key = &owned_by(&all, "b Apply")["f:spec"]["f:ports"]["k:{\"port\":3,\"protocol\":\"TCP\"}"];
    assert_eq!(key["f:name"], json!({}));
    let less = apply(&api, path, "a", &service(json!([{"name": "y", "port": 2}]))).await.ok();
    assert_eq!(ports(&less), vec!["2/y", "3/z"]);
    // A selector is one value.
    let mut other = service(json!([]));
    other["spec"] = json!({"selector": {"c": "d"}});
    let message = apply(&api, path, "c", &other).await.refused(409, "Conflict");
    assert_eq!(
        message,
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.selector\nconflicts with \"b\":\n- .spec.selector"
    );
    let twice = service(json!([{"name": "y", "port": 2}, {"name": "q", "port": 2}]));
    let message = apply(&api, path, "a", &twice).await.refused(500, "");
    assert_eq!(
        message,
        "failed to create typed patch object (/s; /v1, Kind=Service): .spec.ports: duplicate entries for key [port=2,protocol=\"TCP\"]"
    );
}

#[tokio::test]
async fn kubectl_moves_from_its_annotation() {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let api = Api::start().await;
    let config = |value: &str| map(json!({"a": value}));
    let mut first = config("1");
    first["metadata"]["annotations"] = json!({LAST: format!("{}\n", config("1"))});
    api.post(&format!("{MAPS}?fieldManager=kubectl-client-side-apply"), &first).await.created();
    // Another manager is in conflict with what kubectl has applied by itself; kubectl is not.
    apply(&api, MAP, "other", &config("2")).await.refused(409, "Conflict");
    let moved = apply(&api, MAP, "kubectl", &config("2")).await.ok();
    assert_eq!(moved["data"]["a"], "2");
    assert_eq!(moved["metadata"]["annotations"][LAST], format!("{}\n", config("2")));
    // A field that somebody else has changed since is a conflict for kubectl too.
    api.patch(&format!("{MAP}?fieldManager=edit"), MERGE, &json!({"data": {"a": "3"}})).await.ok();
    let message = apply(&api, MAP, "kubectl", &config("4")).await.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"edit\" using v1: .data.a");
}

#[tokio::test]
async fn creating_by_apply_needs_the_right_to_create() {
    use apiserver::UserInfo;
    let api = Api::start().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "patcher"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}]});
    api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", &role).await.created();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]});
    api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", &binding).await.created();
    // A consistent read: afterwards the authorizer can know of the binding.
    api.get("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings").await.ok();
    api.server.authorizer().ready().await;
    let user = api.acting(UserInfo::authenticated("u", Vec::new()));
    apply(&user, MAP, "me", &map(json!({"a": "b"}))).await.refused(403, "Forbidden");
    api.post(MAPS, &configmap("a")).await.created();
    assert_eq!(
        apply(&user, MAP, "me", &map(json!({"c": "d"}))).await.ok()["data"],
        json!({"a": "b", "c": "d"})
    );
}

#[tokio::test]
async fn appliers_in_parallel_lose_nothing() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    let many =
        (0..20).map(|i| {
            let api = api.clone();
            async move {
                apply(&api, MAP, &format!("m{i}"), &map(json!({format!("k{i}"): "v"}))).await.code.as_u16()
            }
        });
    let codes = futures::future::join_all(many).await;
    let done = codes.iter().filter(|c| **c == 200).count();
    assert!(codes.iter().all(|c| *c == 200 || *c == 409), "{codes:?}");
    let stored = api.get(MAP).await.ok();
    assert_eq!(stored["data"].as_object().unwrap().len(), done + 1);
    let appliers = owners(&stored).iter().filter(|(n, _)| n.ends_with("Apply")).count();
    assert_eq!(appliers, done, "{stored}");
}
