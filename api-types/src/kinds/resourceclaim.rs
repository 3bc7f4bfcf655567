//! Claims of devices, their templates, and classes of devices.

use serde_json::{Value, json};

use super::fields::{self, below, list, set, text};
use super::{
    addresses, device_request as device, drop_status, keep_status, node_selector, object_meta, resourceslice,
};
use crate::catalog::{Strategy, keep_all_but_status};
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
const MAX_IPS: usize = 16;
const MAX_INTERFACE_NAME: usize = 256;
const MAX_HARDWARE_ADDRESS: usize = 128;

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

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
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
    device_statuses(status, &path.child("devices"), errors);
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
        (Some(a), None) => {
            let path = path.child("allocation");
            validate_allocation(new, a, &path.child("devices"), errors);
            if let Some(selector) = set(a, "nodeSelector") {
                node_selector::required(selector, &path.child("nodeSelector"), errors);
            }
        }
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
            resourceslice::binding(r, &path, errors);
            for (j, t) in list(r, "tolerations").iter().enumerate() {
                device::toleration(t, &path.child("tolerations").index(j), errors);
            }
        }
    }
    if device::bounded(devices, "config", MAX_CONFIGS, path, errors) {
        for (i, c) in list(devices, "config").iter().enumerate() {
            let path = path.child("config").index(i);
            if fields::required(c, "source", &path, errors).is_some() {
                fields::word(c, "source", &["FromClaim", "FromClass"], &path, errors);
            }
            device::request_refs(c, &known, &path, errors);
            device::opaque(c, &path, errors);
        }
    }
}

/// Driver, pool and name of a device, and which share of it.
fn device_id(d: &Value, path: &Path, errors: &mut ErrorList) {
    fields::driver_name(text(d, "driver"), &path.child("driver"), errors);
    resourceslice::pool_name(text(d, "pool"), &path.child("pool"), errors);
    let name = text(d, "device");
    errors.invalid_all(&path.child("device"), name, crate::names::dns1123_label(name));
    if let Some(share) = fields::set_text(d, "shareID") {
        share_id(share, &path.child("shareID"), errors);
    }
}

fn share_id(id: &str, path: &Path, errors: &mut ErrorList) {
    match uuid::Uuid::try_parse(id) {
        Err(_) => {
            // With and without dashes, in braces, as a URN.
            let known = [32, 36, 38, 45].contains(&id.len());
            let why = if known { "format".into() } else { format!("length: {}", id.len()) };
            errors.invalid(path, id, format!("error validating uid: invalid UUID {why}"));
        }
        Ok(parsed) if parsed.to_string() != id => errors.invalid(
            path,
            id,
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters",
        ),
        Ok(_) => {}
    }
}

/// How upstream writes the device that a status is of.
fn shown_id(d: &Value) -> String {
    let share = text(d, "shareID");
    let id = format!("{}/{}/{}", text(d, "driver"), text(d, "pool"), text(d, "device"));
    if share.is_empty() { id } else { format!("{id}/{share}") }
}

fn device_statuses(status: &Value, path: &Path, errors: &mut ErrorList) {
    let results = list(below(below(status, "allocation"), "devices"), "results");
    let allocated: Vec<String> = results.iter().map(shown_id).collect();
    let all: Vec<String> = list(status, "devices").iter().map(shown_id).collect();
    for (i, d) in list(status, "devices").iter().enumerate() {
        device_status(d, &allocated, &path.index(i), errors);
    }
    fields::no_repeats(&all.iter().map(String::as_str).collect::<Vec<_>>(), path, errors);
}

fn device_status(d: &Value, allocated: &[String], path: &Path, errors: &mut ErrorList) {
    device_id(d, path, errors);
    if !allocated.contains(&shown_id(d)) {
        errors.invalid(path, shown_id(d), "must be an allocated device in the claim");
    }
    if device::bounded(d, "conditions", MAX_CONDITIONS, path, errors) {
        fields::conditions(d, path, errors);
    }
    if let Some(data) = set(d, "data") {
        device::json_object(data, MAX_DATA, &path.child("data"), errors);
    }
    if let Some(network) = set(d, "networkData") {
        network_data(network, &path.child("networkData"), errors);
    }
}

fn network_data(network: &Value, path: &Path, errors: &mut ErrorList) {
    for (field, max) in [("interfaceName", MAX_INTERFACE_NAME), ("hardwareAddress", MAX_HARDWARE_ADDRESS)] {
        if text(network, field).len() > max {
            errors.too_long(&path.child(field), max);
        }
    }
    if device::bounded(network, "ips", MAX_IPS, path, errors) {
        let (ips, path) = (fields::texts(network, "ips"), path.child("ips"));
        for (i, ip) in ips.iter().enumerate() {
            errors.invalid_all(&path.index(i), ip, addresses::interface_address(ip));
        }
        fields::no_repeats(&ips, &path, errors);
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
