//! Ingress classes: who makes ingresses work.

use serde_json::Value;

use super::fields::{self, below, set, set_text, text};
use super::ingress;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of ingress classes.
pub struct IngressClass;

const MAX_CONTROLLER: usize = 250;
const HTTP_PATH_FORMAT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
const SCOPES: &[&str] = &["Cluster", "Namespace"];

impl Strategy for IngressClass {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        if let Some(Value::Object(parameters)) = spec.get_mut("parameters") {
            default_to(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        if let Some(controller) = fields::required(spec, "controller", &path, errors) {
            if controller.len() > MAX_CONTROLLER {
                errors.too_long(&path.child("controller"), MAX_CONTROLLER);
            }
            domain_prefixed_path(controller, &path.child("controller"), errors);
        }
        if let Some(p) = set(spec, "parameters") {
            parameters(p, &path.child("parameters"), errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let path = Path::new("spec").child("controller");
        fields::unchanged(below(new, "spec"), below(old, "spec"), "controller", &path, errors);
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
        vec![
            meta::name(o).into(),
            text(spec, "controller").into(),
            parameters.into(),
            table::age(o, now).into(),
        ]
    }
}

/// A domain, a slash and a path, as controllers and finalizers are named.
fn domain_prefixed_path(value: &str, path: &Path, errors: &mut ErrorList) {
    let Some((host, rest)) = value.split_once('/').filter(|(h, r)| !h.is_empty() && !r.is_empty()) else {
        errors.invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    errors.invalid_all(path, host, names::dns1123_subdomain(host));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if !rest.chars().all(allowed) {
        let text = format!("Invalid path (regex used for validation is '{HTTP_PATH_FORMAT}')");
        errors.invalid(path, rest, text);
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
