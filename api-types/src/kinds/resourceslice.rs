//! Slices of a pool of devices, as drivers publish them.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::device_request as device;
use super::fields::{self, below, entries, flag, int, list, set, set_text, text, texts};
use super::pod_defaults::objects;
use super::{device_capacity, node_selector};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of slices.
pub struct ResourceSlice;

const MAX_DEVICES: usize = 128;
/// Where devices have taints or consume counters, which cost more to look at.
const MAX_COSTLY_DEVICES: usize = 64;
const MAX_COUNTER_SETS: usize = 8;
const MAX_COUNTERS: usize = 32;
const MAX_CONSUMPTIONS: usize = 2;
const MAX_PROPERTIES: usize = 32;
/// Elements of lists counted one by one.
const MAX_VALUES: usize = 48;
const MAX_TAINTS: usize = 16;
const MAX_CONDITIONS: usize = 4;
const MAX_VALUE: usize = 64;
const MAX_POOL_NAME: usize = 253;
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const VALUES: [&str; 8] = ["bool", "int", "string", "version", "bools", "ints", "strings", "versions"];

static SEMVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$",
    )
    .ok()
});

impl Strategy for ResourceSlice {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        for d in objects(object_mut(root, "spec").get_mut("devices")) {
            for t in objects(d.get_mut("taints")) {
                default_to(t, "timeAdded", meta::now());
            }
        }
    }

    fn not_selectable(&self, field: &str) -> String {
        format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}")
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        fields::driver_name(text(spec, "driver"), &path.child("driver"), errors);
        pool(below(spec, "pool"), &path.child("pool"), errors);
        nodes(spec, &path, errors);
        if set(spec, "sharedCounters").is_some() && set(spec, "devices").is_some() {
            errors.invalid(&path, "", "only one of `sharedCounters` or `devices` is allowed");
        }
        let costly = |d: &Value| {
            let lists = entries(d, "attributes").any(|(_, a)| LISTS.iter().any(|f| set(a, f).is_some()));
            lists || !list(d, "taints").is_empty() || !list(d, "consumesCounters").is_empty()
        };
        let devices = list(spec, "devices");
        let max = if devices.iter().any(costly) { MAX_COSTLY_DEVICES } else { MAX_DEVICES };
        if device::bounded(spec, "devices", max, &path, errors) {
            let at = path.child("devices");
            for (i, d) in devices.iter().enumerate() {
                one_device(d, flag(spec, "perDeviceNodeSelection"), &at.index(i), errors);
            }
            device::unique_names(devices, &at, errors);
        }
        if device::bounded(spec, "sharedCounters", MAX_COUNTER_SETS, &path, errors) {
            let (sets, at) = (list(spec, "sharedCounters"), path.child("sharedCounters"));
            for (i, s) in sets.iter().enumerate() {
                counters(s, "name", &at.index(i), errors);
            }
            device::unique_names(sets, &at, errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (spec, before, path) = (below(new, "spec"), below(old, "spec"), Path::new("spec"));
        let (pool, old_pool) = (below(spec, "pool"), below(before, "pool"));
        fields::unchanged(pool, old_pool, "name", &path.child("pool").child("name"), errors);
        for f in ["driver", "nodeName"] {
            fields::unchanged(spec, before, f, &path.child(f), errors);
        }
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        vec![
            meta::name(o).into(),
            text(spec, "nodeName").into(),
            text(spec, "driver").into(),
            text(below(spec, "pool"), "name").into(),
            table::age(o, now).into(),
        ]
    }
}

/// Reasons to refuse the name of a pool: subdomains between slashes.
pub(super) fn pool_name(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > MAX_POOL_NAME {
        errors.too_long(path, MAX_POOL_NAME);
    }
    for part in name.split('/') {
        errors.invalid_all(path, part, names::dns1123_subdomain(part));
    }
}

fn pool(pool: &Value, path: &Path, errors: &mut ErrorList) {
    pool_name(text(pool, "name"), &path.child("name"), errors);
    let (slices, generation) = (int(pool, "resourceSliceCount"), int(pool, "generation"));
    if slices <= 0 {
        errors.invalid(&path.child("resourceSliceCount"), slices, "must be greater than zero");
    }
    if generation < 0 {
        let text = "must be greater than or equal to zero";
        errors.invalid(&path.child("generation"), generation, text);
    }
}

