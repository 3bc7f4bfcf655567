//! Volume attachments: a volume that shall be at a node.

use serde_json::{Value, json};

use super::fields::{self, below, flag, int, set, text};
use super::{drop_status, keep_status, persistentvolume, persistentvolume_sources};
use crate::catalog::{Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to};
use crate::{names, table};

/// The strategy of volume attachments.
pub struct VolumeAttachment;

const MAX_METADATA_SIZE: usize = 256 * 1024;
const MAX_MESSAGE_SIZE: usize = 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

impl Strategy for VolumeAttachment {
    fn default(&self, object: &mut Value) {
        if let Some(Value::Object(spec)) = object.pointer_mut("/spec/source/inlineVolumeSpec") {
            default_to(spec, "persistentVolumeReclaimPolicy", "Retain");
            default_to(spec, "volumeMode", "Filesystem");
            persistentvolume_sources::defaults(spec);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"attached": false});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        fields::driver_name(text(spec, "attacher"), &path.child("attacher"), errors);
        source(below(spec, "source"), &path.child("source"), errors);
        let node = text(spec, "nodeName");
        errors.invalid_all(&path.child("nodeName"), node, names::dns1123_subdomain(node));
        self.validate_status_update(object, object, errors);
        // After all the rest, and whatever else is named.
        if let Some(name) = fields::set_text(below(spec, "source"), "persistentVolumeName") {
            let at = path.child("source").child("persistentVolumeName");
            errors.invalid_all(&at, name, names::dns1123_subdomain(name));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        fields::unchanged(new, old, "spec", &Path::new("spec"), errors);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let (status, path) = (below(new, "status"), Path::new("status"));
        let metadata = fields::entries(status, "attachmentMetadata");
        let size: usize = metadata.map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
        if size > MAX_METADATA_SIZE {
            errors.too_long(&path.child("attachmentMetadata"), MAX_METADATA_SIZE);
        }
        for f in ["attachError", "detachError"] {
            let (error, path) = (below(status, f), path.child(f));
            if text(error, "message").len() > MAX_MESSAGE_SIZE {
                // Upstream names the other limit here.
                errors.too_long(&path.child("message"), MAX_METADATA_SIZE);
            }
            if set(error, "errorCode").is_some() && int(error, "errorCode") < 0 {
                let text = "must be between 0 and 2147483647, inclusive";
                errors.invalid(&path.child("errorCode"), int(error, "errorCode"), text);
            }
        }
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        vec![
            meta::name(o).into(),
            text(spec, "attacher").into(),
            text(below(spec, "source"), "persistentVolumeName").into(),
            text(spec, "nodeName").into(),
            flag(below(o, "status"), "attached").into(),
            table::age(o, now).into(),
        ]
    }
}

fn source(source: &Value, path: &Path, errors: &mut ErrorList) {
    let inline = set(source, "inlineVolumeSpec");
    match (inline, fields::set_text(source, "persistentVolumeName")) {
        (None, None) => errors.required(path, ONE_SOURCE),
        (Some(_), Some(_)) => errors.forbidden(path, ONE_SOURCE),
        (None, Some("")) => errors
            .required(&path.child("persistentVolumeName"), "must specify non empty persistentVolumeName"),
        (None, Some(_)) => {}
        (Some(spec), None) => {
            persistentvolume::validate_spec(spec, "", true, &path.child("inlineVolumeSpec"), errors);
        }
    }
}
