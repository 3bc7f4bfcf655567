//! Validation of where containers mount volumes, or have them as devices.

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{below, flag, list, set_text, text};
use super::pod_volumes::Volumes;
use super::volume_sources::descending;
use crate::field::{ErrorList, Path};

/// Reasons to refuse the mounts and devices of a container at `path`.
pub fn validate(c: &Value, volumes: &Volumes, path: &Path, errors: &mut ErrorList) {
    mounts(c, volumes, &path.child("volumeMounts"), errors);
    devices(c, volumes, &path.child("volumeDevices"), errors);
}

fn mounts(c: &Value, volumes: &Volumes, at: &Path, errors: &mut ErrorList) {
    let devices = list(c, "volumeDevices");
    let mut points = HashSet::new();
    for (i, m) in list(c, "volumeMounts").iter().enumerate() {
        let path = at.index(i);
        let (name, point) = (text(m, "name"), text(m, "mountPath"));
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        if !volumes.contains_key(name) {
            errors.not_found(&path.child("name"), name);
        }
        if point.is_empty() {
            errors.required(&path.child("mountPath"), "");
        }
        if !points.insert(point) {
            errors.invalid(&path.child("mountPath"), point, "must be unique");
        }
        if devices.iter().any(|d| text(d, "name") == name) {
            let why = "must not already exist in volumeDevices";
            errors.invalid(&path.child("name"), name, why);
        }
        if devices.iter().any(|d| text(d, "devicePath") == point) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&path.child("mountPath"), point, why);
        }
        // Upstream names the list below, not the mount.
        let sub_path = text(m, "subPath");
        if !sub_path.is_empty() {
            descending(sub_path, &at.child("subPath"), errors);
        }
        if let Some(expression) = set_text(m, "subPathExpr").filter(|e| !e.is_empty()) {
            if !sub_path.is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&path.child("subPathExpr"), expression, why);
            }
            descending(expression, &at.child("subPathExpr"), errors);
        }
        propagation(m, c, &at.child("mountPropagation"), errors);
        recursive(m, &at.child("recursiveReadOnly"), errors);
    }
}

fn propagation(m: &Value, c: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(p) = set_text(m, "mountPropagation") else { return };
    let supported = ["Bidirectional", "HostToContainer", "None"];
    if !supported.contains(&p) {
        errors.not_supported(path, p, &supported);
    }
    let privileged = flag(below(c, "securityContext"), "privileged");
    if p == "Bidirectional" && !privileged {
        errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive(m: &Value, path: &Path, errors: &mut ErrorList) {
    match set_text(m, "recursiveReadOnly") {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !flag(m, "readOnly") {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if set_text(m, "mountPropagation").is_some_and(|p| p != "None") {
                errors
                    .forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(c: &Value, volumes: &Volumes, at: &Path, errors: &mut ErrorList) {
    let mounts = list(c, "volumeMounts");
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for (i, d) in list(c, "volumeDevices").iter().enumerate() {
        let path = at.index(i);
        let (name, at_name) = (text(d, "name"), path.child("name"));
        if name.is_empty() {
            errors.required(&at_name, "");
        } else if !names.insert(name) {
            errors.invalid(&at_name, name, "must be unique");
        }
        match volumes.get(name) {
            Some(true) => {}
            Some(false) => errors.invalid(
                &at_name,
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ),
            None => errors.not_found(&at_name, name),
        }
        let (place, at_path) = (text(d, "devicePath"), path.child("devicePath"));
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
        if mounts.iter().any(|m| text(m, "name") == name) {
            errors.invalid(&at_name, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|m| text(m, "mountPath") == place) {
            errors.invalid(&at_path, place, "must not already exist as a path in volumeMounts");
        }
    }
}
