//! DaemonSets (`pkg/apis/apps/validation/validation.go`, `pkg/registry/apps/daemonset/strategy.go`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::check::{at_most_all, collisions_only_grow, int_or_percent, is_zero, non_negative, part, text};
use super::workload::{self, count, label_selector};
use super::{drop_status, keep_status, pod_warnings, typed};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::selector::Selector;
use crate::table;

/// The strategy of daemon sets.
pub struct DaemonSet;

/// Counts changes of the template; a field of the spec in versions before `apps/v1`.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl Strategy for DaemonSet {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        workload::template_defaults(spec);
        default_to(spec, "revisionHistoryLimit", 10);
        let update = object_mut(spec, "updateStrategy");
        default_to(update, "type", "RollingUpdate");
        if update.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            let rolling = object_mut(update, "rollingUpdate");
            default_to(rolling, "maxUnavailable", 1);
            default_to(rolling, "maxSurge", 0);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        super::pod_disabled::drop(object, &Value::Null, &["spec", "template", "spec"]);
        object["status"] = json!({"currentNumberScheduled": 0, "numberMisscheduled": 0,
            "desiredNumberScheduled": 0, "numberReady": 0});
        let generation = template_generation(object).max(1);
        set_template_generation(object, generation);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::pod_disabled::drop(new, old, &["spec", "template", "spec"]);
        let template = ["spec", "template"];
        let changed = meta::at(new, &template) != meta::at(old, &template);
        set_template_generation(new, template_generation(old) + i64::from(changed));
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        let given = part(spec, "selector");
        let typed: LabelSelector = typed(spec.get("selector"));
        label_selector(&typed, &path.child("selector"), errors);
        let selector = if given.is_null() {
            Some(Selector::nothing())
        } else {
            Selector::from_label_selector(&typed).ok()
        };
        let template = part(spec, "template");
        let path_of_template = path.child("template");
        workload::selects_template(selector.as_ref(), template, &path_of_template, errors);
        if !given.is_null() && selector.as_ref().is_some_and(Selector::is_everything) {
            let why = "empty selector is invalid for daemonset";
            errors.invalid(&path.child("selector"), given.clone(), why);
        }
        workload::pod_template(template, &path_of_template, errors);
        workload::always_running(template, "DaemonSet", &path_of_template, errors);
        non_negative(spec, &["minReadySeconds", "revisionHistoryLimit"], &path, errors);
        update_strategy(part(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        workload::selector_is_immutable(new, old, errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        non_negative(
            part(new, "status"),
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            &Path::new("status"),
            errors,
        );
        collisions_only_grow(new, old, errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        pod_warnings::of_workload(object, old)
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let template = meta::at(o, &["spec", "template", "spec"]);
        let status = |f: &str| Value::from(count(o, &["status", f]));
        vec![
            meta::name(o).into(),
            status("desiredNumberScheduled"),
            status("currentNumberScheduled"),
            status("numberReady"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
            table::label_map(template.and_then(|t| t.get("nodeSelector"))).into(),
            table::age(o, now).into(),
            table::containers(template, "name").into(),
            table::containers(template, "image").into(),
            table::label_selector(meta::at(o, &["spec", "selector"])).into(),
        ]
    }
}

fn template_generation(object: &Value) -> i64 {
    meta::str_at(object, &["metadata", "annotations", TEMPLATE_GENERATION]).parse().unwrap_or(0)
}

fn set_template_generation(object: &mut Value, n: i64) {
    let annotations = object_mut(meta::metadata_mut(object), "annotations");
    annotations.insert(TEMPLATE_GENERATION.into(), n.to_string().into());
}

fn update_strategy(strategy: &Value, path: &Path, errors: &mut ErrorList) {
    let path_of_rolling = path.child("rollingUpdate");
    let rolling = part(strategy, "rollingUpdate");
    match text(strategy, "type").unwrap_or("") {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_null() => errors.required(&path_of_rolling, ""),
        "RollingUpdate" => {
            let field = |f: &str| (part(rolling, f), path_of_rolling.child(f));
            let ((unavailable, path), (surge, surge_path)) = (field("maxUnavailable"), field("maxSurge"));
            int_or_percent(unavailable, &path, errors);
            int_or_percent(surge, &surge_path, errors);
            at_most_all(unavailable, &path, errors);
            at_most_all(surge, &surge_path, errors);
            match (is_zero(unavailable), is_zero(surge)) {
                (false, false) => errors.invalid(
                    &surge_path,
                    surge.clone(),
                    "may not be set when maxUnavailable is non-zero",
                ),
                (true, true) => errors.required(&path, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => errors.not_supported(path, strategy.clone(), &["RollingUpdate", "OnDelete"]),
    }
}
