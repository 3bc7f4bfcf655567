//! Validation of volumes and of where containers mount them.

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;
use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::names;

/// Reasons to refuse volumes; gives their names.
pub fn validate(volumes: &[core::Volume], path: &Path, errors: &mut ErrorList) -> HashSet<String> {
    let mut seen = HashSet::new();
    for (i, v) in volumes.iter().enumerate() {
        let path = path.index(i);
        if v.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_all(&path.child("name"), &v.name, names::dns1123_label(&v.name));
        }
        if !seen.insert(v.name.clone()) {
            errors.duplicate(&path.child("name"), v.name.as_str());
        }
        source(v, &path, errors);
    }
    seen
}

fn source(v: &core::Volume, path: &Path, errors: &mut ErrorList) {
    let json = serde_json::to_value(v).unwrap_or_default();
    let sources: Vec<&String> =
        json.as_object().into_iter().flat_map(|m| m.keys()).filter(|k| *k != "name").collect();
    match sources.as_slice() {
        [] => errors.required(path, "must specify a volume type"),
        [_] => {}
        [_, more @ ..] => {
            for name in more {
                errors.forbidden(&path.child(name), "may not specify more than 1 volume type");
            }
        }
    }
    if let Some(h) = &v.host_path {
        let path = path.child("hostPath");
        if h.path.is_empty() {
            errors.required(&path.child("path"), "");
        } else if h.path.split('/').any(|p| p == "..") {
            errors.invalid(&path.child("path"), h.path.as_str(), "must not contain '..'");
        }
        let types = [
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ];
        if let Some(t) = h.type_.as_deref().filter(|t| !types.contains(t)) {
            errors.not_supported(&path.child("type"), t, &types);
        }
    }
    if let Some(s) = &v.secret {
        let path = path.child("secret");
        if s.secret_name.as_deref().unwrap_or("").is_empty() {
            errors.required(&path.child("secretName"), "");
        }
        mode(s.default_mode, &path.child("defaultMode"), errors);
        items(s.items.as_deref().unwrap_or_default(), &path.child("items"), errors);
    }
    if let Some(c) = &v.config_map {
        let path = path.child("configMap");
        if c.name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        mode(c.default_mode, &path.child("defaultMode"), errors);
        items(c.items.as_deref().unwrap_or_default(), &path.child("items"), errors);
    }
    if let Some(c) = &v.persistent_volume_claim
        && c.claim_name.is_empty()
    {
        errors.required(&path.child("persistentVolumeClaim").child("claimName"), "");
    }
}

fn mode(mode: Option<i32>, path: &Path, errors: &mut ErrorList) {
    if let Some(m) = mode.filter(|m| !(0..=0o777).contains(m)) {
        errors.invalid(path, m, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn items(items: &[core::KeyToPath], path: &Path, errors: &mut ErrorList) {
    for (i, item) in items.iter().enumerate() {
        let path = path.index(i);
        if item.key.is_empty() {
            errors.required(&path.child("key"), "");
        }
        if item.path.is_empty() {
            errors.required(&path.child("path"), "");
        }
        relative(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}

fn relative(text: &str, path: &Path, errors: &mut ErrorList) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    if text.split('/').any(|p| p == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}

/// Reasons to refuse where a container mounts volumes.
pub fn mounts(c: &core::Container, volumes: &HashSet<String>, path: &Path, errors: &mut ErrorList) {
    let mut points = HashSet::new();
    for (i, m) in c.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(i);
        if m.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if !volumes.contains(&m.name) {
            errors.not_found(&path.child("name"), m.name.as_str());
        }
        if m.mount_path.is_empty() {
            errors.required(&path.child("mountPath"), "");
        } else if !points.insert(m.mount_path.clone()) {
            errors.invalid(&path.child("mountPath"), Value::from(m.mount_path.as_str()), "must be unique");
        }
        if let Some(sub) = m.sub_path.as_deref().filter(|s| !s.is_empty()) {
            relative(sub, &path.child("subPath"), errors);
            if m.sub_path_expr.as_deref().is_some_and(|s| !s.is_empty()) {
                errors.invalid(
                    &path.child("subPathExpr"),
                    m.sub_path_expr.as_deref().unwrap_or(""),
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
        }
    }
}
