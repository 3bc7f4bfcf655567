//! Definitions of custom resources. They are kept; no resource is served by them yet.

use serde_json::{Value, json};

use super::fields::{self, below, entries, flag, list, set, set_text, text, texts};
use super::{crd_schema, keep_status, webhook_client};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::names;

/// The strategy of custom resource definitions.
pub struct CustomResourceDefinition;

const APPROVAL: &str = "api-approved.kubernetes.io";
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const CONVERSIONS: &[&str] = &["None", "Webhook"];

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
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}});
        note_stored_version(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        note_stored_version(new);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        let required = format!("{}.{}", text(below(spec, "names"), "plural"), text(spec, "group"));
        if meta::name(object) != required {
            let at = Path::new("metadata").child("name");
            errors.invalid(&at, meta::name(object), "must be spec.names.plural+\".\"+spec.group");
        }
        group(text(spec, "group"), &path.child("group"), errors);
        if fields::required(spec, "scope", &path, errors).is_some() {
            fields::word(spec, "scope", &["Cluster", "Namespaced"], &path, errors);
        }
        versions(spec, &path, errors);
        names_of(below(spec, "names"), &path.child("names"), errors);
        conversion(below(spec, "conversion"), &path.child("conversion"), errors);
        stored_versions(object, errors);
        if flag(spec, "preserveUnknownFields") {
            let text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
            errors.invalid(&path.child("preserveUnknownFields"), true, text);
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        approval(object, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (spec, before, path) = (below(new, "spec"), below(old, "spec"), Path::new("spec"));
        let conditions = list(below(old, "status"), "conditions");
        let established =
            conditions.iter().any(|c| text(c, "type") == "Established" && text(c, "status") == "True");
        let (names, old_names) = (below(spec, "names"), below(before, "names"));
        if established {
            fields::unchanged(spec, before, "scope", &path.child("scope"), errors);
            fields::unchanged(names, old_names, "kind", &path.child("names").child("kind"), errors);
        }
        fields::unchanged(spec, before, "group", &path.child("group"), errors);
        fields::unchanged(names, old_names, "plural", &path.child("names").child("plural"), errors);
        let annotation = |o| meta::str_at(o, &["metadata", "annotations", APPROVAL]).to_owned();
        if annotation(new) != annotation(old) {
            approval(new, errors);
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let path = Path::new("status").child("acceptedNames");
        name_shapes(below(below(new, "status"), "acceptedNames"), &path, errors);
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
    let stored = object["status"].as_object_mut().map(|s| s.entry("storedVersions").or_insert(json!([])));
    if let Some(Value::Array(stored)) = stored
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

/// What all versions have alike is upstream's to be reported at the top of the spec.
fn alike<'a>(versions: &'a [Value], field: &str) -> Option<&'a Value> {
    let first = set(versions.first()?, field)?;
    versions.iter().all(|v| v.get(field) == Some(first)).then_some(first)
}

fn versions(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (all, at) = (list(spec, "versions"), path.child("versions"));
    for (i, v) in all.iter().enumerate() {
        if set(below(v, "schema"), "openAPIV3Schema").is_none() {
            errors.required(&at.index(i).child("schema").child("openAPIV3Schema"), "");
        }
    }
    for (i, v) in all.iter().enumerate() {
        let at = at.index(i);
        let reasons = names::dns1035_label(text(v, "name"));
        if !reasons.is_empty() {
            errors.invalid(&at.child("name"), text(v, "name"), reasons.join(","));
        }
        deprecation(v, &at, errors);
        if alike(all, "schema").is_none() {
            schema(below(v, "schema"), &at.child("schema"), errors);
        }
        if alike(all, "subresources").is_none() {
            scale(below(v, "subresources"), &at.child("subresources"), errors);
        }
        if alike(all, "additionalPrinterColumns").is_none() {
            columns(list(v, "additionalPrinterColumns"), &at.child("additionalPrinterColumns"), errors);
        }
    }
    let repeated = all.iter().enumerate().any(|(i, v)| all[..i].iter().any(|o| o["name"] == v["name"]));
    if repeated {
        errors.invalid(&at, all.to_vec(), "must contain unique version names");
    }
    if all.iter().filter(|v| flag(v, "storage")).count() != 1 {
        errors.invalid(&at, all.to_vec(), "must have exactly one version marked as storage version");
    }
    if let Some(s) = alike(all, "schema") {
        schema(s, &path.child("validation"), errors);
    }
    if let Some(s) = alike(all, "subresources") {
        scale(s, &path.child("subresources"), errors);
    }
    if let Some(Value::Array(c)) = alike(all, "additionalPrinterColumns") {
        columns(c, &path.child("additionalPrinterColumns"), errors);
    }
}

fn deprecation(v: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(warning) = set_text(v, "deprecationWarning") else { return };
    let path = path.child("deprecationWarning");
    if !flag(v, "deprecated") {
        errors.invalid(&path, warning, "can only be set for deprecated versions");
        return;
    }
    if warning.len() > 256 {
        errors.invalid(&path, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(&path, warning, "must not be an empty string");
    }
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let text = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {i}"
        );
        errors.invalid(&path, warning, text);
    }
}

fn schema(validation: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(s) = set(validation, "openAPIV3Schema") {
        crd_schema::validate(s, &path.child("openAPIV3Schema"), errors);
    }
}

fn scale(subresources: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(scale) = set(subresources, "scale") else { return };
    let path = path.child("scale");
    for (field, roots, required) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."][..], true),
        ("labelSelectorPath", &[".spec.", ".status."][..], false),
    ] {
        let (value, at) = (text(scale, field), path.child(field));
        if value.is_empty() {
            if required {
                errors.required(&at, "");
            }
        } else if !value.starts_with('.') {
            errors.invalid(&at, value, "must be a simple json path starting with .");
        } else if !roots.iter().any(|r| value.starts_with(r)) {
            let place = match roots {
                [one] => format!("should be a json path under {}", one.trim_end_matches('.')),
                _ => "should be a json path under either .spec or .status".into(),
            };
            errors.invalid(&at, value, place);
        }
    }
}