/// Notes a field that, where it is set, must be true.
fn only_true<'a>(v: &Value, field: &'a str, path: &Path, errors: &mut ErrorList) -> Option<&'a str> {
    match v.get(field).and_then(Value::as_bool) {
        Some(false) => {
            errors.invalid(&path.child(field), false, "must be either unset or set to true");
            None
        }
        Some(true) => Some(field),
        None => None,
    }
}

fn nodes(spec: &Value, path: &Path, errors: &mut ErrorList) {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut chosen: Vec<&str> = Vec::new();
    match set_text(spec, "nodeName") {
        Some("") => {
            let text = "must be either unset or set to a non-empty string";
            errors.invalid(&path.child("nodeName"), "", text);
        }
        Some(name) => {
            chosen.push("nodeName");
            errors.invalid_all(&path.child("nodeName"), name, names::dns1123_subdomain(name));
        }
        None => {}
    }
    if let Some(selector) = set(spec, "nodeSelector") {
        chosen.push("nodeSelector");
        node_selector::required(selector, &path.child("nodeSelector"), errors);
        let terms = list(selector, "nodeSelectorTerms");
        if terms.len() != 1 {
            let at = path.child("nodeSelector").child("nodeSelectorTerms");
            errors.invalid(&at, terms.to_vec(), "must have exactly one node selector term");
        }
    }
    chosen.extend(only_true(spec, "allNodes", path, errors));
    chosen.extend(only_true(spec, "perDeviceNodeSelection", path, errors));
    match chosen.len() {
        0 => errors.required(path, ONE),
        1 => {}
        _ => errors.invalid(path, shown(&chosen), format!("{ONE}, but multiple fields are set")),
    }
}

fn shown(chosen: &[&str]) -> String {
    let quoted: Vec<String> = chosen.iter().map(|c| format!("`{c}`")).collect();
    format!("{{{}}}", quoted.join(", "))
}

fn device_nodes(d: &Value, each: bool, path: &Path, errors: &mut ErrorList) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let all = ["nodeName", "nodeSelector", "allNodes"];
    if !each {
        if all.iter().any(|f| set(d, f).is_some()) {
            let text = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, Value::Null, text);
        }
        return;
    }
    let mut chosen: Vec<&str> = Vec::new();
    match set_text(d, "nodeName") {
        Some("") => errors.invalid(&path.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            chosen.push("nodeName");
            errors.invalid_all(&path.child("nodeName"), name, names::dns1123_subdomain(name));
        }
        None => {}
    }
    if let Some(selector) = set(d, "nodeSelector") {
        chosen.push("nodeSelector");
        node_selector::required(selector, &path.child("nodeSelector"), errors);
    }
    chosen.extend(only_true(d, "allNodes", path, errors));
    match chosen.len() {
        0 => errors.required(path, ONE),
        1 => {}
        _ => errors.invalid(path, shown(&chosen), ONE),
    }
}

fn one_device(d: &Value, each_has_nodes: bool, path: &Path, errors: &mut ErrorList) {
    errors.invalid_all(&path.child("name"), text(d, "name"), names::dns1123_label(text(d, "name")));
    let count = entries(d, "attributes").count() + entries(d, "capacity").count();
    if count > MAX_PROPERTIES {
        let text = format!("the total number of attributes and capacities must not exceed {MAX_PROPERTIES}");
        errors.invalid(path, count, text);
    }
    let values: usize = entries(d, "attributes").map(|(_, a)| values_of(a)).sum();
    if values > MAX_VALUES {
        let text = format!("the total number of attribute values must not exceed {MAX_VALUES}");
        errors.invalid(path, values, text);
    }
    for (name, a) in entries(d, "attributes") {
        let path = path.child("attributes").key(name);
        device::qualified(name, &path, errors);
        attribute(a, &path, errors);
    }
    for (name, c) in entries(d, "capacity") {
        let path = path.child("capacity").key(name);
        device::qualified(name, &path, errors);
        let Some(policy) = set(c, "requestPolicy") else { continue };
        let at = path.child("requestPolicy");
        if flag(d, "allowMultipleAllocations") {
            device_capacity::request_policy(policy, below(c, "value"), &at, errors);
        } else {
            errors.forbidden(&at, "allowMultipleAllocations must be true");
        }
    }
    if device::bounded(d, "taints", MAX_TAINTS, path, errors) {
        for (i, t) in list(d, "taints").iter().enumerate() {
            device::taint(t, &path.child("taints").index(i), errors);
        }
    }
    if device::bounded(d, "consumesCounters", MAX_CONSUMPTIONS, path, errors) {
        let (all, at) = (list(d, "consumesCounters"), path.child("consumesCounters"));
        for (i, c) in all.iter().enumerate() {
            counters(c, "counterSet", &at.index(i), errors);
        }
        let sets: Vec<&str> = all.iter().map(|c| text(c, "counterSet")).collect();
        fields::no_repeats(&sets, &at, errors);
    }
    device_nodes(d, each_has_nodes, path, errors);
    binding(d, path, errors);
}

