//! `pods/ephemeralcontainers`: containers added to a running pod, which is how `kubectl debug` looks inside.
//!
//! Nothing else of the pod changes through it, and what was added stays.

use api_types::apply::managers;
use api_types::field::{ErrorList, Path};
use api_types::json::Parsed;
use api_types::kinds::{pod_defaults, pod_spec};
use api_types::meta;
use api_types::schema::Table;
use api_types::status::Status;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Call;
use super::apply::{self, Configuration};
use super::patch::{Language, Patch};
use super::respond::{self, Answer};
use super::update::check_name;
use crate::registry::{Owners, Part, UpdateOptions};
use crate::request::body;
use crate::request::query::FieldValidation;

/// Marks the pods that a node runs from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
const NOT_HERE: &str = "cannot be set for an Ephemeral Container";
const FORBIDDEN: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Makes what was sent of the current pod.
type Change = Box<dyn Fn(&Value) -> Result<Value, Status> + Send + Sync>;

pub async fn change(call: Call<'_>) -> Answer {
    let (mut write, validation) = (call.write()?, FieldValidation::of(&call.query));
    let (kind, name) = (call.kind, &call.info.name);
    let change: Change = if *call.method() == Method::PATCH {
        if apply::is_apply(call.content_type()) {
            let configuration = Configuration::read(&call).await?;
            write.owners = Owners::Given;
            Box::new(move |current| configuration.apply(kind, "ephemeralcontainers", Some(current)))
        } else {
            let language = Language::of(call.content_type())?;
            let patch = Patch::read(language, &body::read(call.take_body()).await?)?;
            Box::new(move |current| {
                let mut object = current.clone();
                respond::present(kind, &mut object);
                patch.apply(&mut object, Table::builtin().find(kind.type_name))?;
                let parsed = Parsed { value: object, duplicates: Vec::new() };
                body::normalize(parsed, kind, validation, patch.reader()).map(|d| d.object)
            })
        }
    } else {
        let media = body::media(call.content_type())?;
        let bytes = body::read(call.take_body()).await?;
        let sent = body::decode(&bytes, media, kind, validation)?.object;
        check_name(&sent, name)?;
        Box::new(move |_| Ok(sent.clone()))
    };
    let options =
        UpdateOptions { create: false, retry: *call.method() == Method::PATCH, part: Part::Prepared };
    let (stored, _) = call
        .registry()
        .update(kind, &call.info.namespace, name, options, &write, |current| {
            let current = current.ok_or_else(|| Status::not_found("", "pods", name))?;
            let sent = change(current)?;
            let mut new = with_containers(current, &sent)?;
            if write.owners == Owners::Given {
                managers::set(&mut new, managers::of(&sent).map(|l| l.to_vec().into()));
            }
            Ok(new)
        })
        .await?;
    Ok(respond::object(StatusCode::OK, kind, stored, call.form))
}

