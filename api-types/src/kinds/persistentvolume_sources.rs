//! Where a PersistentVolume's bytes are: one of many systems. What pods' volumes share is in
//! [`super::volume_sources`].

use serde_json::{Map, Value, json};

use super::check::{part, text};
use super::volume_sources::Owner;
use super::{fields, volume_sources};
use crate::field::{ErrorList, Path};
use crate::meta::default_to;
use crate::names;

/// (source, as upstream names it in the errors of its parts, as it names it where it is one too many). In the order in
/// which they are looked at.
const SOURCES: [(&str, &str, &str); 22] = [
    ("hostPath", "hostPath", "hostPath"),
    ("gcePersistentDisk", "persistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    ("nfs", "nfs", "nfs"),
    ("rbd", "rbd", "rbd"),
    ("quobyte", "quobyte", "quobyte"),
    ("cephfs", "cephfs", "cephFS"),
    ("iscsi", "iscsi", "iscsi"),
    ("cinder", "cinder", "cinder"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("local", "local", "local"),
    ("storageos", "storageos", "storageos"),
    ("csi", "csi", "csi"),
];

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

/// Reasons to refuse the source of the volume of this name: there must be one, and only one.
pub fn validate(spec: &Value, name: &str, path: &Path, errors: &mut ErrorList) {
    let mut found = 0;
    for (field, parts, forbidden) in SOURCES {
        let Some(value) = fields::set(spec, field) else { continue };
        found += 1;
        // Upstream looks into a flexible volume whatever else there is.
        if found > 1 && field != "flexVolume" {
            errors.forbidden(&path.child(forbidden), "may not specify more than 1 volume type");
            continue;
        }
        let at = path.child(parts);
        if field == "csi" {
            csi(value, &at, errors);
        } else {
            volume_sources::validate(field, value, Owner::Persistent(name), &at, errors);
        }
        if field == "local" && fields::set(spec, "nodeAffinity").is_none() {
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
