//! Validation of a pod's volumes (`pkg/apis/core/validation/validation.go`); what many sources share with persistent
//! volumes is in [`super::volume_sources`], where containers mount them in [`super::pod_mounts`].

use std::collections::HashMap;

use serde_json::Value;

use super::fields::{self, below, list, required, set, set_text, text};
use super::volume_sources::{self, Owner, iscsi_fits_name, local_path};
use super::{downward_api, object_meta, persistentvolumeclaim, pod_projected};
use crate::field::{ErrorList, Path};
use crate::{meta, names};

/// The volumes of a pod by name; whether each is a claim, which may be a raw device.
pub type Volumes = HashMap<String, bool>;

/// (source, as upstream names it where it is one too many, as it names its parts). In the order they are looked at.
const SOURCES: [(&str, &str, &str); 30] = [
    ("emptyDir", "emptyDir", "emptyDir"),
    ("hostPath", "hostPath", "hostPath"),
    ("gitRepo", "gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret", "secret"),
    ("nfs", "nfs", "nfs"),
    ("iscsi", "iscsi", "iscsi"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd", "rbd"),
    ("cinder", "cinder", "cinder"),
    ("cephfs", "cephFS", "cephfs"),
    ("quobyte", "quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI", "downwardAPI"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("configMap", "configMap", "configMap"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("storageos", "storageos", "storageos"),
    ("projected", "projected", "projected"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("csi", "csi", "csi"),
    ("ephemeral", "ephemeral", "ephemeral"),
    ("image", "image", "image"),
];

/// Reasons to refuse volumes; gives those that can be mounted.
pub fn validate(volumes: &[Value], path: &Path, errors: &mut ErrorList) -> Volumes {
    let mut known = Volumes::new();
    for (i, v) in volumes.iter().enumerate() {
        let path = path.index(i);
        let before = errors.0.len();
        source(v, &path, errors);
        let name = text(v, "name");
        fields::required_name(v, "name", names::dns1123_label, &path, errors);
        if known.contains_key(name) {
            errors.duplicate(&path.child("name"), name);
        }
        if errors.0.len() == before {
            let claim = ["persistentVolumeClaim", "ephemeral"].iter().any(|f| set(v, f).is_some());
            known.insert(name.to_owned(), claim);
        }
    }
    known
}

/// Reasons to refuse the volumes of a pod that has a name: claims are made with it.
pub fn of_pod(pod: &Value, errors: &mut ErrorList) {
    let (spec, name) = (below(pod, "spec"), meta::name(pod));
    let volumes = list(spec, "volumes");
    let made = |v: &Value| format!("{name}-{}", text(v, "name"));
    for (i, v) in volumes.iter().enumerate() {
        let path = Path::new("spec").child("volumes").index(i);
        if set(v, "ephemeral").is_some() && !name.is_empty() && !text(v, "name").is_empty() {
            for why in names::dns1123_subdomain(&made(v)) {
                let why = format!("PVC name {:?}: {why}", made(v));
                errors.invalid(&path.child("name"), text(v, "name"), why);
            }
        }
        let claim = text(below(v, "persistentVolumeClaim"), "claimName");
        if !claim.is_empty() && volumes.iter().any(|o| set(o, "ephemeral").is_some() && made(o) == claim) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path.child("persistentVolumeClaim").child("claimName"), claim, why);
        }
        if set(v, "image").is_some() {
            required(below(v, "image"), "reference", &path.child("image"), errors);
        }
        let without_account = text(spec, "serviceAccountName").is_empty();
        for (j, s) in list(below(v, "projected"), "sources").iter().enumerate().filter(|_| without_account) {
            if set(s, "serviceAccountToken").is_some() {
                let at = path.child("projected").child("sources").index(j).child("serviceAccountToken");
                errors.forbidden(&at, "must not be specified when serviceAccountName is not set");
            }
        }
    }
}

fn source(v: &Value, path: &Path, errors: &mut ErrorList) {
    let mut found = false;
    for (field, forbidden, at) in SOURCES {
        let Some(value) = set(v, field) else { continue };
        if found {
            errors.forbidden(&path.child(forbidden), "may not specify more than 1 volume type");
        } else {
            found = true;
            one_source(field, value, &path.child(at), errors);
        }
        if field == "iscsi" {
            iscsi_fits_name(value, text(v, "name"), path, errors);
        }
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

fn one_source(field: &str, s: &Value, path: &Path, errors: &mut ErrorList) {
    match field {
        "emptyDir" => {
            let size = set_text(s, "sizeLimit").and_then(|t| t.parse::<crate::quantity::Quantity>().ok());
            if size.is_some_and(|q| q.is_negative()) {
                let why = "SizeLimit field must be a valid resource quantity";
                errors.forbidden(&path.child("sizeLimit"), why);
            }
        }
        "gitRepo" => {
            required(s, "repository", path, errors);
            volume_sources::descending(text(s, "directory"), &path.child("directory"), errors);
        }
        "secret" | "configMap" => {
            required(s, if field == "secret" { "secretName" } else { "name" }, path, errors);
            mode(s, "defaultMode", path, errors);
            items(s, path, errors);
        }
        "persistentVolumeClaim" => {
            required(s, "claimName", path, errors);
        }
        "downwardAPI" => {
            mode(s, "defaultMode", path, errors);
            for file in list(s, "items") {
                downward_file(file, path, errors);
            }
        }
        "projected" => {
            mode(s, "defaultMode", path, errors);
            pod_projected::validate(s, path, errors);
        }
        "csi" => csi(s, path, errors),
        "ephemeral" => ephemeral(s, path, errors),
        "image" => {
            let policies = ["Always", "IfNotPresent", "Never"];
            super::pod_spec::one_of(set_text(s, "pullPolicy"), &policies, &path.child("pullPolicy"), errors);
        }
        _ => volume_sources::validate(field, s, Owner::Pod, path, errors),
    }
}

/// Refuses what are no permissions of a file.
pub(super) fn mode(s: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    if let Some(m) = s.get(field).and_then(Value::as_i64).filter(|m| !(0..=0o777).contains(m)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(&path.child(field), m, why);
    }
}

/// Reasons to refuse which keys become which files.
pub(super) fn items(s: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, item) in list(s, "items").iter().enumerate() {
        let path = path.child("items").index(i);
        required(item, "key", &path, errors);
        required(item, "path", &path, errors);
        local_path(text(item, "path"), &path.child("path"), errors);
        mode(item, "mode", &path, errors);
    }
}

/// Reasons to refuse a file of what the pod knows of itself; upstream names the volume, not the file.
pub(super) fn downward_file(file: &Value, path: &Path, errors: &mut ErrorList) {
    required(file, "path", path, errors);
    local_path(text(file, "path"), &path.child("path"), errors);
    match (set(file, "fieldRef"), set(file, "resourceFieldRef")) {
        (Some(f), other) => {
            downward_api::field(f, downward_api::OF_FILES, &path.child("fieldRef"), errors);
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", why);
            }
        }
        (None, Some(r)) => downward_api::resource(r, true, &path.child("resourceFieldRef"), errors),
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file, "mode", path, errors);
}

fn csi(s: &Value, path: &Path, errors: &mut ErrorList) {
    fields::driver_name(text(s, "driver"), &path.child("driver"), errors);
    if let Some(secret) = set(s, "nodePublishSecretRef") {
        let at = path.child("nodePublishSecretRef");
        if let Some(name) = required(secret, "name", &at, errors) {
            // Upstream names the field without its parent.
            errors.invalid_all(&path.child("name"), name, names::dns1123_subdomain(name));
        }
    }
}

fn ephemeral(s: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = set(s, "volumeClaimTemplate") else {
        errors.required(&path, "");
        return;
    };
    let (metadata, at) = (below(template, "metadata"), path.child("metadata"));
    object_meta::annotations(metadata.get("annotations"), &at.child("annotations"), errors);
    object_meta::labels(metadata.get("labels"), &at.child("labels"), errors);
    for (field, _) in metadata.as_object().into_iter().flatten() {
        if !["annotations", "labels"].contains(&field.as_str()) && set(metadata, field).is_some() {
            errors.forbidden(&at.child(field), "cannot be set");
        }
    }
    persistentvolumeclaim::validate_spec(below(template, "spec"), &path.child("spec"), errors);
}

#[cfg(test)]
mod tests;
