//! Validation of a container's variables (`pkg/apis/core/validation/validation.go`).

use serde_json::Value;

use super::downward_api;
use super::fields::{below, list, required, set, text};
use super::volume_sources::no_backsteps;
use crate::field::{ErrorList, Path};
use crate::names;

const NOTHING: &str =
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
const TOO_MUCH: &str = "may not have more than one field specified at a time";

/// Reasons to refuse the variables of a container at `path`.
pub fn validate(c: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, e) in list(c, "env").iter().enumerate() {
        let path = path.child("env").index(i);
        if let Some(name) = required(e, "name", &path, errors) {
            errors.invalid_all(&path.child("name"), name, names::env_var_name(name));
        }
        if let Some(source) = set(e, "valueFrom") {
            value_from(source, !text(e, "value").is_empty(), &path.child("valueFrom"), errors);
        }
    }
    // Upstream names the list, not the element, where there is not exactly one source.
    let at = path.child("envFrom");
    for (i, e) in list(c, "envFrom").iter().enumerate() {
        let prefix = text(e, "prefix");
        if !prefix.is_empty() {
            errors.invalid_all(&at.index(i).child("prefix"), prefix, names::env_var_name(prefix));
        }
        let mut sources = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(reference) = set(e, field) else { continue };
            sources += 1;
            let at = at.index(i).child(field);
            if let Some(name) = required(reference, "name", &at, errors) {
                errors.invalid_all(&at.child("name"), name, names::dns1123_subdomain(name));
            }
        }
        match sources {
            0 => errors.invalid(&at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&at, "", TOO_MUCH),
        }
    }
}

fn value_from(source: &Value, has_value: bool, path: &Path, errors: &mut ErrorList) {
    let mut sources = 0;
    for field in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let Some(s) = set(source, field) else { continue };
        sources += 1;
        let at = path.child(field);
        match field {
            "fieldRef" => downward_api::field(s, downward_api::OF_VARIABLES, &at, errors),
            "resourceFieldRef" => downward_api::resource(s, false, &at, errors),
            "fileKeyRef" => file_key(s, &at, errors),
            _ => {
                let name = text(s, "name");
                errors.invalid_all(&at.child("name"), name, names::dns1123_subdomain(name));
                if let Some(key) = required(s, "key", &at, errors) {
                    errors.invalid_all(&at.child("key"), key, names::config_map_key(key));
                }
            }
        }
    }
    if sources == 0 {
        errors.invalid(path, "", NOTHING);
    } else if has_value {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, "", TOO_MUCH);
    }
}

fn file_key(s: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(key) = required(s, "key", path, errors) {
        errors.invalid_all(&path.child("key"), key, names::env_var_name(key));
    }
    if let Some(volume) = required(s, "volumeName", path, errors) {
        errors.invalid_all(&path.child("volumeName"), volume, names::dns1123_label(volume));
    }
    if let Some(file) = required(s, "path", path, errors) {
        no_backsteps(file, &path.child("path"), errors);
    }
}

/// Files of variables are in volumes that the pod has to itself.
pub fn files_are_in_empty_dirs(spec: &Value, c: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, e) in list(c, "env").iter().enumerate() {
        let Some(key) = set(below(e, "valueFrom"), "fileKeyRef") else { continue };
        let name = text(key, "volumeName");
        let at = path.child("env").index(i).child("valueFrom").child("fileKeyRef").child("volumeName");
        match list(spec, "volumes").iter().find(|v| text(v, "name") == name) {
            None => errors.not_found(&at, name),
            Some(v) if set(v, "emptyDir").is_none() => {
                errors.invalid(&at, name, "referenced volume must be of type emptyDir");
            }
            Some(_) => {}
        }
    }
}
