//! Every pod runs as a service account, which must be there, and finds its token in a projected volume. An account may
//! insist that its pods use the secrets it lists and no others.

use std::sync::Arc;

use api_types::catalog;
use api_types::meta::{self, default_to, object_mut};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::node_restriction::refers_to_secrets;
use super::{Attributes, Operation, Plugin, Rounds, mountable_secrets};
use crate::cache::CachedObject;
use crate::registry::read::Freshness;
use crate::registry::{Registry, names, parsed};

pub struct ServiceAccount;

/// Pods with this annotation mirror a file on a node and have no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Both
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation != Operation::Create || !a.is_core("pods") {
            return Ok(());
        }
        if is_mirror(a.object) {
            return judge_mirror(a);
        }
        let Value::Object(root) = &mut *a.object else { return Ok(()) };
        let spec = object_mut(root, "spec");
        if spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("").is_empty() {
            spec.insert("serviceAccountName".into(), "default".into());
        }
        let name = spec["serviceAccountName"].as_str().unwrap_or("default").to_owned();
        spec.insert("serviceAccount".into(), name.into());
        let account = account(registry, a).await?;
        let account = parsed(&account)?;
        if mounts_token(a.object, account) {
            mount_token(a.object);
        }
        if let Some(secrets) = account.get("imagePullSecrets")
            && secrets.as_array().is_some_and(|s| !s.is_empty())
            && let Some(Value::Object(spec)) = a.object.get_mut("spec")
        {
            default_to(spec, "imagePullSecrets", secrets.clone());
        }
        judge(a, account)
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !a.kind.group.is_empty() || a.kind.plural != "pods" {
            return Ok(());
        }
        match (a.operation, a.subresource) {
            (Operation::Create, "") if is_mirror(a.object) => judge_mirror(a),
            (Operation::Create, "") => judge(a, parsed(&*account(registry, a).await?)?),
            (Operation::Update, "ephemeralcontainers") => {
                let account = account(registry, a).await?;
                let account = parsed(&account)?;
                if !mountable_secrets::is_enforced(account) {
                    return Ok(());
                }
                mountable_secrets::ephemeral_refusal(account, a.object)
                    .map_or(Ok(()), |why| Err(a.forbidden(&why)))
            }
            _ => Ok(()),
        }
    }
}

fn is_mirror(pod: &Value) -> bool {
    meta::at(pod, &["metadata", "annotations", MIRROR]).is_some()
}

/// A mirror gives its node nothing that it has not got.
fn judge_mirror(a: &Attributes<'_>) -> Result<(), Status> {
    if !meta::str_at(a.object, &["spec", "serviceAccountName"]).is_empty() {
        return Err(a.forbidden("a mirror pod may not reference service accounts"));
    }
    if refers_to_secrets(a.object) {
        return Err(a.forbidden("a mirror pod may not reference secrets"));
    }
    let volumes = meta::at(a.object, &["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten();
    let projected = volumes.filter_map(|v| meta::at(v, &["projected", "sources"])?.as_array()).flatten();
    if projected.into_iter().any(|source| source.get("serviceAccountToken").is_some()) {
        return Err(a.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

fn judge(a: &Attributes<'_>, account: &Value) -> Result<(), Status> {
    if !mountable_secrets::is_enforced(account) {
        return Ok(());
    }
    mountable_secrets::refusal(account, a.object).map_or(Ok(()), |why| Err(a.forbidden(&why)))
}

/// The account that the pod runs as.
async fn account(registry: &Registry, a: &Attributes<'_>) -> Result<Arc<CachedObject>, Status> {
    let name = meta::str_at(a.object, &["spec", "serviceAccountName"]);
    let kind = catalog::by_resource("", "v1", "serviceaccounts")
        .ok_or_else(|| Status::internal("serviceaccounts are not served"))?;
    match registry.peek(kind, &a.namespace, name) {
        Some(found) => Ok(found),
        None => registry.get(kind, &a.namespace, name, Freshness::Consistent).await.map_err(|e| {
            // Upstream's lister names the resource in the singular.
            let why = match e.reason {
                "NotFound" => format!("serviceaccount {name:?} not found"),
                _ => e.message,
            };
            a.forbidden(&format!("error looking up service account {}/{name}: {why}", a.namespace))
        }),
    }
}

/// Where programs look for the token, the CA's certificate and the namespace.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the volume's name begins with.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and seven seconds: by it the API server knows tokens of these volumes.
const TOKEN_SECONDS: i64 = 3607;

/// The pod decides, then its account; the default is yes.
fn mounts_token(pod: &Value, account: &Value) -> bool {
    let of_pod = meta::at(pod, &["spec", "automountServiceAccountToken"]).and_then(Value::as_bool);
    let of_account = account.get("automountServiceAccountToken").and_then(Value::as_bool);
    of_pod.or(of_account).unwrap_or(true)
}

/// Mounts the volume into every container that has nothing at its path.
fn mount_token(pod: &mut Value) {
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let names = volumes.into_iter().flatten().filter_map(|v| v.get("name")?.as_str());
    let existing = names.clone().find(|n| n.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let is_new = existing.is_none();
    let name = existing.unwrap_or_else(|| names::generate(VOLUME_PREFIX));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|m| m.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH)) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            mounted = true;
        }
    }
    if mounted && is_new {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(volume(&name));
        }
    }
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}
