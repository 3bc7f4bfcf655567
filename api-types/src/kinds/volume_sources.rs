//! Validation of what volumes are made of: the sources that pods and persistent volumes share, and the small
//! differences between their two forms (`pkg/apis/core/validation/validation.go`).

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::fields::{self, entries, flag, int, list, required, set, set_text, text};
use crate::field::{ErrorList, Path};
use crate::names;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const PARTITION: &str = "must be between 1 and 255, inclusive";
const LUN: &str = "must be between 0 and 255, inclusive";
const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
const TOO_LONG_FOR_ISCSI: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
const MANAGED_DISK: &str =
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
const BLOB_DISK: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";

/// Names of iSCSI: (prefix, their form).
static ISCSI: LazyLock<Vec<(&str, Option<Regex>)>> = LazyLock::new(|| {
    [
        ("iqn", r"iqn\.\d{4}-\d{2}\.([[:alnum:]\-.]+)(:[^,;*&$|\s]+)$"),
        ("eui", r"^eui.[[:alnum:]]{16}$"),
        ("naa", r"^naa.[[:alnum:]]{32}$"),
    ]
    .map(|(prefix, form)| (prefix, Regex::new(form).ok()))
    .into()
});

/// Whose source it is: the texts and the secrets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A pod's volume.
    Pod,
    /// A persistent volume of this name.
    Persistent(&'a str),
}

/// Reasons to refuse the source in `field`, `path` being its place in errors.
pub fn validate(field: &str, s: &Value, owner: Owner<'_>, path: &Path, errors: &mut ErrorList) {
    let mut need = |names: &[&str]| {
        for name in names {
            if text(s, name).is_empty() && list(s, name).is_empty() {
                errors.required(&path.child(name), "");
            }
        }
    };
    match field {
        "hostPath" => host_path(s, path, errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            need(&[if field == "gcePersistentDisk" { "pdName" } else { "volumeID" }]);
            if !(0..=255).contains(&int(s, "partition")) {
                errors.invalid(&path.child("partition"), int(s, "partition"), PARTITION);
            }
        }
        "glusterfs" => {
            need(&["endpoints", "path"]);
            endpoints_namespace(s, path, errors);
        }
        "flocker" => flocker(s, path, errors),
        "nfs" => {
            need(&["server", "path"]);
            if !text(s, "path").starts_with('/') {
                errors.invalid(&path.child("path"), text(s, "path"), "must be an absolute path");
            }
        }
        "rbd" => need(&["monitors", "image"]),
        "quobyte" => quobyte(s, path, errors),
        "cephfs" => need(&["monitors"]),
        "iscsi" => iscsi(s, owner, path, errors),
        "cinder" => {
            need(&["volumeID"]);
            secret(s, "secretRef", owner, path, errors);
        }
        "fc" => fibre_channel(s, path, errors),
        "flexVolume" => {
            need(&["driver"]);
            flex_options(s, path, errors);
        }
        "azureFile" => {
            need(&["secretName", "shareName"]);
            if owner != Owner::Pod && set_text(s, "secretNamespace") == Some("") {
                errors.required(&path.child("secretNamespace"), "");
            }
        }
        "azureDisk" => {
            need(&["diskName", "diskURI"]);
            azure_disk(s, path, errors);
        }
        "vsphereVolume" => need(&["volumePath"]),
        "photonPersistentDisk" => need(&["pdID"]),
        "portworxVolume" => need(&["volumeID"]),
        "scaleIO" => need(&["gateway", "system", "volumeName"]),
        "local" => local(s, path, errors),
        "storageos" => {
            if let Some(name) = required(s, "volumeName", path, errors) {
                errors.invalid_all(&path.child("volumeName"), name, names::dns1123_label(name));
            }
            let namespace = text(s, "volumeNamespace");
            if !namespace.is_empty() {
                let at = path.child("volumeNamespace");
                errors.invalid_all(&at, namespace, names::dns1123_label(namespace));
            }
            secret(s, "secretRef", owner, path, errors);
        }
        _ => {}
    }
}

/// Refuses a path with a step back.
pub fn no_backsteps(place: &str, path: &Path, errors: &mut ErrorList) {
    if place.split('/').any(|p| p == "..") {
        errors.invalid(path, place, "must not contain '..'");
    }
}

/// Refuses a path that is not below where it begins.
pub fn descending(place: &str, path: &Path, errors: &mut ErrorList) {
    if place.starts_with('/') {
        errors.invalid(path, place, "must be a relative path");
    }
    no_backsteps(place, path, errors);
}

/// The same, and names that are the node agent's own.
pub fn local_path(place: &str, path: &Path, errors: &mut ErrorList) {
    descending(place, path, errors);
    if place.starts_with("..") && !place.starts_with("../") {
        errors.invalid(path, place, "must not start with '..'");
    }
}

fn host_path(s: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(place) = required(s, "path", path, errors) {
        no_backsteps(place, &path.child("path"), errors);
        fields::word(s, "type", &HOST_PATH_TYPES, path, errors);
    }
}

fn local(s: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(place) = required(s, "path", path, errors) {
        no_backsteps(place, &path.child("path"), errors);
    }
}

