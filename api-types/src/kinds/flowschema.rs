//! Flow schemas: which requests share a priority level. They are kept; requests are not queued by them yet.

use serde_json::{Value, json};

use super::fields::{self, below, flag, int, list, set, text, texts};
use super::prioritylevelconfiguration::conditions;
use super::{drop_status, flowcontrol_bootstrap, keep_status};
use crate::catalog::{Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};

use crate::{names, table};

/// The strategy of flow schemas.
pub struct FlowSchema;

const METHODS: &[&str] = &["ByNamespace", "ByUser"];
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const MAX_PRECEDENCE: i64 = 10_000;
/// The kinds of subjects and the fields that belong to them.
const SUBJECTS: [(&str, &str); 3] =
    [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

impl Strategy for FlowSchema {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        if spec.get("matchingPrecedence").and_then(Value::as_i64).unwrap_or(0) == 0 {
            spec.insert("matchingPrecedence".into(), 1000.into());
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path, name) = (below(object, "spec"), Path::new("spec"), meta::name(object));
        let (precedence, at) = (int(spec, "matchingPrecedence"), path.child("matchingPrecedence"));
        if precedence <= 0 {
            errors.invalid(&at, precedence, "must be a positive value");
        }
        if precedence > MAX_PRECEDENCE {
            errors.invalid(&at, precedence, format!("must not be greater than {MAX_PRECEDENCE}"));
        }
        if precedence == 1 && name != "exempt" {
            let text = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.invalid(&at, precedence, text);
        }
        if let Some(method) = set(spec, "distinguisherMethod")
            && !METHODS.contains(&text(method, "type"))
        {
            let shown = json!({"Type": text(method, "type")});
            errors.not_supported(&path.child("distinguisherMethod").child("type"), shown, METHODS);
        }
        let (level, at) =
            (below(spec, "priorityLevelConfiguration"), path.child("priorityLevelConfiguration"));
        match text(level, "name") {
            "" => errors.required(&at.child("name"), "must reference a priority level"),
            n => errors.invalid_all(&at.child("name"), n, names::dns1123_subdomain(n)),
        }
        for (i, r) in list(spec, "rules").iter().enumerate() {
            rule(r, &path.child("rules").index(i), errors);
        }
        let fixed = flowcontrol_bootstrap::mandatory("FlowSchema", name);
        if fixed.is_some_and(|f| f["spec"] != *spec) {
            errors.invalid(&path, spec.clone(), format!("spec of '{name}' must equal the fixed value"));
        }
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        conditions(below(new, "status"), errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let method = set(spec, "distinguisherMethod").map_or("<none>", |m| text(m, "type"));
        let states = list(below(o, "status"), "conditions");
        let dangling =
            states.iter().find(|c| text(c, "type") == "Dangling").map_or("?", |c| text(c, "status"));
        vec![
            meta::name(o).into(),
            text(below(spec, "priorityLevelConfiguration"), "name").into(),
            int(spec, "matchingPrecedence").into(),
            method.into(),
            table::age(o, now).into(),
            dangling.into(),
        ]
    }
}

fn rule(rule: &Value, path: &Path, errors: &mut ErrorList) {
    if list(rule, "subjects").is_empty() {
        errors.required(&path.child("subjects"), "subjects must contain at least one value");
    }
    for (i, s) in list(rule, "subjects").iter().enumerate() {
        subject(s, &path.child("subjects").index(i), errors);
    }
    let (resources, paths) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && paths.is_empty() {
        errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (i, r) in resources.iter().enumerate() {
        resource_rule(r, &path.child("resourceRules").index(i), errors);
    }
    for (i, r) in paths.iter().enumerate() {
        let path = path.child("nonResourceRules").index(i);
        verbs(r, &path, errors);
        let text = "nonResourceURLs must contain at least one value";
        if !wildcard(r, "nonResourceURLs", text, "non-resource URLs", &path, errors) {
            for (j, url) in texts(r, "nonResourceURLs").into_iter().enumerate() {
                url_path(url, &path.child("nonResourceURLs").index(j), errors);
            }
        }
    }
}

fn subject(s: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = text(s, "kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(k, _)| *k == kind) else {
        errors.not_supported(&path.child("kind"), kind, &["Group", "ServiceAccount", "User"]);
        return;
    };
    let at = path.child(own);
    match set(s, own) {
        None => errors.required(&at, &format!("{own} is required when subject kind is '{kind}'")),
        Some(who) => subject_names(who, kind == "ServiceAccount", &at, errors),
    }
    for (other, field) in SUBJECTS.iter().filter(|(k, _)| *k != kind) {
        if set(s, field).is_some() {
            let text = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.forbidden(&path.child(field), text);
        }
    }
}

fn subject_names(who: &Value, account: bool, path: &Path, errors: &mut ErrorList) {
    let name = fields::required(who, "name", path, errors);
    if !account {
        return;
    }
    if let Some(name) = name.filter(|n| *n != "*") {
        errors.invalid_all(&path.child("name"), name, names::dns1123_subdomain(name));
    }
    match text(who, "namespace") {
        "" => errors.required(&path.child("namespace"), "must specify namespace for service account"),
        n => errors.invalid_all(&path.child("namespace"), n, names::dns1123_label(n)),
    }
}

/// Checks a list that must have elements and where `*` stands alone; whether there is nothing more to check.
fn wildcard(rule: &Value, field: &str, empty: &str, what: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let all = texts(rule, field);
    if all.is_empty() {
        errors.required(&path.child(field), empty);
        return true;
    }
    let any = all.contains(&"*");
    if any && all.len() > 1 {
        let text = format!("if '*' is present, must not specify other {what}");
        errors.invalid(&path.child(field), all, text);
    }
    any
}

fn verbs(rule: &Value, path: &Path, errors: &mut ErrorList) {
    let text = "verbs must contain at least one value";
    if !wildcard(rule, "verbs", text, "verbs", path, errors) {
        let verbs = texts(rule, "verbs");
        if !verbs.iter().all(|v| VERBS.contains(v)) {
            errors.not_supported(&path.child("verbs"), verbs, VERBS);
        }
    }
}

fn resource_rule(r: &Value, path: &Path, errors: &mut ErrorList) {
    verbs(r, path, errors);
    let text = "resource rules must supply at least one api group";
    wildcard(r, "apiGroups", text, "api groups", path, errors);
    let text = "resource rules must supply at least one resource";
    wildcard(r, "resources", text, "resources", path, errors);
    if texts(r, "namespaces").is_empty() && flag(r, "clusterScope") {
        return;
    }
    let text = "resource rules that are not cluster scoped must supply at least one namespace";
    if !wildcard(r, "namespaces", text, "namespaces", path, errors) {
        for (i, n) in texts(r, "namespaces").into_iter().enumerate() {
            for e in names::dns1123_label(n) {
                let text = format!("each member of this list must be '*' or a DNS-1123 label; {e}");
                errors.invalid(&path.child("namespaces").index(i), n, text);
            }
        }
    }
}

fn url_path(url: &str, path: &Path, errors: &mut ErrorList) {
    let stars = url.matches('*').count();
    let text = match url {
        "" => "must not be empty",
        "/" => return,
        u if !u.starts_with('/') => "must start with slash",
        u if u.contains(' ') => "must not contain white-space",
        u if u.contains("//") => "must not contain double slash",
        u if stars > 1 || (stars == 1 && !u.ends_with("/*")) => "wildcard can only do suffix matching",
        _ => return,
    };
    errors.invalid(path, url, text);
}
