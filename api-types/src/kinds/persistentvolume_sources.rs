//! Where a PersistentVolume's bytes are: one of many systems, most of them only known by their required fields.

use serde_json::{Map, Value, json};

use super::check::{list, part, text};
use super::fields;
use crate::field::{ErrorList, Path};
use crate::meta::default_to;
use crate::names;

/// A source of volumes.
struct Source {
    field: &'static str,
    /// What upstream calls it in the errors of its parts.
    path: &'static str,
    /// Texts and lists that must not be empty.
    required: &'static [&'static str],
}

const fn source(field: &'static str, required: &'static [&'static str]) -> Source {
    Source { field, path: field, required }
}

/// In the order in which they are looked at.
const SOURCES: [Source; 22] = [
    source("hostPath", &["path"]),
    Source { field: "gcePersistentDisk", path: "persistentDisk", required: &["pdName"] },
    source("awsElasticBlockStore", &["volumeID"]),
    source("glusterfs", &["endpoints", "path"]),
    source("flocker", &[]),
    source("nfs", &["server", "path"]),
    source("rbd", &["monitors", "image"]),
    source("quobyte", &["registry", "volume"]),
    source("cephfs", &["monitors"]),
    source("iscsi", &["targetPortal", "iqn"]),
    source("cinder", &["volumeID"]),
    source("fc", &[]),
    source("flexVolume", &["driver"]),
    source("azureFile", &["secretName", "shareName"]),
    source("vsphereVolume", &["volumePath"]),
    source("photonPersistentDisk", &["pdID"]),
    source("portworxVolume", &["volumeID"]),
    source("azureDisk", &["diskName", "diskURI"]),
    source("scaleIO", &["gateway", "system", "volumeName"]),
    source("local", &["path"]),
    source("storageos", &[]),
    source("csi", &[]),
];

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const CSI_SECRETS: [&str; 4] = [
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
];

/// Fills in what the sources leave out.
pub fn defaults(spec: &mut Map<String, Value>) {
    let mut set = |source: &str, values: &[(&str, Value)]| {
        if let Some(Value::Object(s)) = spec.get_mut(source) {
            for (field, value) in values {
                default_to(s, field, value.clone());
            }
        }
    };
    set("hostPath", &[("type", json!(""))]);
    set("iscsi", &[("iscsiInterface", json!("default"))]);
    set("rbd", &[("pool", json!("rbd")), ("user", json!("admin")), ("keyring", json!("/etc/ceph/keyring"))]);
    set("scaleIO", &[("storageMode", json!("ThinProvisioned")), ("fsType", json!("xfs"))]);
    set(
        "azureDisk",
        &[
            ("cachingMode", json!("ReadWrite")),
            ("kind", json!("Shared")),
            ("fsType", json!("ext4")),
            ("readOnly", json!(false)),
        ],
    );
}

/// Reasons to refuse the source: there must be one, and only one.
pub fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let mut found = 0;
    for s in &SOURCES {
        let Some(value) = fields::set(spec, s.field) else { continue };
        found += 1;
        if found > 1 {
            errors.forbidden(&path.child(s.field), "may not specify more than 1 volume type");
            continue;
        }
        let path_of_source = path.child(s.path);
        for field in s.required {
            if text(value, field).unwrap_or("").is_empty() && list(value, field).is_empty() {
                errors.required(&path_of_source.child(field), "");
            }
        }
        particular(s.field, value, &path_of_source, errors);
        if s.field == "local" && fields::set(spec, "nodeAffinity").is_none() {
            errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if found == 0 {
        errors.required(path, "must specify a volume type");
    }
    let root = host_path(spec).is_some_and(|p| p.split('/').all(|part| part.is_empty() || part == "."));
    if root && text(spec, "persistentVolumeReclaimPolicy") == Some("Recycle") {
        errors.forbidden(
            &path.child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
}

fn host_path(spec: &Value) -> Option<&str> {
    text(part(spec, "hostPath"), "path").filter(|p| p.starts_with('/'))
}

fn particular(field: &str, value: &Value, path: &Path, errors: &mut ErrorList) {
    let place = text(value, "path").unwrap_or("");
    match field {
        "hostPath" => {
            no_backsteps(place, path, errors);
            fields::word(value, "type", &HOST_PATH_TYPES, path, errors);
        }
        "local" => no_backsteps(place, path, errors),
        "nfs" if !place.starts_with('/') => {
            errors.invalid(&path.child("path"), place, "must be an absolute path");
        }
        "csi" => csi(value, path, errors),
        _ => {}
    }
}

fn no_backsteps(place: &str, path: &Path, errors: &mut ErrorList) {
    if place.split('/').any(|p| p == "..") {
        errors.invalid(&path.child("path"), place, "must not contain '..'");
    }
}

fn csi(value: &Value, path: &Path, errors: &mut ErrorList) {
    fields::driver_name(text(value, "driver").unwrap_or(""), &path.child("driver"), errors);
    fields::required(value, "volumeHandle", path, errors);
    for secret in CSI_SECRETS {
        let Some(reference) = fields::set(value, secret) else { continue };
        for part in ["name", "namespace"] {
            match text(reference, part).unwrap_or("") {
                "" => errors.required(&path.child(secret).child(part), ""),
                t => {
                    let reasons =
                        if part == "name" { names::dns1123_subdomain(t) } else { names::dns1123_label(t) };
                    errors.invalid_all(&path.child(secret).child(part), t, reasons);
                }
            }
        }
    }
}
