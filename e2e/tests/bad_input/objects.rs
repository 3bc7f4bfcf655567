//! Bodies that can be read and are wrong.

use anyhow::{Context, Result, ensure};
use e2e::Plane;
use serde_json::{Value, json};

use crate::{config_map, deployment, expect, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub fn names(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let subdomain =
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'";
    for name in ["Upper", "under_score", "-dash", "dot.", "a b", "ü"] {
        let answer = api.post(MAPS, &config_map(name))?;
        let message =
            [format!("ConfigMap \"{name}\" is invalid: metadata.name: Invalid value: "), subdomain.into()];
        expect(name, &answer, 422, "Invalid", &[&message[0], &message[1]])?;
        ensure!(answer.text("/details/causes/0/field") == "metadata.name", "{answer:?}");
        ensure!(answer.text("/details/causes/0/reason") == "FieldValueInvalid", "{answer:?}");
    }
    let answer = api.post(MAPS, &config_map(&"x".repeat(254)))?;
    expect("254 characters", &answer, 422, "Invalid", &["must be no more than 253 characters"])?;
    let answer = api.post(MAPS, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}))?;
    expect("no name", &answer, 422, "Invalid", &["name or generateName is required"])?;
    let space = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let answer = api.post("/api/v1/namespaces", &space("a.b"))?;
    expect(
        "namespace",
        &answer,
        422,
        "Invalid",
        &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
    )?;
    let mut labels = config_map("labels");
    labels["metadata"]["labels"] = json!({"a b": "c", "d": "e f"});
    let answer = api.post(MAPS, &labels)?;
    expect("labels", &answer, 422, "Invalid", &["metadata.labels: Invalid value: \"a b\"", "\"e f\""])?;
    let mut elsewhere = config_map("elsewhere");
    elsewhere["metadata"]["namespace"] = "other".into();
    let answer = api.post(MAPS, &elsewhere)?;
    let said = "the namespace of the provided object does not match the namespace sent on the request";
    expect("another namespace", &answer, 400, "BadRequest", &[said])?;
    Ok(())
}

