//! Claims of devices, their templates, and classes of devices.

use serde_json::{Value, json};

use super::fields::{self, below, list, set, text};
use super::{device_request as device, drop_status, keep_status, object_meta, resourceslice};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::table;

/// The strategy of claims.
pub struct ResourceClaim;
/// The strategy of templates of claims.
pub struct ResourceClaimTemplate;
/// The strategy of classes of devices.
pub struct DeviceClass;

const MAX_RESERVATIONS: usize = 256;
const MAX_RESULTS: usize = 32;
const MAX_CONFIGS: usize = 64;
const MAX_CONDITIONS: usize = 8;
const MAX_DATA: usize = 10 * 1024;

impl Strategy for ResourceClaim {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            device::defaults(object_mut(object_mut(root, "spec"), "devices"));
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let path = Path::new("spec").child("devices");
        device::claim(below(below(object, "spec"), "devices"), &path, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        fields::unchanged(new, old, "spec", &Path::new("spec"), errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate_status(new, old, &Path::new("status"), errors);
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let (status, deleting) = (below(o, "status"), meta::is_deleting(o));
        let mut states = Vec::new();
        if deleting {
            states.push("deleted");
        }
        if set(status, "allocation").is_some() {
            states.push("allocated");
            if !list(status, "reservedFor").is_empty() {
                states.push("reserved");
            }
        } else if !deleting {
            states.push("pending");
        }
        vec![meta::name(o).into(), states.join(",").into(), table::age(o, now).into()]
    }
}

fn validate_status(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let (status, before) = (below(new, "status"), below(old, "status"));
    let (allocation, allocated) = (set(status, "allocation"), set(before, "allocation"));
    let reserved = list(status, "reservedFor");
    let at = path.child("reservedFor");
    if device::bounded(status, "reservedFor", MAX_RESERVATIONS, path, errors) {
        for (i, r) in reserved.iter().enumerate() {
            for f in ["resource", "name", "uid"] {
                fields::required(r, f, &at.index(i), errors);
            }
        }
        let uids: Vec<&str> = reserved.iter().map(|r| text(r, "uid")).collect();
        fields::no_repeats(&uids, &at, errors);
    }
    let results = list(below(below(status, "allocation"), "devices"), "results");
    for (i, d) in list(status, "devices").iter().enumerate() {
        device_status(d, results, &path.child("devices").index(i), errors);
    }
    if !reserved.is_empty() && allocation.is_none() {
        errors.forbidden(&at, "may not be specified when `allocated` is not set");
    } else if meta::is_deleting(new) && reserved.iter().any(|r| !list(before, "reservedFor").contains(r)) {
        let text =
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.forbidden(&at, text);
    }
    match (allocation, allocated) {
        (Some(a), Some(b)) if a != b => {
            errors.invalid(&path.child("allocation"), a.clone(), "field is immutable");
        }
        (Some(a), None) => validate_allocation(new, a, &path.child("allocation").child("devices"), errors),
        _ => {}
    }
}

fn validate_allocation(claim: &Value, allocation: &Value, path: &Path, errors: &mut ErrorList) {
    let known = device::request_names(below(below(claim, "spec"), "devices"));
    let devices = below(allocation, "devices");
    if device::bounded(devices, "results", MAX_RESULTS, path, errors) {
        for (i, r) in list(devices, "results").iter().enumerate() {
            let path = path.child("results").index(i);
            device::request_ref(text(r, "request"), &known, &path.child("request"), errors);
            device_id(r, &path, errors);
        }
    }
    if device::bounded(devices, "config", MAX_CONFIGS, path, errors) {
        for (i, c) in list(devices, "config").iter().enumerate() {
            let path = path.child("config").index(i);
            if fields::required(c, "source", &path, errors).is_some() {
                fields::word(c, "source", &["FromClaim", "FromClass"], &path, errors);
            }
            for (j, name) in fields::texts(c, "requests").into_iter().enumerate() {
                device::request_ref(name, &known, &path.child("requests").index(j), errors);
            }
            device::opaque(c, &path, errors);
        }
    }
}

/// Driver, pool and name of a device.
fn device_id(d: &Value, path: &Path, errors: &mut ErrorList) {
    device::driver(text(d, "driver"), &path.child("driver"), errors);
    resourceslice::pool_name(text(d, "pool"), &path.child("pool"), errors);
    let name = text(d, "device");
    errors.invalid_all(&path.child("device"), name, crate::names::dns1123_label(name));
}

fn device_status(d: &Value, results: &[Value], path: &Path, errors: &mut ErrorList) {
    device_id(d, path, errors);
    let same = |r: &&Value| ["driver", "pool", "device"].iter().all(|f| text(r, f) == text(d, f));
    if !results.iter().any(|r| same(&r)) {
        let id = format!("{}/{}/{}", text(d, "driver"), text(d, "pool"), text(d, "device"));
        errors.invalid(path, id, "must be an allocated device in the claim");
    }
    if device::bounded(d, "conditions", MAX_CONDITIONS, path, errors) {
        fields::conditions(d, path, errors);
    }
    if let Some(data) = set(d, "data") {
        device::json_object(data, MAX_DATA, &path.child("data"), errors);
    }
}

impl Strategy for ResourceClaimTemplate {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            let spec = object_mut(object_mut(root, "spec"), "spec");
            device::defaults(object_mut(spec, "devices"));
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        let (metadata, at) = (below(spec, "metadata"), path.child("metadata"));
        object_meta::labels(metadata.get("labels"), &at.child("labels"), errors);
        object_meta::annotations(metadata.get("annotations"), &at.child("annotations"), errors);
        let devices = below(below(spec, "spec"), "devices");
        device::claim(devices, &path.child("spec").child("devices"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        fields::unchanged(new, old, "spec", &Path::new("spec"), errors);
    }
}

impl Strategy for DeviceClass {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        device::selectors(spec, &path, errors);
        if device::bounded(spec, "config", MAX_RESULTS, &path, errors) {
            for (i, c) in list(spec, "config").iter().enumerate() {
                device::opaque(c, &path.child("config").index(i), errors);
            }
        }
        if let Some(name) = fields::set_text(spec, "extendedResourceName").filter(|n| !is_extended(n)) {
            let text = "must be a valid extended resource name";
            errors.invalid(&path.child("extendedResourceName"), name, text);
        }
    }

    fn counts_generations(&self) -> bool {
        true
    }
}

/// A resource that is neither Kubernetes' own nor a request of one.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    let as_quota = format!("requests.{name}");
    !native && !name.starts_with("requests.") && crate::names::qualified_name(&as_quota).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_resources() {
        let names = ["example.com/gpu", "cpu", "kubernetes.io/x", "requests.example.com/x"];
        let extended: Vec<&str> = names.into_iter().filter(|n| is_extended(n)).collect();
        assert_eq!(extended, ["example.com/gpu"]);
    }
}
