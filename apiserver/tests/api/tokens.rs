//! Service account tokens: issued, judged, reviewed, mounted; bootstrap tokens and token files.

use apiserver::UserInfo;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::common::certificates::ISSUER;
use crate::common::objects::{configmap, named, pod};
use crate::common::{Api, node};

const TOKEN: &str = "/api/v1/namespaces/a/serviceaccounts/default/token";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A server with a namespace `a` and a node `n`.
async fn start() -> Api {
    let api = Api::start().await;
    api.namespace("a").await;
    api.post("/api/v1/nodes", &named("v1", "Node", "n")).await.created();
    api
}

fn request(spec: &Value) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
}

async fn issue(api: &Api, spec: &Value) -> String {
    let answer = api.post(TOKEN, &request(spec)).await.created();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// What a bearer of the token gets for a path: code and body.
async fn bear(api: &Api, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = api.server.handle(request).await;
    let code = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn review(api: &Api, token: &str, audiences: &[&str]) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences}});
    api.post(REVIEWS, &body).await.created()["status"].clone()
}

async fn bound_pod(api: &Api, name: &str) -> Value {
    let mut object = pod(name);
    object["spec"]["nodeName"] = "n".into();
    api.post("/api/v1/namespaces/a/pods", &object).await.created()
}

/// Waits until what was written before is in the caches that judge: a consistent read brings them up to date.
async fn settle(api: &Api) {
    for kind in ["pods", "secrets", "serviceaccounts"] {
        api.get(&format!("/api/v1/{kind}")).await.ok();
    }
    api.server.authorizer().ready().await;
}

fn reference(object: &Value, kind: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"]})
}

#[tokio::test]
async fn an_account_is_known_by_its_token() {
    let api = start().await;
    let account = api.get("/api/v1/namespaces/a/serviceaccounts/default").await.ok();
    let answer = api.post(TOKEN, &request(&json!({}))).await.created();
    assert_eq!(answer["kind"], "TokenRequest");
    assert_eq!(answer["metadata"]["name"], "default");
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
    assert_eq!(answer["spec"]["audiences"], json!([ISSUER]));
    let token = answer["status"]["token"].as_str().unwrap();
    let said = claims(token);
    assert_eq!((&said["iss"], &said["sub"]), (&json!(ISSUER), &json!("system:serviceaccount:a:default")));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    assert_eq!(said["kubernetes.io"]["serviceaccount"]["uid"], account["metadata"]["uid"]);

    let (code, who) = bear(&api, token, Method::POST, SELF, json!({})).await;
    assert_eq!(code, 201, "{who}");
    let user = &who["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:a:default");
    assert_eq!(user["uid"], account["metadata"]["uid"]);
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"])
    );
    let credential = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert_eq!(credential, format!("JTI={}", said["jti"].as_str().unwrap()));
    // Known, but without rights.
    let (code, no) = bear(&api, token, Method::GET, "/api/v1/namespaces/a/secrets", json!({})).await;
    assert_eq!((code, no["reason"].as_str()), (403, Some("Forbidden")));
}

#[tokio::test]
async fn tokens_end_with_what_they_are_bound_to() {
    let api = start().await;
    let created = bound_pod(&api, "p").await;
    let secret = api.post("/api/v1/namespaces/a/secrets", &named("v1", "Secret", "s")).await.created();
    let of_pod = issue(&api, &json!({"boundObjectRef": reference(&created, "Pod")})).await;
    let of_secret = issue(&api, &json!({"boundObjectRef": reference(&secret, "Secret")})).await;
    let of_account = issue(&api, &json!({})).await;
    let said = claims(&of_pod);
    assert_eq!(said["kubernetes.io"]["pod"]["uid"], created["metadata"]["uid"]);
    assert_eq!(said["kubernetes.io"]["node"]["name"], "n");
    let status = review(&api, &of_pod, &[]).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["audiences"], json!([ISSUER]));
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/node-name"], json!(["n"]));

    let gone = "service account token has been invalidated";
    api.delete("/api/v1/namespaces/a/pods/p?gracePeriodSeconds=0").await.ok();
    settle(&api).await;
    assert_eq!(review(&api, &of_pod, &[]).await["error"], gone);
    assert_eq!(bear(&api, &of_pod, Method::POST, SELF, json!({})).await.0, 401);
    // Another pod of the same name is another pod.
    bound_pod(&api, "p").await;
    settle(&api).await;
    assert_eq!(review(&api, &of_pod, &[]).await["error"], gone);
    assert_eq!(review(&api, &of_secret, &[]).await["authenticated"], true);
    api.delete("/api/v1/namespaces/a/secrets/s").await.ok();
    settle(&api).await;
    assert_eq!(review(&api, &of_secret, &[]).await["error"], gone);
    assert_eq!(review(&api, &of_account, &[]).await["authenticated"], true);
    api.delete("/api/v1/namespaces/a/serviceaccounts/default").await.ok();
    settle(&api).await;
    assert_eq!(review(&api, &of_account, &[]).await["error"], gone);
}

