//! Pods that a node agent writes: mirrors of its own files, which refer to nothing, and the status of pods it runs.

use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::status::Status;
use serde_json::Value;

use super::{Attributes, Operation};
use crate::registry::Registry;

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn own_pod(registry: &Registry, a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let bound_here = |pod: &Value| str_at(pod, &["spec", "nodeName"]) == node;
    let refuse = |why: &str| Err(a.forbidden(&format!("node {node:?} {why}")));
    match (a.operation, a.subresource) {
        (Operation::Create, "") => mirror(registry, a, node),
        (Operation::Create | Operation::Delete, "eviction") if a.old.is_some_and(bound_here) => Ok(()),
        (Operation::Create | Operation::Delete, "eviction") => {
            Err(a.forbidden(&format!("node {node} can only evict pods with spec.nodeName set to itself")))
        }
        (Operation::Delete, _) if a.old.is_some_and(bound_here) => Ok(()),
        (Operation::Delete, _) => refuse("can only delete pods with spec.nodeName set to itself"),
        (Operation::Update, "status") if !a.old.is_some_and(bound_here) => {
            refuse("can only update pod status for pods with spec.nodeName set to itself")
        }
        (Operation::Update, "status") if a.old.map(meta::labels) != Some(meta::labels(a.object)) => {
            refuse("cannot update labels through pod status")
        }
        (Operation::Update, "status") if differ(a, claim_statuses) => {
            refuse("cannot update resource claim statues")
        }
        (Operation::Update, "status") if differ(a, extended_claim) => {
            refuse("cannot update extended resource claim status")
        }
        (Operation::Update, "status") => Ok(()),
        (operation, "status") => Err(a.forbidden(&format!("unexpected operation {:?}", operation.name()))),
        (Operation::Update, "") => Err(a.forbidden(&format!(
            "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
        ))),
        (_, other) => Err(a.forbidden(&format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        ))),
    }
}

/// Whether a part of the pod differs from what it was.
fn differ<T: PartialEq>(a: &Attributes<'_>, part: impl Fn(&Value) -> T) -> bool {
    a.old.is_some_and(|old| part(old) != part(a.object))
}

/// The claims made for the pod: by them a node gets at claims.
fn claim_statuses(pod: &Value) -> Vec<(String, Option<String>)> {
    let all = meta::at(pod, &["status", "resourceClaimStatuses"]).and_then(Value::as_array);
    let claim = |s: &Value| s.get("resourceClaimName").and_then(Value::as_str).map(str::to_owned);
    all.into_iter().flatten().map(|s| (str_at(s, &["name"]).to_owned(), claim(s))).collect()
}

fn extended_claim(pod: &Value) -> Option<Value> {
    meta::at(pod, &["status", "extendedResourceClaimStatus"]).filter(|v| !v.is_null()).cloned()
}

fn mirror(registry: &Registry, a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let refuse = |why: &str| Err(a.forbidden(&format!("node {node:?} {why}")));
    let pod = &*a.object;
    if meta::at(pod, &["metadata", "annotations", MIRROR]).is_none() {
        return Err(a.forbidden(&format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        )));
    }
    if str_at(pod, &["spec", "nodeName"]) != node {
        return refuse("can only create pods with spec.nodeName set to itself");
    }
    let owners = meta::at(pod, &["metadata", "ownerReferences"]).and_then(Value::as_array);
    let owner = match owners.map_or(&[][..], Vec::as_slice) {
        [one] => one,
        [] => return refuse("can only create pods with an owner reference set to itself"),
        _ => return refuse("can only create pods with a single owner reference set to itself"),
    };
    let is = |field: &str, value: &str| str_at(owner, &[field]) == value;
    if !is("apiVersion", "v1") || !is("kind", "Node") || !is("name", node) {
        return refuse("can only create pods with an owner reference set to itself");
    }
    if owner.get("controller") != Some(&Value::Bool(true)) {
        return refuse("can only create pods with a controller owner reference set to itself");
    }
    if owner.get("blockOwnerDeletion") == Some(&Value::Bool(true)) {
        return refuse("must not set blockOwnerDeletion on an owner reference");
    }
    let kind = catalog::by_resource("", "v1", "nodes");
    let Some(found) = kind.and_then(|kind| registry.peek(kind, "", node)) else {
        return Err(Status::not_found("", "nodes", node));
    };
    let uid = str_at(owner, &["uid"]);
    if uid != found.uid() {
        return Err(a.forbidden(&format!("node {node} UID mismatch: expected {uid} got {}", found.uid())));
    }
    match referred(pod) {
        Ok(Some(what)) => refuse(&format!("can not create pods that reference {what}")),
        Ok(None) => Ok(()),
        Err(why) => Err(a.forbidden(&format!("error checking mirror pod for API references: {why}"))),
    }
}