fn endpoints_namespace(s: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(namespace) = set_text(s, "endpointsNamespace") else { return };
    let at = path.child("endpointsNamespace");
    if namespace.is_empty() {
        let why = "if the endpointnamespace is set, it must be a valid namespace name";
        errors.invalid(&at, "", why);
    } else {
        errors.invalid_all(&at, namespace, names::dns1123_label(namespace));
    }
}

fn flocker(s: &Value, path: &Path, errors: &mut ErrorList) {
    let (name, uuid) = (text(s, "datasetName"), text(s, "datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
    }
}

fn quobyte(s: &Value, path: &Path, errors: &mut ErrorList) {
    let registry = text(s, "registry");
    if registry.is_empty() {
        errors.required(&path.child("registry"), PAIRS);
    } else if text(s, "tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(&path.child("tenant"), why);
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.invalid(&path.child("registry"), registry, PAIRS);
        }
    }
    required(s, "volume", path, errors);
}

fn is_host_and_port(pair: &str) -> bool {
    let Some((host, port)) = pair.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    !port.contains([']', '['])
        && !bracketed.unwrap_or(host).contains(['[', ']'])
        && (bracketed.is_some() || !host.contains(':'))
}

fn iscsi(s: &Value, owner: Owner<'_>, path: &Path, errors: &mut ErrorList) {
    let portal = text(s, "targetPortal");
    required(s, "targetPortal", path, errors);
    if let Owner::Persistent(volume) = owner
        && set(s, "initiatorName").is_some()
        && volume.len() + 1 + portal.len() > 64
    {
        errors.invalid(&path.child("targetportal"), portal, TOO_LONG_FOR_ISCSI);
    }
    if let Some(iqn) = required(s, "iqn", path, errors) {
        iscsi_name(iqn, owner, &path.child("iqn"), errors);
    }
    if !(0..=255).contains(&int(s, "lun")) {
        errors.invalid(&path.child("lun"), int(s, "lun"), LUN);
    }
    let authenticated = flag(s, "chapAuthDiscovery") || flag(s, "chapAuthSession");
    match set(s, "secretRef") {
        None if authenticated => errors.required(&path.child("secretRef"), ""),
        Some(secret) if owner != Owner::Pod => {
            required(secret, "name", &path.child("secretRef"), errors);
        }
        _ => {}
    }
    if let Some(initiator) = set_text(s, "initiatorName") {
        iscsi_name(initiator, owner, &path.child("initiatorname"), errors);
    }
}

fn iscsi_name(name: &str, owner: Owner<'_>, path: &Path, errors: &mut ErrorList) {
    let why = match ISCSI.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        Some((_, Some(form))) if form.is_match(name) => return,
        None if owner == Owner::Pod => "must be valid format starting with iqn, eui, or naa",
        _ => "must be valid format",
    };
    errors.invalid(path, name, why);
}

/// The volume's name and its portal must make a short name together.
pub fn iscsi_fits_name(s: &Value, volume: &str, path: &Path, errors: &mut ErrorList) {
    if set(s, "initiatorName").is_some() && volume.len() + 1 + text(s, "targetPortal").len() > 64 {
        errors.invalid(&path.child("name"), volume, TOO_LONG_FOR_ISCSI);
    }
}

/// A secret in the namespace of the pod, or of any for a persistent volume.
fn secret(s: &Value, field: &str, owner: Owner<'_>, path: &Path, errors: &mut ErrorList) {
    let Some(reference) = set(s, field) else { return };
    required(reference, "name", &path.child(field), errors);
    if owner != Owner::Pod {
        required(reference, "namespace", &path.child(field), errors);
    }
}

fn fibre_channel(s: &Value, path: &Path, errors: &mut ErrorList) {
    let (targets, ids) = (list(s, "targetWWNs"), list(s, "wwids"));
    let at = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        errors.required(&at, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !ids.is_empty() {
        errors.invalid(&at, targets.to_vec(), "targetWWNs and wwids can not be specified simultaneously");
    }
    if targets.is_empty() {
        return;
    }
    match set(s, "lun") {
        None => errors.required(&path.child("lun"), "lun is required if targetWWNs is specified"),
        Some(_) if !(0..=255).contains(&int(s, "lun")) => {
            errors.invalid(&path.child("lun"), int(s, "lun"), LUN);
        }
        Some(_) => {}
    }
}

fn flex_options(s: &Value, path: &Path, errors: &mut ErrorList) {
    for (key, _) in entries(s, "options") {
        let domain = key.split_once('/').map_or(key.as_str(), |(domain, _)| domain);
        let normalized = format!(".{}", domain.to_lowercase());
        if normalized.ends_with(".kubernetes.io") || normalized.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid(&path.child("options").key(key), key.as_str(), why);
        }
    }
}

fn azure_disk(s: &Value, path: &Path, errors: &mut ErrorList) {
    fields::word(s, "cachingMode", &["None", "ReadOnly", "ReadWrite"], path, errors);
    fields::word(s, "kind", &["Dedicated", "Managed", "Shared"], path, errors);
    let uri = text(s, "diskURI");
    match set_text(s, "kind") {
        Some("Managed") if !uri.starts_with("/subscriptions/") => {
            errors.not_supported(&path.child("diskURI"), uri, &[MANAGED_DISK]);
        }
        Some("Managed") | None => {}
        Some(_) if !uri.starts_with("https://") => {
            errors.not_supported(&path.child("diskURI"), uri, &[BLOB_DISK]);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests;