#[tokio::test]
async fn audiences_and_forgeries() {
    let api = start().await;
    let vault = issue(&api, &json!({"audiences": ["vault", "other"]})).await;
    let status = review(&api, &vault, &["vault", "more"]).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    let error = review(&api, &vault, &[]).await["error"].clone();
    assert_eq!(
        error,
        format!("token audiences [\"vault\", \"other\"] is invalid for the target audiences [\"{ISSUER}\"]")
    );
    assert_eq!(bear(&api, &vault, Method::POST, SELF, json!({})).await.0, 401);

    let good = issue(&api, &json!({})).await;
    let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    let mut said = claims(&good);
    said["sub"] = "system:serviceaccount:kube-system:default".into();
    said["kubernetes.io"]["namespace"] = "kube-system".into();
    parts[1] = URL_SAFE_NO_PAD.encode(said.to_string());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let unsigned = format!("{none}.{}.", parts[1]);
    for forged in [parts.join("."), unsigned, "a.b.c".into(), "x".into(), good.replace('.', "")] {
        let status = review(&api, &forged, &[]).await;
        assert!(status["authenticated"].is_null(), "{forged}: {status}");
        assert_eq!(bear(&api, &forged, Method::POST, SELF, json!({})).await.0, 401, "{forged}");
    }
    let empty = json!({"spec": {"token": ""}});
    let message = api.post(REVIEWS, &empty).await.refused(400, "BadRequest");
    assert_eq!(message, "token is required for TokenReview in authentication");
}

#[tokio::test]
async fn what_is_not_issued() {
    let api = start().await;
    let created = bound_pod(&api, "p").await;
    let other = "/api/v1/namespaces/a/serviceaccounts/other";
    api.post("/api/v1/namespaces/a/serviceaccounts", &named("v1", "ServiceAccount", "other")).await.created();
    let stranger = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x"});
    for (spec, code, reason, message) in [
        (
            json!({"expirationSeconds": 599}),
            422,
            "Invalid",
            "TokenRequest.authentication.k8s.io \"default\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            json!({"expirationSeconds": 4_294_967_297_i64}),
            422,
            "Invalid",
            "TokenRequest.authentication.k8s.io \"default\" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}}),
            400,
            "BadRequest",
            "cannot bind token for serviceaccount \"default\" to object of type /v1, Kind=ConfigMap",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "q"}}),
            404,
            "NotFound",
            "pods \"q\" not found",
        ),
        (
            json!({"boundObjectRef": stranger}),
            409,
            "Conflict",
            "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated",
        ),
    ] {
        let said = api.post(TOKEN, &request(&spec)).await.refused(code, reason);
        assert_eq!(said, message);
    }
    let spec = json!({"boundObjectRef": reference(&created, "Pod")});
    let said = api.post(&format!("{other}/token"), &request(&spec)).await.refused(400, "BadRequest");
    assert_eq!(
        said,
        "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name."
    );
    api.post("/api/v1/namespaces/a/serviceaccounts/none/token", &request(&json!({})))
        .await
        .refused(404, "NotFound");
}

