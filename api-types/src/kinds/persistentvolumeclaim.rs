//! PersistentVolumeClaims (`pkg/apis/core/validation/validation.go`, `pkg/api/persistentvolumeclaim/util.go`).

use serde_json::{Map, Value, json};

use super::check::{list, part, text};
use super::fields;
use super::resource_names::{self, quantity};
use super::{drop_status, keep_status, volume_modes};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of persistent volume claims.
pub struct PersistentVolumeClaim;

/// The class of storage, from before there was a field for it.
pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

const RESIZE_STATUSES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Fills in a claim, or the template of one.
pub fn defaults(claim: &mut Map<String, Value>) {
    let spec = object_mut(claim, "spec");
    default_to(spec, "volumeMode", "Filesystem");
    default_to(object_mut(claim, "status"), "phase", "Pending");
}

impl Strategy for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            defaults(root);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"phase": "Pending"});
        data_sources(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        data_sources(new);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        validate_spec(part(object, "spec"), &Path::new("spec"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        spec_is_fixed(new, old, errors);
        errors.immutable(
            &Path::new("volumeMode"),
            part(new, "spec").get("volumeMode"),
            part(old, "spec").get("volumeMode"),
        );
        class_of_attributes(new, old, errors);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let status = part(new, "status");
        let path = Path::new("status");
        for field in ["capacity", "allocatedResources"] {
            for (name, amount) in fields::entries(status, field) {
                let path = path.child(field).key(name);
                if quantity(amount).is_some_and(|q| q.is_negative()) {
                    let value = quantity(amount).map_or(0, |q| q.value());
                    errors.invalid(&path, value, "must be a valid resource quantity");
                }
            }
        }
        let path = path.child("allocatedResourceStatuses");
        for (name, state) in fields::entries(status, "allocatedResourceStatuses") {
            if resource_names::is_native(name) && name != "storage" {
                errors.not_supported(&path, name.as_str(), &["storage"]);
            }
            if !RESIZE_STATUSES.contains(&state.as_str().unwrap_or("")) {
                errors.not_supported(&path, name.as_str(), &RESIZE_STATUSES);
            }
        }
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut all: Vec<String> = class_annotation_warning(object).into_iter().collect();
        all.extend(spec_warnings(part(object, "spec"), &Path::new("spec")));
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let (spec, status) = (part(o, "spec"), part(o, "status"));
        let volume = text(spec, "volumeName").unwrap_or("");
        let bound = !volume.is_empty();
        let capacity = meta::str_at(status, &["capacity", "storage"]);
        let phase = if meta::is_deleting(o) { "Terminating" } else { text(status, "phase").unwrap_or("") };
        vec![
            meta::name(o).into(),
            phase.into(),
            volume.into(),
            match (bound, capacity) {
                (false, _) => "".into(),
                (true, "") => "0".into(),
                (true, c) => c.into(),
            },
            if bound { volume_modes::short(list(status, "accessModes")).into() } else { "".into() },
            class(o).into(),
            text(spec, "volumeAttributesClassName").unwrap_or("<unset>").into(),
            table::age(o, now).into(),
            text(spec, "volumeMode").unwrap_or("<unset>").into(),
        ]
    }
}

/// The class of storage of a claim or a volume.
pub(super) fn class(o: &Value) -> &str {
    let annotation = meta::at(o, &["metadata", "annotations", CLASS_ANNOTATION]).and_then(Value::as_str);
    annotation.unwrap_or_else(|| meta::str_at(o, &["spec", "storageClassName"]))
}

/// What to say of the spec of a claim, also inside templates.
pub(super) fn spec_warnings(spec: &Value, path: &Path) -> Vec<String> {
    let resources = part(spec, "resources");
    ["requests", "limits"]
        .iter()
        .flat_map(|list| {
            let at = path.child("resources").child(list).key("storage").to_string();
            fractional_bytes(part(resources, list).get("storage"), &at)
        })
        .collect()
}

/// What to say of the annotation that the class of a volume or claim was given by.
pub(super) fn class_annotation_warning(object: &Value) -> Option<String> {
    meta::at(object, &["metadata", "annotations", CLASS_ANNOTATION]).map(|_| {
        format!(
            "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        )
    })
}

/// Says that bytes cannot be divided.
pub(super) fn fractional_bytes(amount: Option<&Value>, path: &str) -> Vec<String> {
    let divided = amount.and_then(quantity).is_some_and(|q| q.milli_value() % 1000 != 0);
    let shown = amount.and_then(Value::as_str).unwrap_or("");
    if divided {
        vec![format!("{path}: fractional byte value {shown:?} is invalid, must be an integer")]
    } else {
        Vec::new()
    }
}

/// The two fields for a source of data say the same where the older one can.
fn data_sources(object: &mut Value) {
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    if let Some(Value::Object(r)) = spec.get_mut("dataSourceRef") {
        // Sources in other namespaces are an alpha feature.
        r.remove("namespace");
    }
    let known = spec.get("dataSource").is_none_or(|s| {
        let (group, kind) = (text(s, "apiGroup").unwrap_or(""), text(s, "kind").unwrap_or(""));
        matches!((group, kind), ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot"))
    });
    if !known {
        spec.remove("dataSource");
    }
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(s), None) => spec.insert("dataSourceRef".into(), s),
        (None, Some(r)) => spec.insert("dataSource".into(), r),
        _ => None,
    };
}

/// Reasons to refuse the spec of a claim.
pub fn validate_spec(spec: &Value, path: &Path, errors: &mut ErrorList) {
    if list(spec, "accessModes").is_empty() {
        errors.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    fields::selector(spec, "selector", path, errors);
    volume_modes::access(list(spec, "accessModes"), &path.child("accessModes"), errors);
    let storage = path.child("resources").key("storage");
    match meta::at(spec, &["resources", "requests", "storage"]) {
        None => errors.required(&storage, ""),
        Some(amount) => {
            resource_names::positive(amount, &storage, errors);
        }
    }
    let class = |field: &str, errors: &mut ErrorList| {
        if let Some(c) = text(spec, field).filter(|c| !c.is_empty()) {
            errors.invalid_all(&path.child(field), c, names::dns1123_subdomain(c));
        }
    };
    class("storageClassName", errors);
    volume_modes::mode(spec, path, errors);
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = fields::set(spec, field) {
            data_source(source, &path.child(field), errors);
        }
    }
    let same = |f: &str| {
        let (a, b) = (part(spec, "dataSource"), part(spec, "dataSourceRef"));
        text(a, f) == text(b, f)
    };
    let both = fields::set(spec, "dataSource").is_some() && fields::set(spec, "dataSourceRef").is_some();
    if both && !["apiGroup", "kind", "name"].iter().all(|f| same(f)) {
        errors.invalid(path, path.child("dataSource").to_string(), "must match dataSourceRef");
    }
    class("volumeAttributesClassName", errors);
}

fn data_source(source: &Value, path: &Path, errors: &mut ErrorList) {
    for f in ["name", "kind"] {
        fields::required(source, f, path, errors);
    }
    let (group, kind) = (text(source, "apiGroup").unwrap_or(""), text(source, "kind").unwrap_or(""));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(path, kind, why);
    }
    if !group.is_empty() {
        errors.invalid_all(&path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
}

/// A claim gets its volume once; a bound one may ask for more and for another class of attributes.
fn spec_is_fixed(new: &Value, old: &Value, errors: &mut ErrorList) {
    let annotation = |o: &Value| {
        meta::at(o, &["metadata", "annotations", CLASS_ANNOTATION]).and_then(Value::as_str).map(str::to_owned)
    };
    let (new_spec, old_spec) = (part(new, "spec"), part(old, "spec"));
    let (was, is) = (annotation(old), annotation(new));
    let mut allowed = old_spec.clone();
    let mut take = |field: &str| match new_spec.get(field) {
        Some(v) => allowed[field] = v.clone(),
        None => {
            if let Value::Object(m) = &mut allowed {
                m.remove(field);
            }
        }
    };
    if text(old_spec, "volumeName").unwrap_or("").is_empty() {
        take("volumeName");
    }
    let named = text(new_spec, "storageClassName");
    let fits = was.is_none() || was.as_deref() == named;
    if text(old_spec, "storageClassName").is_none() && named.is_some() && fits {
        take("storageClassName");
    } else if was != is {
        errors.invalid(
            &Path::new("metadata").child("annotations").key(CLASS_ANNOTATION),
            is.unwrap_or_default(),
            "field is immutable",
        );
    }
    let storage = ["resources", "requests", "storage"];
    if meta::str_at(new, &["status", "phase"]) == "Bound" {
        take("volumeAttributesClassName");
        if let Some(amount) = meta::at(new_spec, &storage) {
            allowed["resources"]["requests"]["storage"] = amount.clone();
        }
    }
    if *new_spec != allowed {
        errors.forbidden(
            &Path::new("spec"),
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        );
    }
    let amount = |v: Option<&Value>| v.and_then(quantity).unwrap_or_default();
    let size = amount(meta::at(new_spec, &storage));
    if size < amount(meta::at(old_spec, &storage))
        && size <= amount(meta::at(old, &["status", "capacity", "storage"]))
    {
        errors.forbidden(
            &Path::new("spec").child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        );
    }
}

fn class_of_attributes(new: &Value, old: &Value, errors: &mut ErrorList) {
    let field = "volumeAttributesClassName";
    let is = part(new, "spec").get(field);
    let applied = text(part(old, "status"), "currentVolumeAttributesClassName").is_some();
    if !applied || is == part(old, "spec").get(field) {
        return;
    }
    let to = match is.and_then(Value::as_str) {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    errors.forbidden(
        &Path::new("spec").child(field),
        format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"),
    );
}
