//! Versions of custom resource definitions: schemas, subresources, columns, fields to select by.
//!
//! What all versions have alike is upstream's to be reported at the top of the spec.

use std::collections::HashSet;

use serde_json::Value;

use super::rules::{Rules, schema_of};
use super::structural::{self, unsupported};
use super::{defaults, openapi, paths};
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, below, flag, list, set, set_text, text};
use crate::kinds::object_meta::is_print;

/// What may be said at the root of a schema whose status has a path of its own, by Go's names.
const AT_ROOT: &str = "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations";
/// What may not; the first three come before the type.
const NOT_AT_ROOT: &[&str] = &[
    "id",
    "$schema",
    "$ref",
    "nullable",
    "default",
    "enum",
    "maxProperties",
    "minProperties",
    "allOf",
    "oneOf",
    "anyOf",
    "not",
    "additionalProperties",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

/// The versions of a definition, and what is alike in all of them.
pub struct Versions<'v> {
    all: &'v [Value],
    rules: &'v Rules,
    structural: bool,
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable: bool,
}

impl<'v> Versions<'v> {
    /// Those of a spec; `structural` tells whether their schemas must be.
    pub fn of(spec: &'v Value, rules: &'v Rules, structural: bool) -> Self {
        let all = list(spec, "versions");
        let alike = |field: &str| {
            all.first().is_some_and(|first| all.iter().all(|v| there(v, field) == there(first, field)))
        };
        Self {
            all,
            rules,
            structural,
            schema: alike("schema"),
            subresources: alike("subresources"),
            columns: alike("additionalPrinterColumns"),
            selectable: alike("selectableFields"),
        }
    }

    /// Reasons to refuse what the versions say each for itself; `path` is the spec.
    pub fn validate_each(&self, path: &Path, errors: &mut ErrorList) {
        for (i, v) in self.all.iter().enumerate() {
            let at = path.child("versions").index(i);
            let reasons = crate::names::dns1035_label(text(v, "name"));
            if !reasons.is_empty() {
                errors.invalid(&at.child("name"), text(v, "name"), reasons.join(","));
            }
            deprecation(v, &at, errors);
            if !self.schema {
                self.schema(below(v, "schema"), has_status(v), &at.child("schema"), errors);
            }
            if !self.subresources {
                paths::scale(below(v, "subresources"), &at.child("subresources"), errors);
            }
            if !self.columns {
                paths::columns(
                    list(v, "additionalPrinterColumns"),
                    &at.child("additionalPrinterColumns"),
                    errors,
                );
            }
            if self.selectable || list(v, "selectableFields").is_empty() {
                continue;
            }
            match schema_of(v).filter(|_| !self.schema) {
                None => errors.invalid(
                    &at.child("selectableFields"),
                    "",
                    "may only be set when `version.schema.openAPIV3Schema` is not included",
                ),
                Some(s) => {
                    let many = self.rules.many_selectable.contains(text(v, "name"));
                    paths::selectable(list(v, "selectableFields"), s, many, &at, errors);
                }
            }
        }
    }

    /// Reasons to refuse the versions as a whole.
    pub fn validate_all(&self, spec: &Value, path: &Path, errors: &mut ErrorList) {
        let (all, at) = (self.all, path.child("versions"));
        let mut names = HashSet::new();
        if !all.iter().all(|v| names.insert(text(v, "name"))) {
            errors.invalid(&at, all.to_vec(), "must contain unique version names");
        }
        if all.iter().filter(|v| flag(v, "storage")).count() != 1 {
            let text = "must have exactly one version marked as storage version";
            errors.invalid(&at, fields::shown(spec, "versions"), text);
        }
        // The first version is the one of the older field, too.
        let first = all.first().map_or("", |v| text(v, "name"));
        let reasons = crate::names::dns1035_label(first);
        if !first.is_empty() && !reasons.is_empty() {
            errors.invalid(&path.child("version"), first, reasons.join(","));
        }
    }

    /// Reasons to refuse what all versions say.
    pub fn validate_alike(&self, path: &Path, errors: &mut ErrorList) {
        let Some(first) = self.all.first() else { return };
        if self.schema {
            let status = self.all.iter().any(has_status);
            self.schema(below(first, "schema"), status, &path.child("validation"), errors);
        }
        if self.subresources {
            paths::scale(below(first, "subresources"), &path.child("subresources"), errors);
        }
        if self.columns {
            paths::columns(
                list(first, "additionalPrinterColumns"),
                &path.child("additionalPrinterColumns"),
                errors,
            );
        }
        if !self.selectable || list(first, "selectableFields").is_empty() {
            return;
        }
        if !self.schema || set(first, "schema").is_none() {
            let text = "may only be set when validations.schema is included";
            errors.invalid(&path.child("selectableFields"), "", text);
        } else if let Some(s) = schema_of(first) {
            let many = self.all.iter().all(|v| self.rules.many_selectable.contains(text(v, "name")));
            paths::selectable(list(first, "selectableFields"), s, many, path, errors);
        }
    }

    /// Reasons to refuse a schema; `status` tells whether that has a path of its own.
    fn schema(&self, validation: &Value, status: bool, path: &Path, errors: &mut ErrorList) {
        let Some(s) = set(validation, "openAPIV3Schema") else { return };
        let (before, path) = (errors.0.len(), path.child("openAPIV3Schema"));
        if status {
            root(s, &path, errors);
        }
        if flag(s, "nullable") {
            errors.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
        }
        let why = unsupported(s).filter(|_| self.structural);
        if self.structural && why.is_none() {
            let so_far = errors.0.len();
            structural::validate(s, &path, errors);
            if errors.0.len() == so_far {
                defaults::validate(s, self.rules.pruned_defaults, &path, errors);
            }
        }
        openapi::validate(s, self.rules, &path, errors);
        if let Some(why) = why.filter(|_| errors.0.len() == before) {
            errors.invalid(&path, "", why);
        }
    }
}

/// A field that is set; an empty list is not.
fn there<'v>(v: &'v Value, field: &str) -> Option<&'v Value> {
    set(v, field).filter(|f| f.as_array().is_none_or(|a| !a.is_empty()))
}

fn has_status(version: &Value) -> bool {
    set(below(version, "subresources"), "status").is_some()
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
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| !is_print(*c)) {
        let text = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {i}"
        );
        errors.invalid(&path, warning, text);
    }
}

/// What is said at the root must not be lost when the schema of the status is taken out.
fn root(s: &Value, path: &Path, errors: &mut ErrorList) {
    let said = |field: &&str| there(s, field).is_some_and(|v| *v != false && *v != "");
    let kind = text(s, "type");
    let of_type = !kind.is_empty() && kind != "object";
    if of_type && !NOT_AT_ROOT[..3].iter().any(said) {
        let text = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.invalid(&path.child("type"), kind, text);
    } else if NOT_AT_ROOT.iter().any(said) {
        let text = format!(
            "only [{AT_ROOT}] fields are allowed at the root of the schema if the status subresource is enabled"
        );
        errors.invalid(path, s.clone(), text);
    }
}
