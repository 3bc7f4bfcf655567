//! Custom resource definitions. They are kept; their resources are not served yet.

use serde_json::{Value, json};

use super::crd::approval::{self, Approval};
use super::crd::rules::{self, Rules};
use super::crd::versions::Versions;
use super::crd::{conversion, formats, naming};
use super::fields::{self, below, flag, list, set, text, texts};
use super::keep_status;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::names;

/// The strategy of custom resource definitions.
pub struct CustomResourceDefinition;

impl Strategy for CustomResourceDefinition {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        let names = object_mut(spec, "names");
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        if names.get("singular").and_then(Value::as_str).unwrap_or("").is_empty() {
            names.insert("singular".into(), kind.to_lowercase().into());
        }
        if !kind.is_empty() && names.get("listKind").and_then(Value::as_str).unwrap_or("").is_empty() {
            names.insert("listKind".into(), format!("{kind}List").into());
        }
        default_to(spec, "conversion", json!({"strategy": "None"}));
        let service = spec["conversion"].pointer_mut("/webhook/clientConfig/service");
        if let Some(Value::Object(service)) = service {
            default_to(service, "port", 443);
        }
        if list(below(object, "status"), "storedVersions").is_empty() {
            note_stored_version(object);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}});
        note_stored_version(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        note_stored_version(new);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let spec = below(object, "spec");
        let required = format!("{}.{}", text(below(spec, "names"), "plural"), text(spec, "group"));
        if meta::name(object) != required {
            let at = Path::new("metadata").child("name");
            errors.invalid(&at, meta::name(object), "must be spec.names.plural+\".\"+spec.group");
        }
        validate_spec(spec, &Rules::strict(), errors);
        validate_status(object, errors);
        approval::validate(object, Approval::of(object), errors);
        preserve_unknown(object, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (spec, before, path) = (below(new, "spec"), below(old, "spec"), Path::new("spec"));
        validate_spec(spec, &Rules::towards(new, old), errors);
        let (names, old_names, at_names) =
            (below(spec, "names"), below(before, "names"), path.child("names"));
        if rules::is_established(old) {
            sealed(spec, before, "scope", &path, errors);
            sealed(names, old_names, "kind", &at_names, errors);
        }
        sealed(spec, before, "group", &path, errors);
        sealed(names, old_names, "plural", &at_names, errors);
        validate_status(new, errors);
        let state = Approval::of(new);
        if state != Approval::of(old) {
            approval::validate(new, state, errors);
        }
        if !flag(before, "preserveUnknownFields") {
            preserve_unknown(new, errors);
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        accepted_names(new, errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut unknown = formats::unknown(below(object, "spec"));
        let known = old.map(|o| formats::unknown(below(o, "spec"))).unwrap_or_default();
        unknown.retain(|f| !known.contains(f));
        unknown.into_iter().map(|f| format!("unrecognized format {f:?}")).collect()
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), meta::field(o, "creationTimestamp").into()]
    }
}

/// Adds the storage version to those that were ever stored.
fn note_stored_version(object: &mut Value) {
    let versions = list(below(object, "spec"), "versions");
    let Some(storage) = versions.iter().find(|v| flag(v, "storage")).map(|v| text(v, "name").to_owned())
    else {
        return;
    };
    let Some(Value::Object(status)) = object.get_mut("status") else { return };
    default_to(status, "storedVersions", json!([]));
    if let Some(Value::Array(stored)) = status.get_mut("storedVersions")
        && !stored.iter().any(|v| *v == storage.as_str())
    {
        stored.push(storage.into());
    }
}

fn group(group: &str, path: &Path, errors: &mut ErrorList) {
    let reasons = names::dns1123_subdomain(group);
    if group.is_empty() {
        errors.required(path, "");
    } else if !reasons.is_empty() {
        errors.invalid(path, group, reasons.join(","));
    } else if !group.contains('.') {
        errors.invalid(path, group, "should be a domain with at least one dot");
    }
}

fn validate_spec(spec: &Value, rules: &Rules, errors: &mut ErrorList) {
    let path = Path::new("spec");
    group(text(spec, "group"), &path.child("group"), errors);
    if fields::required(spec, "scope", &path, errors).is_some() {
        fields::word(spec, "scope", &["Cluster", "Namespaced"], &path, errors);
    }
    let keeps_unknown = flag(spec, "preserveUnknownFields");
    for (i, v) in list(spec, "versions").iter().enumerate() {
        let (at, missing) = (path.child("versions").index(i), rules::schema_of(v).is_none());
        let at = at.child("schema").child("openAPIV3Schema");
        if missing && rules.schemas {
            errors.required(&at, "");
        } else if missing && !keeps_unknown && flag(v, "served") {
            errors.required(&at, "because otherwise all fields are pruned");
        }
    }
    let no_default = |s: &Value| set(s, "default").is_none();
    let all = |rule: &dyn Fn(&Value) -> bool| rules::schemas(spec).all(|s| rules::every(s, rule));
    if keeps_unknown && !all(&no_default) {
        let text = "must be false in order to use defaults in the schema";
        errors.invalid(&path.child("preserveUnknownFields"), true, text);
    }
    let structural = rules.structural || rules::must_be_structural(spec);
    let versions = Versions::of(spec, rules, structural);
    versions.validate_each(&path, errors);
    versions.validate_all(spec, &path, errors);
    naming::required(below(spec, "names"), &path.child("names"), errors);
    versions.validate_alike(&path, errors);
    let (conversion, at) = (below(spec, "conversion"), path.child("conversion"));
    let strategy = text(conversion, "strategy");
    if keeps_unknown && set(spec, "conversion").is_some() && strategy != "None" {
        let text = "must be None if spec.preserveUnknownFields is true";
        errors.invalid(&at.child("strategy"), strategy, text);
    }
    conversion::validate(conversion, rules, &at, errors);
}

/// Refuses a text that has changed.
fn sealed(new: &Value, old: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    if text(new, field) != text(old, field) {
        errors.invalid(&path.child(field), text(new, field), "field is immutable");
    }
}

fn preserve_unknown(object: &Value, errors: &mut ErrorList) {
    if flag(below(object, "spec"), "preserveUnknownFields") {
        let path = Path::new("spec").child("preserveUnknownFields");
        let text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&path, true, text);
    }
}

fn accepted_names(object: &Value, errors: &mut ErrorList) {
    let path = Path::new("status").child("acceptedNames");
    naming::shapes(below(below(object, "status"), "acceptedNames"), &path, errors);
}

/// What is ever stored must be among the versions.
fn validate_status(object: &Value, errors: &mut ErrorList) {
    accepted_names(object, errors);
    let path = Path::new("status").child("storedVersions");
    let (status, all) = (below(object, "status"), list(below(object, "spec"), "versions"));
    let stored = texts(status, "storedVersions");
    if stored.is_empty() {
        let shown = fields::shown(status, "storedVersions");
        errors.invalid(&path, shown, "must have at least one stored version");
        return;
    }
    for v in all.iter().filter(|v| flag(v, "storage") && !stored.contains(&text(v, "name"))) {
        let text = format!("must have the storage version {}", text(v, "name"));
        errors.invalid(&path, stored.clone(), text);
    }
    for (i, v) in stored.into_iter().enumerate() {
        if !all.iter().any(|a| text(a, "name") == v) {
            let text = format!(
                "missing from spec.versions; {v} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {v} and removes {v} from status.storedVersions"
            );
            errors.invalid(&path.index(i), v, text);
        }
    }
}