fn columns(columns: &[Value], path: &Path, errors: &mut ErrorList) {
    for (i, c) in columns.iter().enumerate() {
        let path = path.index(i);
        fields::required(c, "name", &path, errors);
        let (kind, format, json_path) = (text(c, "type"), text(c, "format"), text(c, "jsonPath"));
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        if kind.is_empty() {
            errors.required(&path.child("type"), &types);
        } else if !COLUMN_TYPES.contains(&kind) {
            errors.invalid(&path.child("type"), kind, types);
        }
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let text = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.invalid(&path.child("format"), format, text);
        }
        if json_path.is_empty() {
            errors.required(&path.child("JSONPath"), "");
        } else if !json_path.starts_with('.') {
            let text = "must be a simple json path starting with .";
            errors.invalid(&path.child("JSONPath"), json_path, text);
        }
    }
}

fn names_of(names: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["plural", "singular", "kind", "listKind"] {
        fields::required(names, field, path, errors);
    }
    name_shapes(names, path, errors);
}

fn name_shapes(names: &Value, path: &Path, errors: &mut ErrorList) {
    let mut label = |value: &str, at: Path, prefix: &str| {
        let reasons = crate::names::dns1035_label(&value.to_lowercase());
        let reasons = if prefix.is_empty() { crate::names::dns1035_label(value) } else { reasons };
        if !value.is_empty() && !reasons.is_empty() {
            errors.invalid(&at, value, format!("{prefix}{}", reasons.join(",")));
        }
    };
    const MIXED: &str = "may have mixed case, but should otherwise match: ";
    for (field, prefix) in [("plural", ""), ("singular", ""), ("kind", MIXED), ("listKind", MIXED)] {
        label(text(names, field), path.child(field), prefix);
    }
    for field in ["shortNames", "categories"] {
        for (i, n) in texts(names, field).into_iter().enumerate() {
            label(n, path.child(field).index(i), "");
        }
    }
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        errors.invalid(&path.child("listKind"), kind, "kind and listKind may not be the same");
    }
}

/// Paths are those of upstream's internal form.
fn conversion(conversion: &Value, path: &Path, errors: &mut ErrorList) {
    if conversion.is_null() {
        return;
    }
    if fields::required(conversion, "strategy", path, errors).is_some() {
        fields::word(conversion, "strategy", CONVERSIONS, path, errors);
    }
    let webhook = below(conversion, "webhook");
    let (client, at) = (set(webhook, "clientConfig"), path.child("webhookClientConfig"));
    let (versions, at_versions) =
        (texts(webhook, "conversionReviewVersions"), path.child("conversionReviewVersions"));
    if text(conversion, "strategy") == "Webhook" {
        match client {
            None => errors.required(&at, "required when strategy is set to Webhook"),
            Some(c) => webhook_client::client_config(c, &at, errors),
        }
        webhook_client::review_versions(&versions, "", &at_versions, errors);
        return;
    }
    let text = "should not be set when strategy is not set to Webhook";
    if client.is_some() {
        errors.forbidden(&at, text);
    }
    if !versions.is_empty() {
        errors.forbidden(&at_versions, text);
    }
}

fn stored_versions(object: &Value, errors: &mut ErrorList) {
    let path = Path::new("status").child("storedVersions");
    let (status, all) = (below(object, "status"), list(below(object, "spec"), "versions"));
    let stored = texts(status, "storedVersions");
    if stored.is_empty() {
        let shown = fields::shown(status, "storedVersions");
        errors.invalid(&path, shown, "must have at least one stored version");
        return;
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

/// Groups of the Kubernetes community need the word of its reviewers.
fn approval(object: &Value, errors: &mut ErrorList) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = meta::str_at(object, &["spec", "group"]);
    let protected = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVAL);
    let word = entries(below(object, "metadata"), "annotations")
        .find(|(k, _)| *k == APPROVAL)
        .and_then(|(_, v)| v.as_str())
        .unwrap_or("");
    let url = word.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if word.is_empty() {
        let text = format!("protected groups must have approval annotation {APPROVAL:?}, {SEE}");
        errors.required(&path, &text);
    } else if !word.starts_with("unapproved") && !url {
        let text = format!(
            "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
        );
        errors.invalid(&path, word, text);
    }
}
