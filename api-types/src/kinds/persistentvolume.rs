//! PersistentVolumes (`pkg/apis/core/validation/validation.go`, `pkg/registry/core/persistentvolume/strategy.go`).

use serde_json::{Map, Value, json};

use super::check::{list, part, text};
use super::persistentvolumeclaim::{class, class_annotation_warning, fractional_bytes};
use super::{
    drop_status, fields, keep_status, node_labels, node_selector, persistentvolume_sources, pod_warnings,
    resource_names, volume_modes,
};
use crate::catalog::{Strategy, keep_spec};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of persistent volumes.
pub struct PersistentVolume;

const RECLAIM: [&str; 3] = ["Delete", "Recycle", "Retain"];
/// Fields of the spec that are no source of the volume.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

impl Strategy for PersistentVolume {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        default_to(object_mut(root, "status"), "phase", "Pending");
        let spec = object_mut(root, "spec");
        default_to(spec, "persistentVolumeReclaimPolicy", "Retain");
        default_to(spec, "volumeMode", "Filesystem");
        persistentvolume_sources::defaults(spec);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": meta::now()});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_spec(new, old);
        let field = "lastPhaseTransitionTime";
        let (was, had) = (part(old, "status").get("phase"), part(old, "status").get(field).cloned());
        let changed = part(new, "status").get("phase") != was;
        let sent = part(new, "status").get(field).cloned();
        let Some(Value::Object(status)) = new.get_mut("status") else { return };
        if changed && (sent.is_none() || sent == had) {
            status.insert(field.into(), meta::now().into());
        } else if let (false, None, Some(had)) = (changed, sent, had) {
            status.insert(field.into(), had);
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        validate_spec(part(object, "spec"), meta::name(object), false, &Path::new("spec"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (new_spec, old_spec) = (part(new, "spec"), part(old, "spec"));
        if source(new_spec, old_spec) != source(old_spec, old_spec) {
            errors.forbidden(
                &Path::new("spec").child("persistentvolumesource"),
                "spec.persistentvolumesource is immutable after creation",
            );
        }
        errors.immutable(&Path::new("volumeMode"), new_spec.get("volumeMode"), old_spec.get("volumeMode"));
        let affinity = "nodeAffinity";
        if old_spec.get(affinity).is_some() && new_spec.get(affinity) != old_spec.get(affinity) {
            errors.invalid(
                &Path::new(affinity),
                part(new_spec, affinity).clone(),
                "field is immutable, except for updating from beta label to GA",
            );
        }
        let class = "volumeAttributesClassName";
        if old_spec.get(class).is_some() && new_spec.get(class).is_none() {
            errors
                .forbidden(&Path::new("spec").child(class), "update from non-nil value to nil is forbidden");
        }
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let (spec, path) = (part(object, "spec"), Path::new("spec"));
        let mut warnings: Vec<String> = class_annotation_warning(object).into_iter().collect();
        if text(spec, "persistentVolumeReclaimPolicy") == Some("Recycle") {
            warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".into());
        }
        let required = part(part(spec, "nodeAffinity"), "required");
        warnings
            .extend(node_labels::selector_warnings(required, &path.child("nodeAffinity").child("required")));
        for source in ["cephfs", "photonPersistentDisk", "scaleIO", "storageos", "glusterfs", "rbd"] {
            if let Some((name, why)) = pod_warnings::deprecated_volume(source)
                && fields::set(spec, source).is_some()
            {
                warnings.push(format!("{}: {why}", path.child(name)));
            }
        }
        warnings.extend(fractional_bytes(part(spec, "capacity").get("storage"), "spec.capacity[storage]"));
        warnings
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let (spec, status) = (part(o, "spec"), part(o, "status"));
        let claim = fields::set(spec, "claimRef").map_or(String::new(), |c| {
            format!("{}/{}", text(c, "namespace").unwrap_or(""), text(c, "name").unwrap_or(""))
        });
        let size = text(part(spec, "capacity"), "storage").unwrap_or("0");
        let phase = if meta::is_deleting(o) { "Terminating" } else { text(status, "phase").unwrap_or("") };
        vec![
            meta::name(o).into(),
            size.into(),
            volume_modes::short(list(spec, "accessModes")).into(),
            text(spec, "persistentVolumeReclaimPolicy").unwrap_or("").into(),
            phase.into(),
            claim.into(),
            class(o).into(),
            text(spec, "volumeAttributesClassName").unwrap_or("<unset>").into(),
            text(status, "reason").unwrap_or("").into(),
            table::age(o, now).into(),
            text(spec, "volumeMode").unwrap_or("<unset>").into(),
        ]
    }
}

/// Reasons to refuse the spec of the volume of this name. An inline one is that of an attachment, which moved to
/// CSI and has neither a claim nor a class.
pub(super) fn validate_spec(spec: &Value, name: &str, inline: bool, path: &Path, errors: &mut ErrorList) {
    if inline {
        not_inline(spec, &["claimRef", "capacity"], path, errors);
        if fields::set(spec, "csi").is_none() {
            errors.required(&path.child("csi"), "has to be specified in the context of inline volumes");
        }
    }
    if list(spec, "accessModes").is_empty() {
        errors.required(&path.child("accessModes"), "");
    }
    volume_modes::access(list(spec, "accessModes"), &path.child("accessModes"), errors);
    let reclaim = text(spec, "persistentVolumeReclaimPolicy").unwrap_or("");
    let at = path.child("persistentVolumeReclaimPolicy");
    if inline {
        if !["", "Retain"].contains(&reclaim) {
            errors.forbidden(&at, "may only be Retain in the context of inline volumes");
        }
        not_inline(spec, &["nodeAffinity"], path, errors);
    } else {
        capacity(part(spec, "capacity"), &path.child("capacity"), errors);
        if !reclaim.is_empty() && !RECLAIM.contains(&reclaim) {
            errors.not_supported(&at, reclaim, &RECLAIM);
        }
        node_affinity(part(spec, "nodeAffinity"), &path.child("nodeAffinity"), errors);
    }
    persistentvolume_sources::validate(spec, name, path, errors);
    let class = text(spec, "storageClassName").unwrap_or("");
    if inline {
        not_inline(spec, &["storageClassName"], path, errors);
        if text(spec, "volumeMode").is_some_and(|m| m != "Filesystem") {
            let why = "may not specify volumeMode other than Filesystem in the context of inline volumes";
            errors.forbidden(&path.child("volumeMode"), why);
        }
    } else {
        if !class.is_empty() {
            errors.invalid_all(&path.child("storageClassName"), class, names::dns1123_subdomain(class));
        }
        volume_modes::mode(spec, path, errors);
    }
    if let Some(c) = text(spec, "volumeAttributesClassName") {
        let path_of_class = path.child("volumeAttributesClassName");
        if c.is_empty() {
            errors.required(&path_of_class, "an empty string is disallowed");
        } else {
            errors.invalid_all(&path_of_class, c, names::dns1123_subdomain(c));
        }
        if part(spec, "csi").is_null() {
            errors.required(&path.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

/// Refuses what an inline volume has no use for.
fn not_inline(spec: &Value, names: &[&str], path: &Path, errors: &mut ErrorList) {
    for f in names {
        if fields::differs(spec, &Value::Null, f) {
            errors.forbidden(&path.child(f), "may not be specified in the context of inline volumes");
        }
    }
}

fn capacity(capacity: &Value, path: &Path, errors: &mut ErrorList) {
    let map = capacity.as_object().filter(|m| !m.is_empty());
    if map.is_none() {
        errors.required(path, "");
    }
    if map.is_none_or(|m| m.len() > 1 || !m.contains_key("storage")) {
        errors.not_supported(path, capacity.clone(), &["storage"]);
    }
    for (name, amount) in map.into_iter().flatten() {
        let path = path.key(name);
        if let Some(q) = resource_names::quantity(amount).filter(|q| q.is_negative()) {
            errors.invalid(&path, q.value(), "must be a valid resource quantity");
        }
        resource_names::positive(amount, &path, errors);
    }
}

fn node_affinity(affinity: &Value, path: &Path, errors: &mut ErrorList) {
    if affinity.is_null() {
        return;
    }
    let path = path.child("required");
    match fields::set(affinity, "required") {
        None => errors.required(&path, "must specify required node constraints"),
        Some(required) => {
            node_selector::required(required, &path, errors);
        }
    }
}

/// The source of a volume; a secret for expansion that the old one does not have does not count.
fn source(spec: &Value, old: &Value) -> Map<String, Value> {
    let mut source = spec.as_object().cloned().unwrap_or_default();
    source.retain(|field, _| !NO_SOURCE.contains(&field.as_str()));
    let secret = "controllerExpandSecretRef";
    if part(old, "csi").get(secret).is_none()
        && let Some(Value::Object(csi)) = source.get_mut("csi")
    {
        csi.remove(secret);
    }
    source
}
