//! StatefulSets (`pkg/apis/apps/validation/validation.go`, `pkg/registry/apps/statefulset/strategy.go`).

use serde_json::{Map, Value, json};

use super::check::{
    at_most_all, collisions_only_grow, int, int_or_percent, is_zero, list, non_negative, part, text,
};
use super::pod_defaults::objects;
use super::workload::{self, count};
use super::{drop_status, keep_status, persistentvolumeclaim, pod_warnings};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::selector::Selector;
use crate::{names, table};

/// The strategy of stateful sets.
pub struct StatefulSet;

/// What an update may change of the spec.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        workload::defaults(spec);
        default_to(spec, "podManagementPolicy", "OrderedReady");
        default_to(spec, "revisionHistoryLimit", 10);
        let update = object_mut(spec, "updateStrategy");
        if text_of(update, "type").is_empty() {
            update.insert("type".into(), "RollingUpdate".into());
            object_mut(update, "rollingUpdate");
        }
        if let Some(Value::Object(rolling)) = update.get_mut("rollingUpdate") {
            default_to(rolling, "partition", 0);
        }
        let retention = object_mut(spec, "persistentVolumeClaimRetentionPolicy");
        default_to(retention, "whenDeleted", "Retain");
        default_to(retention, "whenScaled", "Retain");
        for claim in objects(spec.get_mut("volumeClaimTemplates")) {
            default_to(claim, "apiVersion", "v1");
            default_to(claim, "kind", "PersistentVolumeClaim");
            persistentvolumeclaim::defaults(claim);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        super::pod_disabled::drop(object, &Value::Null, &["spec", "template", "spec"]);
        object["status"] = json!({"replicas": 0, "availableReplicas": 0});
        drop_max_unavailable(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::pod_disabled::drop(new, old, &["spec", "template", "spec"]);
        if meta::at(old, &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"]).is_none() {
            drop_max_unavailable(new);
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        match text(spec, "podManagementPolicy").unwrap_or("") {
            "OrderedReady" | "Parallel" => {}
            "" => errors.required(&path.child("podManagementPolicy"), ""),
            other => errors.invalid(
                &path.child("podManagementPolicy"),
                other,
                "must be 'OrderedReady' or 'Parallel'",
            ),
        }
        update_strategy(part(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
        let retention = part(spec, "persistentVolumeClaimRetentionPolicy");
        for when in ["whenDeleted", "whenScaled"] {
            let policy = text(retention, when).unwrap_or("");
            if !["Retain", "Delete"].contains(&policy) {
                let path = path.child("persistentVolumeClaimRetentionPolicy").child(when);
                errors.not_supported(&path, policy, &["Retain", "Delete"]);
            }
        }
        non_negative(spec, &["replicas", "minReadySeconds"], &path, errors);
        if let Some(start) = int(part(spec, "ordinals"), "start") {
            errors.non_negative(&path.child("ordinals.start"), start);
        }
        let selector = workload::required_selector(spec, "statefulset", &path, errors);
        template(spec, selector.as_ref(), &path.child("template"), errors);
        for (i, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            let path = path.child("volumeClaimTemplates").index(i).child("spec");
            persistentvolumeclaim::validate_spec(part(claim, "spec"), &path, errors);
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        // It becomes the subdomain of the pods.
        let service = meta::str_at(object, &["spec", "serviceName"]);
        if !service.is_empty() {
            errors.invalid_all(
                &Path::new("spec").child("serviceName"),
                service,
                names::dns1123_label(service),
            );
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let fixed = |o: &Value| {
            let mut spec = part(o, "spec").as_object().cloned().unwrap_or_default();
            spec.retain(|k, _| !MUTABLE.contains(&k.as_str()));
            spec
        };
        if fixed(new) != fixed(old) {
            errors.forbidden(
                &Path::new("spec"),
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            );
        }
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let status = part(new, "status");
        let path = Path::new("status");
        let counts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        non_negative(status, &["replicas"], &path, errors);
        non_negative(status, &counts, &path, errors);
        non_negative(status, &["observedGeneration", "collisionCount"], &path, errors);
        workload::at_most_replicas(status, &counts, &path, errors);
        let available = int(status, "availableReplicas").unwrap_or(0);
        if available > int(status, "readyReplicas").unwrap_or(0) {
            let why = "cannot be greater than status.readyReplicas";
            errors.invalid(&path.child("availableReplicas"), available, why);
        }
        collisions_only_grow(new, old, errors);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        // Names of its pods, and so their hosts, are made of it.
        names::dns1123_label(name)
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut all = pod_warnings::of_workload(object, old);
        let spec = part(object, "spec");
        for (i, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            let path = Path::new("spec").child("volumeClaimTemplates").index(i);
            // Upstream's own spelling.
            let path = if old.is_some() { path.child("Spec") } else { path };
            all.extend(persistentvolumeclaim::spec_warnings(part(claim, "spec"), &path));
        }
        if int(spec, "revisionHistoryLimit").is_some_and(|n| n < 0) {
            all.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
        }
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let template = meta::at(o, &["spec", "template", "spec"]);
        vec![
            meta::name(o).into(),
            format!("{}/{}", count(o, &["status", "readyReplicas"]), count(o, &["spec", "replicas"])).into(),
            table::age(o, now).into(),
            table::containers(template, "name").into(),
            table::containers(template, "image").into(),
        ]
    }
}

fn text_of<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or("")
}

/// 1.36 has the field's feature off, after a regression in 1.35 (kubernetes/kubernetes#137904).
fn drop_max_unavailable(object: &mut Value) {
    let rolling = object
        .get_mut("spec")
        .and_then(|s| s.get_mut("updateStrategy"))
        .and_then(|u| u.get_mut("rollingUpdate"))
        .and_then(Value::as_object_mut);
    if let Some(rolling) = rolling {
        rolling.remove("maxUnavailable");
    }
}

fn update_strategy(strategy: &Value, path: &Path, errors: &mut ErrorList) {
    let rolling = part(strategy, "rollingUpdate");
    let path_of_rolling = path.child("rollingUpdate");
    match text(strategy, "type").unwrap_or("") {
        "OnDelete" if !rolling.is_null() => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(&path_of_rolling, rolling.clone(), why);
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            non_negative(rolling, &["partition"], &path_of_rolling, errors);
            let max = part(rolling, "maxUnavailable");
            if !max.is_null() {
                let path = path_of_rolling.child("maxUnavailable");
                int_or_percent(max, &path, errors);
                if is_zero(max) {
                    errors.invalid(&path, max.clone(), "cannot be 0");
                }
                at_most_all(max, &path, errors);
            }
        }
        _ => errors.invalid(path, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// The template as its pods will have it: the set gives them their volumes, host names and subdomain.
fn template(spec: &Value, selector: Option<&Selector>, path: &Path, errors: &mut ErrorList) {
    let mut template = part(spec, "template").clone();
    workload::selects_template(selector, &template, path, errors);
    let claims: Vec<&str> =
        list(spec, "volumeClaimTemplates").iter().map(meta::name).filter(|n| !n.is_empty()).collect();
    if let Value::Object(map) = &mut template {
        let pod = object_mut(map, "spec");
        pod.remove("hostname");
        pod.remove("subdomain");
        let mut volumes = pod.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        volumes.retain(|v| !claims.contains(&text(v, "name").unwrap_or("")));
        volumes.extend(claims.iter().map(|n| json!({"name": n, "persistentVolumeClaim": {"claimName": n}})));
        pod.insert("volumes".into(), volumes.into());
    }
    workload::pod_template(&template, path, errors);
    workload::always_running(&template, "StatefulSet", path, errors);
}
