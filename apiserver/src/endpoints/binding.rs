//! `pods/binding`: the scheduler's word. Older schedulers post it to `bindings`, where it names the pod itself.

use api_types::field::{ErrorList, Path};
use api_types::meta::{self, str_at};
use api_types::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use super::Call;
use super::respond::{self, Answer};
use crate::registry::{Owners, Part, UpdateOptions, Write};
use crate::request::body;

/// The older place of a binding.
pub const PLURAL: &str = "bindings";

/// POST to `bindings`.
pub async fn bind_named_in_body(call: Call<'_>) -> Answer {
    let info = call.info;
    if info.verb != "create" || info.namespace.is_empty() {
        return Err(Status::method_not_allowed());
    }
    if !info.name.is_empty() || !info.subresource.is_empty() {
        return Err(Status::no_such_path());
    }
    bind(call).await
}

pub async fn bind(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    // The node of a pod has no owner: nobody could ever change it.
    let write = Write { owners: Owners::Kept, subresource: "binding", ..call.write()? };
    let bytes = body::read(call.take_body()).await?;
    let binding = body::parse(&bytes, media)
        .map_err(|e| {
            Status::bad_request(format!("the object provided is unrecognized (must be of type Binding): {e}"))
        })?
        .value;
    let namespace = &call.info.namespace;
    let name = if call.info.name.is_empty() { meta::name(&binding) } else { call.info.name.as_str() };
    if name.is_empty() {
        let mut errors = ErrorList::new();
        errors.required(&Path::new("metadata").child("name"), "name or generateName is required");
        return Err(Status::invalid("", "Binding", "", &errors));
    }
    if !meta::namespace(&binding).is_empty() && meta::namespace(&binding) != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let node = checked_target(&binding, name)?;
    let options = UpdateOptions { create: false, retry: true, part: Part::Prepared };
    call.registry()
        .update(call.kind, namespace, name, options, &write, |current| {
            let current = current.ok_or_else(|| Status::not_found("", "pods", name))?;
            bound(current, &binding, &node)
        })
        .await?;
    let answer =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::json(StatusCode::CREATED, &answer))
}

fn checked_target(binding: &Value, name: &str) -> Result<String, Status> {
    let mut errors = ErrorList::new();
    let kind = str_at(binding, &["target", "kind"]);
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&Path::new("target").child("kind"), kind, &["Node", "<empty>"]);
    }
    let node = str_at(binding, &["target", "name"]);
    if node.is_empty() {
        errors.required(&Path::new("target").child("name"), "");
    }
    let own = meta::name(binding);
    if !own.is_empty() && own != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    if errors.is_empty() { Ok(node.to_owned()) } else { Err(Status::invalid("", "Binding", name, &errors)) }
}

fn bound(pod: &Value, binding: &Value, node: &str) -> Result<Value, Status> {
    let name = meta::name(pod);
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", name, &why));
    let uid = meta::uid(binding);
    if !uid.is_empty() && uid != meta::uid(pod) {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::uid(pod)
        ));
    }
    if meta::is_deleting(pod) {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let already = str_at(pod, &["spec", "nodeName"]);
    if !already.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {already:?}"));
    }
    if meta::at(pod, &["spec", "schedulingGates"]).and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut new = pod.clone();
    new["spec"]["nodeName"] = node.into();
    set_scheduled(&mut new);
    Ok(new)
}

fn set_scheduled(pod: &mut Value) {
    let mut conditions =
        meta::at(pod, &["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|c| str_at(c, &["type"]) != "PodScheduled");
    let generation = meta::generation(pod);
    conditions.push(json!({"type": "PodScheduled", "status": "True", "observedGeneration": generation,
        "lastProbeTime": null, "lastTransitionTime": meta::now()}));
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    pod["status"]["conditions"] = conditions.into();
}
