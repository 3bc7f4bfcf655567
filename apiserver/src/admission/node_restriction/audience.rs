//! The audiences a node may ask tokens for: those that a pod's volumes need, and those it was given by a rule.

use api_types::catalog;
use api_types::meta::{self, str_at};
use serde_json::Value;

use super::super::Attributes;
use crate::authz::{self, Authorization, Authorizer};
use crate::registry::{Registry, parse_stored};

/// Volumes of Kubernetes' own that drivers have taken over.
const MIGRATED: [(&str, &str); 7] = [
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("portworxVolume", "pxd.portworx.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
];

/// What speaks against the audiences asked for.
pub(super) fn judge(
    registry: &Registry,
    authorization: &Authorization,
    a: &Attributes<'_>,
    pod: &Value,
) -> Result<(), String> {
    let asked = meta::at(a.object, &["spec", "audiences"]).and_then(Value::as_array);
    let audience = match asked.map_or(&[][..], Vec::as_slice) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err("node may only request 0 or 1 audiences".into()),
    };
    if is_named(registry, pod, audience)
        .map_err(|e| format!("error validating audience {audience:?}: {e}"))?
    {
        return Ok(());
    }
    let verb = "request-serviceaccounts-token-audience";
    let attributes = authz::Attributes::resource(a.user, verb, "", "v1", audience)
        .in_namespace(&a.namespace)
        .named(&a.name);
    if authorization.authorize(&attributes).is_allowed() {
        return Ok(());
    }
    Err(format!(
        "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        a.user.name
    ))
}

/// Whether a volume of the pod needs tokens for the audience. What could not be looked up counts only when none does.
fn is_named(registry: &Registry, pod: &Value, audience: &str) -> Result<bool, String> {
    let mut errors = Vec::new();
    for volume in list(pod, &["spec", "volumes"]) {
        let mut sources = list(volume, &["projected", "sources"]);
        let named = |s: &Value| {
            s.get("serviceAccountToken").is_some_and(Value::is_object)
                && str_at(s, &["serviceAccountToken", "audience"]) == audience
        };
        if sources.any(named) {
            return Ok(true);
        }
        let drives = |driver: Option<String>| match driver.filter(|d| !d.is_empty()) {
            Some(driver) => has_audience(registry, &driver, audience),
            None => Ok(false),
        };
        match driver(registry, pod, volume).and_then(drives) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(e) => errors.push(e),
        }
    }
    errors.dedup();
    match errors.as_slice() {
        [] => Ok(false),
        [one] => Err(one.clone()),
        more => Err(format!("[{}]", more.join(", "))),
    }
}

/// The driver behind a volume.
fn driver(registry: &Registry, pod: &Value, volume: &Value) -> Result<Option<String>, String> {
    let namespace = meta::namespace(pod);
    let is_set = |field: &str| volume.get(field).is_some_and(Value::is_object);
    if meta::at(volume, &["ephemeral", "volumeClaimTemplate"]).is_some_and(Value::is_object) {
        let claim = format!("{}-{}", meta::name(pod), str_at(volume, &["name"]));
        return behind_claim(registry, namespace, &claim);
    }
    if is_set("persistentVolumeClaim") {
        let claim = str_at(volume, &["persistentVolumeClaim", "claimName"]);
        return behind_claim(registry, namespace, claim);
    }
    if is_set("csi") {
        return Ok(Some(str_at(volume, &["csi", "driver"]).to_owned()));
    }
    Ok(migrated(volume))
}

fn migrated(source: &Value) -> Option<String> {
    let is_set = |field: &str| source.get(field).is_some_and(Value::is_object);
    MIGRATED.iter().find(|(field, _)| is_set(field)).map(|(_, driver)| (*driver).to_owned())
}

fn behind_claim(registry: &Registry, namespace: &str, claim: &str) -> Result<Option<String>, String> {
    let claim = found(registry, ("", "persistentvolumeclaims"), namespace, claim)?;
    let volume = found(registry, ("", "persistentvolumes"), "", str_at(&claim, &["spec", "volumeName"]))?;
    let spec = volume.get("spec").unwrap_or(&Value::Null);
    match spec.get("csi").filter(|csi| csi.is_object()) {
        Some(csi) => Ok(Some(str_at(csi, &["driver"]).to_owned())),
        None => Ok(migrated(spec)),
    }
}

fn has_audience(registry: &Registry, driver: &str, audience: &str) -> Result<bool, String> {
    let driver = found(registry, ("storage.k8s.io", "csidrivers"), "", driver)?;
    let mut requests = list(&driver, &["spec", "tokenRequests"]);
    Ok(requests.any(|r| str_at(r, &["audience"]) == audience))
}

fn found(
    registry: &Registry,
    (group, plural): (&str, &str),
    namespace: &str,
    name: &str,
) -> Result<Value, String> {
    let kind = catalog::by_resource(group, "v1", plural);
    let missing = || {
        let (one, dot) = (plural.trim_end_matches('s'), if group.is_empty() { "" } else { "." });
        format!("{one}{dot}{group} {name:?} not found")
    };
    let object = kind.and_then(|kind| registry.peek(kind, namespace, name)).ok_or_else(missing)?;
    parse_stored(&object.bytes).map_err(|s| s.message)
}

fn list<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    meta::at(value, path).and_then(Value::as_array).into_iter().flatten()
}
