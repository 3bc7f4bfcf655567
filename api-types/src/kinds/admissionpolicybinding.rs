//! Bindings of admission policies: which policy, with which parameters, for what.

use serde_json::Value;

use super::admission_match;
use super::fields::{self, below, set, set_text, text, texts};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::{names, table};

/// The strategy of the bindings of validating and mutating admission policies.
pub struct AdmissionPolicyBinding {
    /// Whether it binds a mutating policy.
    pub mutating: bool,
}

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

impl Strategy for AdmissionPolicyBinding {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        if let Some(Value::Object(matching)) = object_mut(root, "spec").get_mut("matchResources") {
            admission_match::defaults(matching, admission_match::RULES);
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        fields::required_name(spec, "policyName", names::dns1123_subdomain, &path, errors);
        if let Some(param) = set(spec, "paramRef") {
            admission_match::param_ref(param, &path.child("paramRef"), errors);
        }
        if let Some(matching) = set(spec, "matchResources") {
            let at = path.child("matchResources");
            admission_match::resources(matching, &at, errors);
            if self.mutating {
                admission_match::mutable(matching, &at, errors);
            }
        }
        if !self.mutating {
            actions(&texts(spec, "validationActions"), &path.child("validationActions"), errors);
        }
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        admission_match::reserved_name(meta::name(object))
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let param = set(spec, "paramRef").map_or("<unset>".into(), |p| {
            match (text(p, "name"), set_text(p, "namespace").unwrap_or("")) {
                ("", _) if set(p, "selector").is_some() => table::label_selector(p.get("selector")),
                ("", _) => "<unset>".into(),
                (name, "") => format!("*/{name}"),
                (name, namespace) => format!("{namespace}/{name}"),
            }
        });
        vec![meta::name(o).into(), text(spec, "policyName").into(), param.into(), table::age(o, now).into()]
    }
}

fn actions(actions: &[&str], path: &Path, errors: &mut ErrorList) {
    for (i, a) in actions.iter().enumerate() {
        if !ACTIONS.contains(a) {
            errors.not_supported(&path.index(i), *a, ACTIONS);
        }
        if actions[..i].contains(a) {
            errors.duplicate(&path.index(i), *a);
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let text = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(path, actions.to_vec(), text);
    }
    if actions.is_empty() {
        errors.required(path, "at least one validation action is required");
    }
}
