//! What webhooks and admission policies apply to: rules, selectors, conditions. Expressions are kept, not compiled.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::fields::{self, list, set, text, texts};
use super::pod_defaults::objects;
use crate::field::{ErrorList, Path};
use crate::meta::{default_to, object_mut};
use crate::names;

const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// What the requests are that a mutating policy can be asked about.
const MUTABLE: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
const RESERVED_SUFFIX: &str = ".static.k8s.io";
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
/// The lists of rules of a policy or a binding.
pub const RULES: &[&str] = &["resourceRules", "excludeResourceRules"];
const MAX_CONDITIONS: usize = 64;

/// Fills in what a webhook or policy matches when it does not say.
pub fn defaults(matching: &mut Map<String, Value>, rules: &[&str]) {
    default_to(matching, "matchPolicy", "Equivalent");
    object_mut(matching, "namespaceSelector");
    object_mut(matching, "objectSelector");
    for field in rules {
        for rule in objects(matching.get_mut(*field)) {
            default_to(rule, "scope", "*");
        }
    }
}

/// What nobody should name an object that they write through the API.
pub fn reserved_name(name: &str) -> Vec<String> {
    if !name.ends_with(RESERVED_SUFFIX) {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: names ending with {RESERVED_SUFFIX:?} are reserved for static manifest-based configurations and cannot be managed via the API"
    )]
}

/// Reasons to refuse the match policy, where it is set.
pub fn match_policy(matching: &Value, path: &Path, errors: &mut ErrorList) {
    fields::word(matching, "matchPolicy", MATCH_POLICIES, path, errors);
}

/// Reasons to refuse the selectors, where they are set; with `any_value` their expressions may ask for any.
pub fn selectors(matching: &Value, any_value: bool, path: &Path, errors: &mut ErrorList) {
    for field in ["namespaceSelector", "objectSelector"] {
        fields::selector_of(matching, field, any_value, path, errors);
    }
}

/// Reasons to refuse operations that no mutating policy can be asked about. Upstream leaves out the places in the lists.
pub fn mutable(matching: &Value, path: &Path, errors: &mut ErrorList) {
    let rules = list(matching, "resourceRules").iter();
    for o in rules.flat_map(|r| texts(r, "operations")).filter(|o| !MUTABLE.contains(o)) {
        errors.not_supported(&path.child("resourceRules").child("operations"), o, MUTABLE);
    }
}

/// Reasons to refuse the resources a policy is about.
pub fn resources(matching: &Value, path: &Path, errors: &mut ErrorList) {
    match_policy(matching, path, errors);
    selectors(matching, false, path, errors);
    for field in RULES {
        for (i, r) in list(matching, field).iter().enumerate() {
            let path = path.child(field).index(i);
            let names = texts(r, "resourceNames");
            for (j, n) in names.iter().enumerate() {
                let at = path.child("resourceNames").index(j);
                errors.invalid_all(&at, n, names::path_segment(n));
                if names[..j].contains(n) {
                    errors.duplicate(&at, *n);
                }
            }
            rule(r, &path, errors);
        }
    }
}

/// Reasons to refuse a rule: operations on resources.
pub fn rule(rule: &Value, path: &Path, errors: &mut ErrorList) {
    wildcards(rule, "operations", "operations", path, errors);
    for (i, o) in texts(rule, "operations").into_iter().enumerate() {
        if !OPERATIONS.contains(&o) {
            errors.not_supported(&path.child("operations").index(i), o, OPERATIONS);
        }
    }
    wildcards(rule, "apiGroups", "API groups", path, errors);
    wildcards(rule, "apiVersions", "API versions", path, errors);
    for (i, v) in texts(rule, "apiVersions").into_iter().enumerate() {
        if v.is_empty() {
            errors.required(&path.child("apiVersions").index(i), "");
        }
    }
    rule_resources(&texts(rule, "resources"), &path.child("resources"), errors);
    fields::word(rule, "scope", SCOPES, path, errors);
}

