//! Admission policies. They are kept; their expressions are neither compiled nor evaluated yet.

use serde_json::{Value, json};

use super::fields::{self, below, list, set, text};
use super::{admission_match, drop_status, json_path, keep_status};
use crate::catalog::{Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of validating and mutating admission policies.
pub struct AdmissionPolicy {
    /// Whether it may change objects.
    pub mutating: bool,
}

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

impl AdmissionPolicy {
    /// Conditions that are `known` were stored as they are, with the same kind of parameters: they are not judged again.
    fn check(&self, object: &Value, known: bool, errors: &mut ErrorList) {
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
                if self.mutating {
                    admission_match::mutable(constraints, &at, errors);
                }
            }
        }
        if !known {
            admission_match::conditions(spec, &path, errors);
        }
        for (i, v) in list(spec, "variables").iter().enumerate() {
            variable(v, &path.child("variables").index(i), errors);
        }
        if self.mutating {
            mutations(spec, &path, errors);
        } else {
            validations(meta::name(object), spec, &path, errors);
        }
    }
}

impl Strategy for AdmissionPolicy {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        default_to(spec, "failurePolicy", "Fail");
        if let Some(Value::Object(constraints)) = spec.get_mut("matchConstraints") {
            admission_match::defaults(constraints, admission_match::RULES);
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

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        self.check(object, false, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (spec, before) = (below(new, "spec"), below(old, "spec"));
        let known = !["paramKind", "matchConditions"].iter().any(|f| fields::differs(spec, before, f));
        self.check(new, known, errors);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let (status, path) = (below(new, "status"), Path::new("status"));
        let warnings = list(below(status, "typeChecking"), "expressionWarnings");
        for (i, w) in warnings.iter().enumerate() {
            let path = path.child("typeChecking").child("expressionWarnings").index(i);
            fields::required(w, "warning", &path, errors);
            let (field, at) = (text(w, "fieldRef").trim(), path.child("fieldRef"));
            if field.is_empty() {
                errors.required(&at, "");
            } else if let Err(why) = json_path::check(&format!("{{{field}}}")) {
                errors.invalid(&at, field, format!("invalid JSONPath: {why}"));
            }
        }
        fields::conditions(status, &path, errors);
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
        errors.invalid(&path.child("name"), name, "must be a valid CEL identifier");
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
        errors.invalid(&path.child("message"), message, "must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&path.child("message"), message, "must not contain line breaks");
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
            Some(patch) => expression(patch, "", &path.child(wanted), errors),
        }
        if set(m, other).is_some() {
            let text = format!("must not be specified when patchType is {}", text(m, "patchType"));
            // Upstream shows a stand-in for the patch.
            errors.invalid(&path.child(other), format!("{{{other}}}"), text);
        }
    }
    if fields::required(spec, "reinvocationPolicy", path, errors).is_some() {
        fields::word(spec, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_conditions_are_not_judged_again() {
        let policy = |change: Value| {
            let mut p = json!({"spec": {"matchConstraints": {"resourceRules": [{"operations": ["*"],
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]},
                "validations": [{"expression": "true"}], "matchConditions": [{"name": "", "expression": "a"}]}});
            for (field, value) in change.as_object().into_iter().flatten() {
                p["spec"][field] = value.clone();
            }
            p
        };
        let old = policy(json!({}));
        for (change, refused) in [
            (json!({"failurePolicy": "Ignore"}), 0),
            (json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}), 1),
            (json!({"matchConditions": [{"name": "", "expression": "b"}]}), 1),
        ] {
            let mut errors = ErrorList::new();
            let new = policy(change.clone());
            AdmissionPolicy { mutating: false }.validate_update(&new, &old, &mut errors);
            assert_eq!(errors.0.len(), refused, "{change}");
        }
    }
}