fn list(pod: &Value) -> Vec<Value> {
    meta::at(pod, &["spec", "ephemeralContainers"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The current pod with the ephemeral containers of `sent`.
fn with_containers(current: &Value, sent: &Value) -> Result<Value, Status> {
    let mut new = current.clone();
    let asked = meta::resource_version(sent);
    if !asked.is_empty() {
        meta::metadata_mut(&mut new).insert("resourceVersion".into(), asked.into());
    }
    new["spec"]["ephemeralContainers"] = list(sent).into();
    if let Some(spec) = new["spec"].as_object_mut() {
        pod_defaults::pod_spec(spec);
    }
    let (before, after) = (list(current), list(&new));
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("ephemeralContainers");
    if meta::at(current, &["metadata", "annotations", MIRROR]).is_some() {
        errors.forbidden(&Path::new(""), "static pods do not support ephemeral containers");
        return Err(Status::invalid("", "Pod", meta::name(current), &errors));
    }
    validate(&new, &after, &path, &mut errors);
    for old in &before {
        let name = meta::str_at(old, &["name"]);
        match after.iter().find(|c| meta::str_at(c, &["name"]) == name) {
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.forbidden(&path, why);
            }
            Some(now) if now != old => {
                let why = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.forbidden(&path, why);
            }
            Some(_) => {}
        }
    }
    if errors.is_empty() { Ok(new) } else { Err(Status::invalid("", "Pod", meta::name(current), &errors)) }
}

/// An ephemeral container must be a valid container beside the others, and nothing that the pod relies on.
fn validate(pod: &Value, containers: &[Value], path: &Path, errors: &mut ErrorList) {
    let named = |field: &str, name: &str| {
        let all = meta::at(pod, &["spec", field]).and_then(Value::as_array);
        all.into_iter().flatten().any(|c| meta::str_at(c, &["name"]) == name)
    };
    judge(pod, containers, path, errors);
    for (i, c) in containers.iter().enumerate() {
        let (image, target) = (meta::str_at(c, &["image"]), meta::str_at(c, &["targetContainerName"]));
        if image.trim() != image {
            let why = "must not have leading or trailing whitespace";
            errors.invalid(&path.index(i).child("image"), image, why);
        }
        if !target.is_empty() && !named("containers", target) && !named("initContainers", target) {
            errors.not_found(&path.index(i).child("targetContainerName"), target);
        }
        let empty = |v: &Value| v.is_null() || v.as_object().is_some_and(serde_json::Map::is_empty);
        for field in FORBIDDEN.iter().filter(|f| c.get(**f).is_some_and(|v| !empty(v))) {
            errors.forbidden(&path.index(i).child(field), NOT_HERE);
        }
        let mounts = c.get("volumeMounts").and_then(Value::as_array);
        for (j, m) in mounts.into_iter().flatten().enumerate() {
            for field in ["subPath", "subPathExpr"].iter().filter(|f| !meta::str_at(m, &[f]).is_empty()) {
                errors.forbidden(&path.index(i).child("volumeMounts").index(j).child(field), NOT_HERE);
            }
        }
    }
}

fn judge(pod: &Value, containers: &[Value], path: &Path, errors: &mut ErrorList) {
    // Judged as one more ordinary container: names, images, mounts.
    let mut spec = pod["spec"].clone();
    let own = spec["containers"].as_array().map_or(0, Vec::len);
    if let Some(all) = spec["containers"].as_array_mut() {
        all.extend(containers.iter().cloned().map(|mut c| {
            if let Value::Object(m) = &mut c {
                for field in FORBIDDEN.iter().chain(&["targetContainerName"]) {
                    m.remove(*field);
                }
            }
            c
        }));
    }
    spec["ephemeralContainers"] = json!([]);
    let mut found = ErrorList::new();
    pod_spec::validate(&spec, &Path::new("spec"), &mut found);
    for mut e in found.0 {
        for i in 0..containers.len() {
            let from = format!("spec.containers[{}]", own + i);
            if let Some(rest) = e.field.strip_prefix(&from) {
                e.field = format!("{}{rest}", path.index(i));
                errors.0.push(e);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ephemeral: Value) -> Value {
        json!({"metadata": {"name": "p", "resourceVersion": "5"},
            "spec": {"containers": [{"name": "a", "image": "i", "imagePullPolicy": "Never",
                "terminationMessagePolicy": "File"}], "restartPolicy": "Always", "dnsPolicy": "Default",
                "ephemeralContainers": ephemeral}})
    }

    #[test]
    fn containers_are_added_and_stay() {
        let one = with_containers(&pod(json!([])), &pod(json!([{"name": "d", "image": "x"}]))).unwrap();
        assert_eq!(one["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
        assert_eq!(one["spec"]["containers"].as_array().unwrap().len(), 1);
        let e = with_containers(&one, &pod(json!([]))).unwrap_err();
        assert!(e.message.ends_with("existing ephemeral containers \"d\" may not be removed\n"), "{e}");
        let other = with_containers(&one, &pod(json!([{"name": "d", "image": "y"}]))).unwrap_err();
        assert!(
            other.message.ends_with("existing ephemeral containers \"d\" may not be changed\n"),
            "{other}"
        );
    }

    #[test]
    fn they_are_judged_like_containers() {
        let e = with_containers(&pod(json!([])), &pod(json!([{"name": "a"}]))).unwrap_err();
        assert!(e.message.contains("spec.ephemeralContainers[0].name: Duplicate value"), "{e}");
        assert!(e.message.contains("spec.ephemeralContainers[0].image: Required value"), "{e}");
        for (extra, want) in [
            (
                json!({"livenessProbe": {"exec": {}}}),
                "livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
            ),
            (
                json!({"resources": {"limits": {"cpu": "1"}}}),
                "resources: Forbidden: cannot be set for an Ephemeral Container",
            ),
            (
                json!({"restartPolicy": "Always"}),
                "restartPolicy: Forbidden: cannot be set for an Ephemeral Container",
            ),
            (json!({"targetContainerName": "b"}), "targetContainerName: Not found: \"b\""),
            (
                json!({"image": " x"}),
                "image: Invalid value: \" x\": must not have leading or trailing whitespace",
            ),
        ] {
            let mut container = json!({"name": "d", "image": "x"});
            for (k, v) in extra.as_object().unwrap() {
                container[k] = v.clone();
            }
            let e = with_containers(&pod(json!([])), &pod(json!([container]))).unwrap_err();
            let want = format!("Pod \"p\" is invalid: spec.ephemeralContainers[0].{want}");
            assert_eq!(e.message, want);
        }
        let mut fixed = pod(json!([]));
        fixed["metadata"]["annotations"] = json!({MIRROR: "x"});
        let e = with_containers(&fixed, &pod(json!([{"name": "d", "image": "x"}]))).unwrap_err();
        assert!(e.message.contains("Forbidden: static pods do not support ephemeral containers"), "{e}");
    }
}