/// A list that must have elements, and where `*` stands alone.
fn wildcards(rule: &Value, field: &str, what: &str, path: &Path, errors: &mut ErrorList) {
    let all = texts(rule, field);
    if all.is_empty() {
        errors.required(&path.child(field), "");
    }
    if all.len() > 1 && all.contains(&"*") {
        let text = format!("if '*' is present, must not specify other {what}");
        errors.invalid(&path.child(field), json!(all), text);
    }
}

fn rule_resources(resources: &[&str], path: &Path, errors: &mut ErrorList) {
    if resources.is_empty() {
        errors.required(path, "");
    }
    let (mut whole, mut everywhere) = (HashSet::new(), HashSet::new());
    let mut plain = false;
    for (i, r) in resources.iter().enumerate() {
        let path = path.index(i);
        if r.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let Some((resource, sub)) = r.split_once('/') else {
            plain = *r != "*";
            continue;
        };
        if whole.contains(resource) {
            errors.invalid(&path, *r, format!("if '{resource}/*' is present, must not specify {r}"));
        }
        if everywhere.contains(sub) {
            errors.invalid(&path, *r, format!("if '*/{sub}' is present, must not specify {r}"));
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(sub);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let text = "if '*/*' is present, must not specify other resources";
        errors.invalid(path, json!(resources), text);
    }
    if resources.contains(&"*") && plain {
        let text = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(path, json!(resources), text);
    }
}

/// Reasons to refuse `matchConditions`, beyond what compiling would find.
pub fn conditions(owner: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("matchConditions");
    let conditions = list(owner, "matchConditions");
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(&path, conditions.len(), MAX_CONDITIONS);
    }
    let mut seen = HashSet::new();
    for (i, c) in conditions.iter().enumerate() {
        let path = path.index(i);
        if text(c, "expression").trim().is_empty() {
            errors.required(&path.child("expression"), "");
        }
        fields::required_name(c, "name", names::qualified_name, &path, errors);
        let name = text(c, "name");
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
    }
}

/// Reasons to refuse the kind of a policy's parameters.
pub fn param_kind(kind: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(version) = fields::required(kind, "apiVersion", path, errors) {
        api_version(version, &path.child("apiVersion"), errors);
    }
    if let Some(name) = fields::required(kind, "kind", path, errors) {
        let reasons = names::dns1035_label(&name.to_lowercase());
        if !reasons.is_empty() {
            let text = format!("may have mixed case, but should otherwise match: {}", reasons.join(","));
            errors.invalid(&path.child("kind"), name, text);
        }
    }
}

fn api_version(text: &str, path: &Path, errors: &mut ErrorList) {
    let (group, version) = match text.matches('/').count() {
        0 => ("", text),
        1 => text.split_once('/').unwrap_or(("", text)),
        _ => return errors.invalid(path, text, format!("unexpected GroupVersion string: {text}")),
    };
    let mut joined = |part: &str, reasons: Vec<String>| {
        if !reasons.is_empty() {
            errors.invalid(path, part, reasons.join(","));
        }
    };
    if !group.is_empty() {
        joined(group, names::dns1123_subdomain(group));
    }
    if !version.is_empty() {
        joined(version, names::dns1035_label(version));
    } else {
        errors.invalid(path, text, "version must be specified");
    }
}

/// Reasons to refuse the parameters that a binding names.
pub fn param_ref(param: &Value, path: &Path, errors: &mut ErrorList) {
    const BOTH: &str = "name and selector are mutually exclusive";
    let (name, selector) = (text(param, "name"), set(param, "selector").is_some());
    if !name.is_empty() {
        errors.invalid_all(&path.child("name"), name, names::path_segment(name));
        if selector {
            errors.forbidden(&path.child("name"), BOTH);
        }
    }
    if selector {
        fields::selector(param, "selector", path, errors);
        if !name.is_empty() {
            errors.forbidden(&path.child("selector"), BOTH);
        }
    }
    if name.is_empty() && !selector {
        errors.required(path, "one of name or selector must be specified");
    }
    if fields::required(param, "parameterNotFoundAction", path, errors).is_some() {
        fields::word(param, "parameterNotFoundAction", &["Deny", "Allow"], path, errors);
    }
}
