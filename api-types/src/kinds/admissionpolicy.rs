//! Admission policies and their bindings. They are kept; their expressions are neither compiled nor evaluated yet.

use serde_json::{Value, json};

use super::fields::{self, below, list, set, set_text, text, texts};
use super::{admission_match, drop_status, keep_status};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of validating and mutating admission policies.
pub struct AdmissionPolicy {
    /// Whether it may change objects.
    pub mutating: bool,
}

/// The strategy of the bindings of such policies.
pub struct AdmissionPolicyBinding {
    /// Whether it binds a mutating policy.
    pub mutating: bool,
}

const RULES: &[&str] = &["resourceRules", "excludeResourceRules"];
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const MAX_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;
/// Words that no variable can be named.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

impl Strategy for AdmissionPolicy {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        default_to(spec, "failurePolicy", "Fail");
        if let Some(Value::Object(constraints)) = spec.get_mut("matchConstraints") {
            admission_match::defaults(constraints, RULES);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        if !self.mutating {
            object["status"] = json!({});
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        fields::word(spec, "failurePolicy", &["Fail", "Ignore"], &path, errors);
        if let Some(kind) = set(spec, "paramKind") {
            admission_match::param_kind(kind, &path.child("paramKind"), errors);
        }
        let at = path.child("matchConstraints");
        match set(spec, "matchConstraints") {
            None => errors.required(&at, ""),
            Some(constraints) => {
                admission_match::resources(constraints, &at, errors);
                if list(constraints, "resourceRules").is_empty() {
                    errors.required(&at.child("resourceRules"), "");
                }
            }
        }
        admission_match::conditions(spec, &path, errors);
        for (i, v) in list(spec, "variables").iter().enumerate() {
            variable(v, &path.child("variables").index(i), errors);
        }
        if self.mutating {
            mutations(spec, &path, errors);
        } else {
            validations(meta::name(object), spec, &path, errors);
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let (status, path) = (below(new, "status"), Path::new("status"));
        let warnings = list(below(status, "typeChecking"), "expressionWarnings");
        for (i, w) in warnings.iter().enumerate() {
            let path = path.child("typeChecking").child("expressionWarnings").index(i);
            fields::required(w, "warning", &path, errors);
            if text(w, "fieldRef").trim().is_empty() {
                errors.required(&path.child("fieldRef"), "");
            }
        }
        fields::conditions(status, &path, errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let what = if self.mutating { "mutations" } else { "validations" };
        let kind = set(spec, "paramKind")
            .map_or("<unset>".into(), |k| format!("{}/{}", text(k, "apiVersion"), text(k, "kind")));
        vec![meta::name(o).into(), list(spec, what).len().into(), kind.into(), table::age(o, now).into()]
    }
}

fn variable(v: &Value, path: &Path, errors: &mut ErrorList) {
    let name = text(v, "name");
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.trim().is_empty() {
        errors.required(&path.child("name"), "name is not specified");
    } else if !name.chars().all(part)
        || name.starts_with(|c: char| c.is_ascii_digit())
        || RESERVED.contains(&name)
    {
        errors.invalid(&path.child("name"), name, "name is not a valid CEL identifier");
    }
    expression(v, "expression is not specified", path, errors);
}

fn expression(v: &Value, detail: &str, path: &Path, errors: &mut ErrorList) {
    if text(v, "expression").trim().is_empty() {
        errors.required(&path.child("expression"), detail);
    }
}

fn validations(policy: &str, spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        for f in ["validations", "auditAnnotations"] {
            let text = "validations or auditAnnotations must contain at least one item";
            errors.required(&path.child(f), text);
        }
        return;
    }
    for (i, v) in validations.iter().enumerate() {
        validation(v, &path.child("validations").index(i), errors);
    }
    let path = path.child("auditAnnotations");
    if annotations.len() > MAX_ANNOTATIONS {
        let text = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.invalid(&path, annotations.to_vec(), text);
    }
    for (i, a) in annotations.iter().enumerate() {
        let (path, key, value) = (path.index(i), text(a, "key"), text(a, "valueExpression").trim());
        let qualified = format!("{policy}/{key}");
        errors.invalid_all(&path.child("key"), &qualified, names::qualified_name(&qualified));
        if value.is_empty() {
            errors.required(&path.child("valueExpression"), "valueExpression is not specified");
        } else if value.len() > MAX_VALUE_EXPRESSION {
            let text = format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length");
            errors.required(&path.child("valueExpression"), &text);
        }
        if annotations[..i].iter().any(|b| text(b, "key") == key) {
            errors.duplicate(&path.child("key"), key);
        }
    }
}

fn validation(v: &Value, path: &Path, errors: &mut ErrorList) {
    expression(v, "expression is not specified", path, errors);
    let blank = |t: &str| !t.is_empty() && t.trim().is_empty();
    let (message, message_expression) = (text(v, "message"), text(v, "messageExpression"));
    if blank(message_expression) {
        let text = "must be non-empty if specified";
        errors.invalid(&path.child("messageExpression"), message_expression, text);
    }
    if blank(message) {
        errors.invalid(&path.child("message"), message, "message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&path.child("message"), message, "message must not contain line breaks");
    }
    fields::word(v, "reason", REASONS, path, errors);
}

fn mutations(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let mutations = list(spec, "mutations");
    if mutations.is_empty() {
        errors.required(&path.child("mutations"), "mutations must contain at least one item");
    }
    for (i, m) in mutations.iter().enumerate() {
        let path = path.child("mutations").index(i);
        let (wanted, other) = match text(m, "patchType") {
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "" => {
                errors.required(&path.child("patchType"), "");
                continue;
            }
            t => {
                let known = &["ApplyConfiguration", "JSONPatch"];
                errors.not_supported(&path.child("patchType"), t, known);
                continue;
            }
        };
        match set(m, wanted) {
            None => {
                let text = format!("must be specified when patchType is {}", text(m, "patchType"));
                errors.required(&path.child(wanted), &text);
            }
            Some(patch) => expression(patch, "expression is not specified", &path.child(wanted), errors),
        }
        if set(m, other).is_some() {
            let text = format!("must not be specified when patchType is {}", text(m, "patchType"));
            errors.forbidden(&path.child(other), text);
        }
    }
    if fields::required(spec, "reinvocationPolicy", path, errors).is_some() {
        fields::word(spec, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
    }
}

impl Strategy for AdmissionPolicyBinding {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        if let Some(Value::Object(matching)) = object_mut(root, "spec").get_mut("matchResources") {
            admission_match::defaults(matching, RULES);
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        fields::required_name(spec, "policyName", names::dns1123_subdomain, &path, errors);
        if let Some(param) = set(spec, "paramRef") {
            admission_match::param_ref(param, &path.child("paramRef"), errors);
        }
        if let Some(matching) = set(spec, "matchResources") {
            admission_match::resources(matching, &path.child("matchResources"), errors);
        }
        if !self.mutating {
            actions(&texts(spec, "validationActions"), &path.child("validationActions"), errors);
        }
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