/// How many values an attribute has.
fn values_of(attribute: &Value) -> usize {
    LISTS.iter().map(|f| list(attribute, f).len()).sum::<usize>().max(1)
}

fn attribute(a: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(v) = set_text(a, "string") {
        short(v, &path.child("string"), errors);
    }
    if let Some(v) = set_text(a, "version") {
        version(v, &path.child("version"), errors);
    }
    for field in LISTS.into_iter().filter(|f| set(a, f).is_some()) {
        let at = path.child(field);
        for (i, v) in texts(a, field).into_iter().enumerate() {
            match field {
                "versions" => version(v, &at.index(i), errors),
                _ => short(v, &at.index(i), errors),
            }
        }
    }
    match VALUES.iter().filter(|f| set(a, f).is_some()).count() {
        0 => errors.invalid(path, "", "exactly one value must be specified"),
        1 => {}
        _ => errors.invalid(path, a.clone(), "exactly one value must be specified"),
    }
}

fn short(v: &str, path: &Path, errors: &mut ErrorList) {
    if v.len() > MAX_VALUE {
        errors.too_long(path, MAX_VALUE);
    }
}

fn version(v: &str, path: &Path, errors: &mut ErrorList) {
    if SEMVER.as_ref().is_none_or(|r| !r.is_match(v)) {
        errors.invalid(path, v, "must be a string compatible with semver.org spec 2.0.0");
    }
    short(v, path, errors);
}

/// A set of counters, or what a device takes of one.
fn counters(v: &Value, name: &str, path: &Path, errors: &mut ErrorList) {
    fields::required_name(v, name, names::dns1123_label, path, errors);
    let (count, at) = (entries(v, "counters").count(), path.child("counters"));
    if count == 0 {
        errors.required(&at, "");
    } else if count > MAX_COUNTERS {
        errors.too_many(&at, count, MAX_COUNTERS);
        return;
    }
    for (name, _) in entries(v, "counters") {
        errors.invalid_all(&at.key(name), name, names::dns1123_label(name));
    }
}

/// Reasons to refuse the conditions that a device waits for, or gives up by.
pub(super) fn binding(d: &Value, path: &Path, errors: &mut ErrorList) {
    let names = ["bindingConditions", "bindingFailureConditions"];
    let [good, bad] = names.map(|f| texts(d, f));
    for (field, all) in names.iter().zip([&good, &bad]) {
        if device::bounded(d, field, MAX_CONDITIONS, path, errors) {
            for (i, c) in all.iter().enumerate() {
                fields::label_name(c, &path.child(field).index(i), errors);
            }
        }
    }
    fields::no_repeats(&good, &path.child(names[0]), errors);
    for (i, c) in bad.iter().enumerate() {
        let at = path.child(names[1]).index(i);
        if bad[..i].contains(c) {
            errors.duplicate(&at, *c);
        }
        if good.contains(c) {
            errors.invalid(&at, *c, "bindingFailureConditions must not overlap with bindingConditions");
        }
    }
    for (missing, other, i, j) in [(&good, &bad, 0, 1), (&bad, &good, 1, 0)] {
        if missing.is_empty() && !other.is_empty() {
            let text = format!("{} are required to use {}", names[i], names[j]);
            errors.invalid(&path.child(names[i]), json!(null), text);
        }
    }
}