#[tokio::test]
async fn nodes_get_tokens_of_their_own_pods() {
    let api = start().await;
    let created = bound_pod(&api, "p").await;
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": reference(&created, "Pod")});
    settle(&api).await;
    let own = api.acting(node("n"));
    let answer = own.post(TOKEN, &request(&spec)).await.created();
    // What volumes ask for lives for a year, is reported to end when asked, and warns from then on.
    let said = claims(answer["status"]["token"].as_str().unwrap());
    let issued = said["iat"].as_i64().unwrap();
    assert_eq!(said["exp"].as_i64().unwrap() - issued, 365 * 24 * 3600);
    assert_eq!(said["kubernetes.io"]["warnafter"].as_i64().unwrap() - issued, 3607);
    let judged = review(&api, answer["status"]["token"].as_str().unwrap(), &[]).await;
    assert_eq!(judged["authenticated"], true);
    let metrics = api.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.raw);
    for line in ["serviceaccount_valid_tokens_total 1", "serviceaccount_stale_tokens_total 0"] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    let refused = |spec: Value| {
        let own = own.clone();
        async move { own.post(TOKEN, &request(&spec)).await.refused(403, "Forbidden") }
    };
    assert!(refused(json!({})).await.ends_with("node requested token not bound to a pod"));
    let mut spec = json!({"boundObjectRef": reference(&created, "Pod"), "audiences": ["vault"]});
    assert!(refused(spec.clone()).await.contains("audience \"vault\" not found in pod spec volume"));
    spec["audiences"] = json!(["vault", "other"]);
    assert!(refused(spec.clone()).await.ends_with("node may only request 0 or 1 audiences"));
    spec["boundObjectRef"].as_object_mut().unwrap().remove("uid");
    assert!(refused(spec).await.ends_with("node requested token with a pod binding without a uid"));
    // To another node the account is none of its business at all.
    let spec = json!({"boundObjectRef": reference(&created, "Pod")});
    api.acting(node("m")).post(TOKEN, &request(&spec)).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn nodes_get_tokens_for_drivers_and_by_right() {
    let api = start().await;
    let driver =
        json!({"metadata": {"name": "disk.example.com"}, "spec": {"tokenRequests": [{"audience": "disk"}]}});
    api.post("/apis/storage.k8s.io/v1/csidrivers", &driver).await.created();
    let mut object = pod("p");
    object["spec"]["nodeName"] = "n".into();
    object["spec"]["volumes"] = json!([
        {"name": "d", "csi": {"driver": "disk.example.com"}},
        {"name": "e", "csi": {"driver": "none.example.com"}},
    ]);
    let created = api.post("/api/v1/namespaces/a/pods", &object).await.created();
    settle(&api).await;
    let own = api.acting(node("n"));
    let spec =
        |audience: &str| json!({"boundObjectRef": reference(&created, "Pod"), "audiences": [audience]});
    let token = async |audience: &str| own.post(TOKEN, &request(&spec(audience))).await;
    crate::common::until("the node sees the account", async || token("disk").await.code == 201).await;
    let told = token("vault").await.refused(403, "Forbidden");
    let why = "error validating audience \"vault\": csidriver.storage.k8s.io \"none.example.com\" not found";
    assert!(told.ends_with(why), "{told}");
    // Without a volume that leads astray it is a question of rights.
    let mut object = pod("q");
    object["spec"]["nodeName"] = "n".into();
    let created = api.post("/api/v1/namespaces/a/pods", &object).await.created();
    settle(&api).await;
    let spec = json!({"boundObjectRef": reference(&created, "Pod"), "audiences": ["vault"]});
    let told = own.post(TOKEN, &request(&spec)).await.refused(403, "Forbidden");
    assert!(told.ends_with("system:node:n is not authorized to request tokens for this audience"), "{told}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "vault"}, "rules": [{"apiGroups": [""], "resources": ["vault"],
        "verbs": ["request-serviceaccounts-token-audience"]}]});
    api.post(&format!("{rbac}/clusterroles"), &role).await.created();
    let binding = json!({"metadata": {"name": "vault"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vault"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]});
    api.post(&format!("{rbac}/clusterrolebindings"), &binding).await.created();
    let given = async || own.post(TOKEN, &request(&spec)).await.code == 201;
    crate::common::until("the node may ask for the audience", given).await;
}

#[tokio::test]
async fn pods_find_their_token() {
    let api = start().await;
    let mut object = pod("p");
    object["spec"]["initContainers"] = json!([{"name": "i", "image": "i", "volumeMounts": [
        {"name": "mine", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]);
    object["spec"]["volumes"] = json!([{"name": "mine", "emptyDir": {}}]);
    let made = api.post("/api/v1/namespaces/a/pods", &object).await.created();
    let volumes = made["spec"]["volumes"].as_array().unwrap();
    let name = volumes[1]["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == 21, "{name}");
    let sources = &volumes[1]["projected"]["sources"];
    assert_eq!(sources[0], json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}));
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    assert_eq!(
        made["spec"]["containers"][0]["volumeMounts"],
        json!([{"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}])
    );
    assert_eq!(made["spec"]["initContainers"][0]["volumeMounts"].as_array().unwrap().len(), 1);

    let mut without = pod("q");
    without["spec"]["automountServiceAccountToken"] = false.into();
    let made = api.post("/api/v1/namespaces/a/pods", &without).await.created();
    assert!(made["spec"]["volumes"].is_null(), "{made}");
    let path = "/api/v1/namespaces/a/serviceaccounts/default";
    api.patch(path, crate::common::MERGE, &json!({"automountServiceAccountToken": false})).await.ok();
    settle(&api).await;
    let made = api.post("/api/v1/namespaces/a/pods", &pod("r")).await.created();
    assert!(made["spec"]["volumes"].is_null(), "{made}");
    let mut with = pod("s");
    with["spec"]["automountServiceAccountToken"] = true.into();
    let made = api.post("/api/v1/namespaces/a/pods", &with).await.created();
    assert_eq!(made["spec"]["volumes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn others_can_verify_tokens() {
    let api = start().await;
    let account =
        UserInfo::authenticated("system:serviceaccount:a:default", vec!["system:serviceaccounts".into()]);
    let reader = api.acting(account);
    let found = reader.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(found["issuer"], ISSUER);
    assert_eq!(found["jwks_uri"], format!("{ISSUER}/openid/v1/jwks"));
    let keys = reader.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let keys = keys.ok();
    let key = &keys["keys"][0];
    assert_eq!((&key["kty"], &key["alg"], &key["crv"]), (&json!("EC"), &json!("ES256"), &json!("P-256")));
    let token = issue(&api, &json!({})).await;
    let head: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!((&head["kid"], &head["alg"]), (&key["kid"], &key["alg"]));
    let stranger = api.acting(UserInfo::authenticated("jane", vec![]));
    stranger.get("/openid/v1/jwks").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn keys_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let retired = rcgen::KeyPair::generate().unwrap();
    let path = dir.path().join("retired.pub");
    std::fs::write(&path, retired.public_key_pem()).unwrap();
    let private = dir.path().join("retired.key");
    std::fs::write(&private, retired.serialize_pem()).unwrap();
    let api = Api::start_with(|c| {
        c.service_accounts.as_mut().unwrap().keys = vec![path, private];
    })
    .await;
    let keys = api.get("/openid/v1/jwks").await.ok();
    let ids: Vec<&str> =
        keys["keys"].as_array().unwrap().iter().map(|k| k["kid"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[1], ids[2], "a public key and its private half are one");
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn bootstrap_tokens_and_token_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.csv");
    std::fs::write(&file, "0ld,jane,7,\"dev,ops\"\n").unwrap();
    let api = Api::start_with(|c| c.token_auth_file = Some(file)).await;
    let encode = |text: &str| STANDARD.encode(text);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"}, "data": {
            "token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
            "usage-bootstrap-authentication": encode("true")}});
    api.post("/api/v1/namespaces/kube-system/secrets", &secret).await.created();
    settle(&api).await;
    for (token, name, group) in [
        ("abcdef.0123456789abcdef", "system:bootstrap:abcdef", "system:bootstrappers"),
        ("0ld", "jane", "dev"),
    ] {
        let (code, who) = bear(&api, token, Method::POST, SELF, json!({})).await;
        assert_eq!(code, 201, "{token}: {who}");
        assert_eq!(who["status"]["userInfo"]["username"], name);
        assert_eq!(who["status"]["userInfo"]["groups"][0], group);
        let elsewhere = review(&api, token, &["vault"]).await;
        assert!(elsewhere["authenticated"].is_null(), "{elsewhere}");
    }
    for token in ["abcdef.0123456789abcdeg", "new"] {
        assert_eq!(bear(&api, token, Method::POST, SELF, json!({})).await.0, 401, "{token}");
    }
}

#[tokio::test]
async fn rules_are_listed() {
    let api = Api::start().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let ask = json!({"spec": {"namespace": "default"}});
    let all = api.post(path, &ask).await.created()["status"].clone();
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    assert!(all["resourceRules"].as_array().unwrap().contains(&everything), "{all}");
    assert_eq!(all["incomplete"], false);
    let jane = api.acting(UserInfo::authenticated("jane", vec![]));
    let few = jane.post(path, &ask).await.created()["status"].clone();
    assert!(!few["resourceRules"].as_array().unwrap().contains(&everything));
    assert!(few["nonResourceRules"].as_array().unwrap().iter().any(|r| r["verbs"] == json!(["get"])));
    let of_node = api.acting(node("n")).post(path, &ask).await.created()["status"].clone();
    assert_eq!(of_node["incomplete"], true);
    let none = json!({"spec": {}});
    assert_eq!(api.post(path, &none).await.refused(400, "BadRequest"), "no namespace on request");
    api.post("/api/v1/namespaces/default/configmaps", &configmap("still-well")).await.created();
}