fn list<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    meta::at(pod, &["spec", field]).and_then(Value::as_array).into_iter().flatten()
}

/// The volumes of a pod, and what is projected into them.
fn sources(pod: &Value) -> impl Iterator<Item = &Value> {
    let projected = list(pod, "volumes").filter_map(|v| meta::at(v, &["projected", "sources"])?.as_array());
    list(pod, "volumes").chain(projected.flatten())
}

/// Whether a container has its environment from one of these.
fn environments(pod: &Value, names: [&str; 2]) -> bool {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    lists.into_iter().flat_map(|l| list(pod, l)).any(|c| {
        let entries = |f: &str| c.get(f).and_then(Value::as_array).into_iter().flatten();
        entries("env").any(|e| meta::at(e, &["valueFrom", names[0]]).is_some())
            || entries("envFrom").any(|e| e.get(names[1]).is_some())
    })
}

/// Whether a pod refers to secrets, in any of the ways there are.
pub fn refers_to_secrets(pod: &Value) -> bool {
    // Drivers name the secrets they need in different fields of their own.
    let secret_of_driver = |v: &Value| {
        let drivers = v.as_object().into_iter().flatten().filter_map(|(_, driver)| driver.as_object());
        drivers
            .flatten()
            .any(|(field, _)| ["secretRef", "secretName", "nodePublishSecretRef"].contains(&field.as_str()))
    };
    list(pod, "imagePullSecrets").next().is_some()
        || sources(pod).any(|s| s.get("secret").is_some() || secret_of_driver(s))
        || environments(pod, ["secretKeyRef", "secretRef"])
}

/// What a pod refers to besides its node: by a mirror a node would get at it.
fn referred(pod: &Value) -> Result<Option<&'static str>, String> {
    if !str_at(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Ok(Some("serviceaccounts"));
    }
    if refers_to_secrets(pod) {
        return Ok(Some("secrets"));
    }
    if sources(pod).any(|s| s.get("configMap").is_some())
        || environments(pod, ["configMapKeyRef", "configMapRef"])
    {
        return Ok(Some("configmaps"));
    }
    if list(pod, "resourceClaims").next().is_some() {
        return Ok(Some("resourceclaims"));
    }
    for volume in list(pod, "volumes") {
        if let Some(what) = by_volume(volume)? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Volumes that need nothing of the API.
const ALONE: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// Volumes that need something of the API, and what.
const NEEDY: [(&str, &str); 6] = [
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
    ("secret", "secrets (via secret volumes)"),
];

fn by_volume(volume: &Value) -> Result<Option<&'static str>, String> {
    let is = |field: &str| volume.get(field).is_some_and(Value::is_object);
    if ALONE.iter().any(|field| is(field)) {
        return Ok(None);
    }
    if let Some((_, what)) = NEEDY.iter().find(|(field, _)| is(field)) {
        return Ok(Some(*what));
    }
    let name = str_at(volume, &["name"]);
    if !is("projected") {
        return Err(format!("unknown volume type for volume  {name:?}"));
    }
    for source in meta::at(volume, &["projected", "sources"]).and_then(Value::as_array).into_iter().flatten()
    {
        let is = |field: &str| source.get(field).is_some_and(Value::is_object);
        return Ok(Some(match source {
            _ if is("serviceAccountToken") => "serviceaccounts (via projected volumes)",
            _ if is("clusterTrustBundle") => "clustertrustbundles",
            _ if is("podCertificate") => "podcertificates",
            _ if is("downwardAPI") => continue,
            _ => return Err(format!("unknown source for projected volume {name:?}")),
        }));
    }
    Ok(None)
}