pub fn invalid(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let set = |mut object: Value, pointer: &str, value: Value| {
        let (parent, field) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(place) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            place.insert(field.to_owned(), value);
        }
        object
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    let table: Vec<(&str, &str, Value, &[&str])> = vec![
        (
            "no containers",
            PODS,
            set(pod("p"), "/spec/containers", json!([])),
            &["spec.containers: Required value"],
        ),
        (
            "no image",
            PODS,
            set(pod("p"), "/spec/containers/0/image", json!("")),
            &["spec.containers[0].image: Required value"],
        ),
        (
            "restart policy",
            PODS,
            set(pod("p"), "/spec/restartPolicy", json!("Sometimes")),
            &[
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        (
            "requests above limits",
            PODS,
            set(
                pod("p"),
                "/spec/containers/0/resources",
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            ),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            "mount of no volume",
            PODS,
            set(pod("p"), "/spec/containers/0/volumeMounts", json!([{"name": "v", "mountPath": "/v"}])),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
        (
            "selector that does not match",
            DEPLOYMENTS,
            set(deployment("d"), "/spec/selector", json!({"matchLabels": {"app": "other"}})),
            &["spec.template.metadata.labels: Invalid value", "`selector` does not match template `labels`"],
        ),
        (
            "negative replicas",
            DEPLOYMENTS,
            set(deployment("d"), "/spec/replicas", json!(-1)),
            &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "port too large",
            SERVICES,
            set(service.clone(), "/spec/ports", json!([{"port": 70000}])),
            &["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            "node port out of range",
            SERVICES,
            set(
                set(service.clone(), "/spec/type", json!("NodePort")),
                "/spec/ports",
                json!([{"port": 1, "nodePort": 1}]),
            ),
            &["spec.ports[0].nodePort: Invalid value: 1: provided port is not in the valid range"],
        ),
        (
            "type of service",
            SERVICES,
            set(service, "/spec/type", json!("Magic")),
            &["spec.type: Unsupported value: \"Magic\""],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, path, body, message) in table {
        if let Err(e) = expect(what, &api.post(path, &body)?, 422, "Invalid", message) {
            wrong.push(format!("{e:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

pub fn immutable(p: &Plane) -> Result<()> {
    let api = p.api()?;
    api.post(DEPLOYMENTS, &deployment("fixed"))?.success()?;
    let path = format!("{DEPLOYMENTS}/fixed");
    let both = json!({"spec": {"selector": {"matchLabels": {"app": "new"}},
        "template": {"metadata": {"labels": {"app": "new"}}}}});
    let answer = api.patch(&path, &both)?;
    expect("selector", &answer, 422, "Invalid", &["spec.selector: Invalid value", "field is immutable"])?;

    let mut map = config_map("frozen");
    map["immutable"] = true.into();
    api.post(MAPS, &map)?.success()?;
    let answer = api.patch(&format!("{MAPS}/frozen"), &json!({"data": {"a": "c"}}))?;
    let said = "data: Forbidden: field is immutable when `immutable` is set";
    expect("data of an immutable map", &answer, 422, "Invalid", &[said])?;

    api.post(PODS, &pod("fixed"))?.success()?;
    let answer = api.patch(&format!("{PODS}/fixed"), &json!({"spec": {"hostNetwork": true}}))?;
    expect(
        "pod",
        &answer,
        422,
        "Invalid",
        &["spec: Forbidden: pod updates may not change fields other than"],
    )?;

    let answer = api.patch(&path, &json!({"metadata": {"uid": "other"}}))?;
    expect("uid", &answer, 409, "Conflict", &[]).context("uid")?;
    let answer = api.patch(&path, &json!({"metadata": {"name": "other"}}))?;
    let said = "the name of the object (other) does not match the name on the URL (fixed)";
    expect("name", &answer, 400, "BadRequest", &[said])?;

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fixed"},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    api.post(SERVICES, &service)?.success()?;
    let ip = p.slot().service_cidr().replace(".0.0/16", ".9.9");
    let answer =
        api.patch(&format!("{SERVICES}/fixed"), &json!({"spec": {"clusterIP": ip, "clusterIPs": [ip]}}))?;
    expect("clusterIP", &answer, 422, "Invalid", &["may not change once set"])?;
    Ok(())
}

pub fn conflicts(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let made = api.post(MAPS, &config_map("contested"))?.success()?;
    let path = format!("{MAPS}/contested");
    let answer = api.post(MAPS, &config_map("contested"))?;
    expect("twice", &answer, 409, "AlreadyExists", &["configmaps \"contested\" already exists"])?;
    let mut first = made.body.clone();
    first["data"]["a"] = "first".into();
    api.put(&path, &first)?.success()?;
    let mut second = made.body.clone();
    second["data"]["a"] = "second".into();
    let said = "Operation cannot be fulfilled on configmaps \"contested\": the object has been modified; \
        please apply your changes to the latest version and try again";
    expect("a stale write", &api.put(&path, &second)?, 409, "Conflict", &[said])?;
    let mut unversioned = config_map("contested");
    unversioned["data"]["a"] = "third".into();
    ensure!(api.put(&path, &unversioned)?.status == 200, "a write without a version is unconditional");
    let options = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}).to_string();
    let answer = api.send("DELETE", &path, &[("content-type", "application/json")], options.into())?;
    expect("delete of another uid", &answer, 409, "Conflict", &["the UID in the precondition"])?;
    let mut versioned = config_map("versioned");
    versioned["metadata"]["resourceVersion"] = "5".into();
    let answer = api.post(MAPS, &versioned)?;
    let said = "resourceVersion should not be set on objects to be created";
    ensure!(answer.status >= 400 && answer.text("/message").contains(said), "{answer:?}");
    Ok(())
}

pub fn missing(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let answer = api.post("/api/v1/namespaces/nowhere/configmaps", &config_map("lost"))?;
    expect("namespace", &answer, 404, "NotFound", &["namespaces \"nowhere\" not found"])?;
    ensure!(
        answer.text("/details/kind") == "namespaces" && answer.text("/details/name") == "nowhere",
        "{answer:?}"
    );
    let answer = api.get(&format!("{MAPS}/nothing"))?;
    expect("object", &answer, 404, "NotFound", &["configmaps \"nothing\" not found"])?;
    let answer = api.get("/apis/apps/v1/namespaces/default/deployments/nothing")?;
    expect("deployment", &answer, 404, "NotFound", &["deployments.apps \"nothing\" not found"])?;
    let answer = api.delete(&format!("{MAPS}/nothing"))?;
    expect("delete", &answer, 404, "NotFound", &[])?;
    let answer = api.patch(&format!("{MAPS}/nothing"), &json!({"data": {}}))?;
    expect("patch", &answer, 404, "NotFound", &[])?;
    let mut nothing = config_map("nothing");
    nothing["metadata"]["resourceVersion"] = "5".into();
    let answer = api.put(&format!("{MAPS}/nothing"), &nothing)?;
    ensure!(answer.status == 404 || answer.status == 409, "update: {answer:?}");
    for path in ["/api/v1/namespaces/default/nothings", "/apis/nothing.example/v1/things", "/nothing"] {
        let answer = api.get(path)?;
        ensure!(answer.status == 404, "{path}: {answer:?}");
    }
    let answer = api.send("PUT", MAPS, &[("content-type", "application/json")], b"{}".into())?;
    expect("a verb that is not there", &answer, 405, "MethodNotAllowed", &[])?;
    let empty = api.get("/api/v1/namespaces/nowhere/configmaps")?.success()?;
    ensure!(empty.body["items"] == json!([]), "a list in no namespace is empty: {empty:?}");
    Ok(())
}
