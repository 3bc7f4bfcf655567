//! Ingress classes: who makes ingresses work.

use serde_json::Value;

use super::check::domain_prefixed_path;
use super::fields::{self, below, set, set_text, text};
use super::ingress;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of ingress classes.
pub struct IngressClass;

const MAX_CONTROLLER: usize = 250;
/// Marks the class of ingresses that name none.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const SCOPES: &[&str] = &["Cluster", "Namespace"];

impl Strategy for IngressClass {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        if let Some(Value::Object(parameters)) = spec.get_mut("parameters") {
            default_to(parameters, "scope", "Cluster");
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        let (controller, at) = (text(spec, "controller"), path.child("controller"));
        if controller.len() > MAX_CONTROLLER {
            errors.too_long(&at, MAX_CONTROLLER);
        }
        domain_prefixed_path(controller, &at, errors);
        if let Some(p) = set(spec, "parameters") {
            parameters(p, &path.child("parameters"), errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let path = Path::new("spec").child("controller");
        fields::unchanged(below(new, "spec"), below(old, "spec"), "controller", &path, errors);
        self.validate_create(new, errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let parameters = set(spec, "parameters").map_or("<none>".into(), |p| {
            let group = set_text(p, "apiGroup").map_or(String::new(), |g| format!(".{g}"));
            format!("{}{group}/{}", text(p, "kind"), text(p, "name"))
        });
        let is_default = meta::str_at(o, &["metadata", "annotations", DEFAULT]) == "true";
        let name = meta::name(o);
        vec![
            if is_default { format!("{name} (default)").into() } else { name.into() },
            text(spec, "controller").into(),
            parameters.into(),
            table::age(o, now).into(),
        ]
    }
}

fn parameters(p: &Value, path: &Path, errors: &mut ErrorList) {
    ingress::reference(p, path, errors);
    let Some(scope) = set_text(p, "scope") else {
        errors.required(&path.child("scope"), "");
        return;
    };
    let (at, namespace) = (path.child("namespace"), set_text(p, "namespace"));
    match (scope, namespace) {
        ("Namespace", None) => errors.required(&at, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", Some(n)) => errors.invalid_all(&at, n, names::dns1123_label(n)),
        ("Cluster", Some(_)) => errors.forbidden(&at, "`parameters.scope` is set to 'Cluster'"),
        ("Cluster", None) => {}
        (other, _) => errors.not_supported(&path.child("scope"), other, SCOPES),
    }
}
