//! What schemas of custom resources may say beyond their structure: types, lists, maps, rules. Expressions are not
//! compiled.

use serde_json::Value;

use super::rules::Rules;
use super::structural::{EMBEDDED, PRESERVE, schema_at, unsupported};
use super::{lists, path};
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, entries, flag, list, set, text};

/// Sorted, as messages list them.
pub const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const FORBIDDEN: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
const META: &[&str] = &["metadata", "kind", "apiVersion"];
const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What surrounds a schema.
#[derive(Clone, Default)]
struct Inside {
    /// Metadata of an object, or its kind and version.
    meta: bool,
    /// Why there may be no default.
    no_default: Option<String>,
}

/// Reasons to refuse the schema of a version; `path` is its `openAPIV3Schema`.
pub fn validate(schema: &Value, rules: &Rules, path: &Path, errors: &mut ErrorList) {
    Walk { rules }.schema(schema, &Inside::default(), true, path, errors);
}

struct Walk<'r> {
    rules: &'r Rules,
}

impl Walk<'_> {
    fn schema(&self, s: &Value, inside: &Inside, root: bool, path: &Path, errors: &mut ErrorList) {
        self.keywords(s, inside, path, errors);
        self.children(s, inside, root, path, errors);
        if set(s, PRESERVE).is_some() && !flag(s, PRESERVE) {
            errors.invalid(&path.child(PRESERVE), false, "must be true or undefined");
        }
        lists::map_type(s, path, errors);
        lists::list_type(s, self.rules, path, errors);
        for (i, rule) in list(s, "x-kubernetes-validations").iter().enumerate() {
            validation(s, rule, &path.child("x-kubernetes-validations").index(i), errors);
        }
    }

    fn keywords(&self, s: &Value, inside: &Inside, path: &Path, errors: &mut ErrorList) {
        let kind = text(s, "type");
        if self.rules.types && !kind.is_empty() {
            fields::word(s, "type", TYPES, path, errors);
        }
        if let Some(why) = inside.no_default.as_ref().filter(|_| set(s, "default").is_some()) {
            errors.forbidden(&path.child("default"), format!("must not be set {why}"));
        }
        for field in FORBIDDEN.iter().filter(|f| set(s, f).is_some()) {
            errors.forbidden(&path.child(field), format!("{field} is not supported"));
        }
        if kind == "null" {
            let text = "type cannot be set to null, use nullable as an alternative";
            errors.forbidden(&path.child("type"), text);
        }
        if !list(s, "items").is_empty() {
            errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
        }
        if inside.meta && flag(s, EMBEDDED) {
            errors.forbidden(&path.child(EMBEDDED), "must not be used inside of resource meta");
        }
        if flag(s, "uniqueItems") {
            errors.forbidden(
                &path.child("uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
    }

    fn children(&self, s: &Value, inside: &Inside, root: bool, path: &Path, errors: &mut ErrorList) {
        if let Some(more) = set(s, "additionalProperties") {
            let path = path.child("additionalProperties");
            if entries(s, "properties").next().is_some() && *more != true {
                errors.forbidden(&path, "additionalProperties and properties are mutual exclusive");
            }
            let mut below = inside.clone();
            if inside.meta {
                below.no_default = Some("inside additionalProperties applying to object metadata".into());
            }
            if more.is_object() {
                self.schema(more, &below, false, &path, errors);
            }
        }
        for (name, p) in entries(s, "properties") {
            let mut below = inside.clone();
            if (root || flag(s, EMBEDDED)) && META.contains(&name.as_str()) {
                below.meta = true;
                if root {
                    below.no_default = Some(format!("in top-level {name}"));
                }
            }
            self.schema(p, &below, false, &path.child("properties").key(name), errors);
        }
        if let Some(not) = schema_at(s, "not") {
            self.schema(not, inside, false, &path.child("not"), errors);
        }
        for junctor in ["allOf", "oneOf", "anyOf"] {
            for (i, b) in list(s, junctor).iter().enumerate() {
                self.schema(b, inside, false, &path.child(junctor).index(i), errors);
            }
        }
        for (name, d) in entries(s, "definitions") {
            self.schema(d, inside, false, &path.child("definitions").key(name), errors);
        }
        if let Some(items) = schema_at(s, "items") {
            self.schema(items, inside, false, &path.child("items"), errors);
        }
        for (i, item) in list(s, "items").iter().enumerate() {
            self.schema(item, inside, false, &path.child("items").index(i), errors);
        }
        for (name, d) in entries(s, "dependencies").filter(|(_, d)| d.is_object()) {
            self.schema(d, inside, false, &path.child("dependencies").key(name), errors);
        }
    }
}

/// Reasons to refuse a rule, beyond what compiling would find.
fn validation(s: &Value, rule: &Value, path: &Path, errors: &mut ErrorList) {
    let breaks = |t: &str| t.contains(['\n', '\r']);
    let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
    if expression.is_empty() {
        errors.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&path.child("message"), message, "must be non-empty if specified");
    } else if breaks(message.trim()) {
        errors.invalid(&path.child("message"), message, "must not contain line breaks");
    } else if breaks(expression) && message.is_empty() {
        errors.required(&path.child("message"), "message must be specified if rule contains line breaks");
    }
    let by_expression = text(rule, "messageExpression");
    if !by_expression.is_empty() && by_expression.trim().is_empty() {
        let text = "messageExpression must be non-empty if specified";
        errors.required(&path.child("messageExpression"), text);
    }
    fields::word(rule, "reason", REASONS, path, errors);
    let (field, at) = (text(rule, "fieldPath"), path.child("fieldPath"));
    if field.is_empty() {
        return;
    }
    if field.trim().is_empty() {
        errors.invalid(&at, field, "must be non-empty if specified");
    }
    if breaks(field) {
        errors.invalid(&at, field, "must not contain line breaks");
    }
    if path::find(field, s, true).is_err() && unsupported(s).is_none() {
        errors.invalid(&at, field, "must be a valid path");
    }
}
