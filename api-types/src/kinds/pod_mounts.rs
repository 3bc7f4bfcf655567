//! Validation of where containers mount volumes, or have them as devices.

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;

use super::pod_volumes::Volumes;
use super::volume_sources::descending;
use crate::field::{ErrorList, Path};

/// Reasons to refuse the mounts and devices of a container at `path`.
pub fn validate(c: &core::Container, volumes: &Volumes, path: &Path, errors: &mut ErrorList) {
    mounts(c, volumes, &path.child("volumeMounts"), errors);
    devices(c, volumes, &path.child("volumeDevices"), errors);
}

fn mounts(c: &core::Container, volumes: &Volumes, list: &Path, errors: &mut ErrorList) {
    let devices = c.volume_devices.as_deref().unwrap_or_default();
    let mut points = HashSet::new();
    for (i, m) in c.volume_mounts.iter().flatten().enumerate() {
        let path = list.index(i);
        if m.name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        if !volumes.contains_key(&m.name) {
            errors.not_found(&path.child("name"), m.name.as_str());
        }
        if m.mount_path.is_empty() {
            errors.required(&path.child("mountPath"), "");
        }
        if !points.insert(&m.mount_path) {
            errors.invalid(&path.child("mountPath"), m.mount_path.as_str(), "must be unique");
        }
        if devices.iter().any(|d| d.name == m.name) {
            let why = "must not already exist in volumeDevices";
            errors.invalid(&path.child("name"), m.name.as_str(), why);
        }
        if devices.iter().any(|d| d.device_path == m.mount_path) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&path.child("mountPath"), m.mount_path.as_str(), why);
        }
        // Upstream names the list below, not the mount.
        let sub_path = m.sub_path.as_deref().unwrap_or("");
        if !sub_path.is_empty() {
            descending(sub_path, &list.child("subPath"), errors);
        }
        if let Some(expression) = m.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
            if !sub_path.is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&path.child("subPathExpr"), expression, why);
            }
            descending(expression, &list.child("subPathExpr"), errors);
        }
        propagation(m, c, &list.child("mountPropagation"), errors);
        recursive(m, &list.child("recursiveReadOnly"), errors);
    }
}

fn propagation(m: &core::VolumeMount, c: &core::Container, path: &Path, errors: &mut ErrorList) {
    let Some(p) = m.mount_propagation.as_deref() else { return };
    let supported = ["Bidirectional", "HostToContainer", "None"];
    if !supported.contains(&p) {
        errors.not_supported(path, p, &supported);
    }
    let privileged = c.security_context.as_ref().and_then(|s| s.privileged) == Some(true);
    if p == "Bidirectional" && !privileged {
        errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive(m: &core::VolumeMount, path: &Path, errors: &mut ErrorList) {
    match m.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if m.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if m.mount_propagation.as_deref().is_some_and(|p| p != "None") {
                errors
                    .forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(c: &core::Container, volumes: &Volumes, list: &Path, errors: &mut ErrorList) {
    let mounts = c.volume_mounts.as_deref().unwrap_or_default();
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for (i, d) in c.volume_devices.iter().flatten().enumerate() {
        let path = list.index(i);
        let (name, at) = (d.name.as_str(), path.child("name"));
        if name.is_empty() {
            errors.required(&at, "");
        } else if !names.insert(name) {
            errors.invalid(&at, name, "must be unique");
        }
        match volumes.get(name) {
            Some(true) => {}
            Some(false) => errors.invalid(
                &at,
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ),
            None => errors.not_found(&at, name),
        }
        let (place, at_path) = (d.device_path.as_str(), path.child("devicePath"));
        if place.is_empty() {
            errors.required(&at_path, "");
        }
        if paths.contains(place) {
            errors.invalid(&at_path, place, "must be unique");
        }
        if place.split('/').any(|p| p == "..") {
            errors.invalid(&at_path, place, "can not contain backsteps ('..')");
        } else {
            paths.insert(place);
        }
        if mounts.iter().any(|m| m.name == name) {
            errors.invalid(&at, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|m| m.mount_path == place) {
            errors.invalid(&at_path, place, "must not already exist as a path in volumeMounts");
        }
    }
}
