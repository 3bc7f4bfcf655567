//! Names of custom resources: of their kind and in paths.

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, text, texts};
use crate::names;

const MIXED: &str = "may have mixed case, but should otherwise match: ";

/// Reasons to refuse names that a definition asks for.
pub fn required(names: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["plural", "singular", "kind", "listKind"] {
        fields::required(names, field, path, errors);
    }
    shapes(names, path, errors);
}

/// Reasons to refuse names, where they are set.
pub fn shapes(all: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["plural", "singular"] {
        label(text(all, field), &path.child(field), errors);
    }
    for field in ["kind", "listKind"] {
        let name = text(all, field);
        let reasons = names::dns1035_label(&name.to_lowercase());
        if !name.is_empty() && !reasons.is_empty() {
            errors.invalid(&path.child(field), name, format!("{MIXED}{}", reasons.join(",")));
        }
    }
    labels(all, "shortNames", path, errors);
    let kind = text(all, "kind");
    if !kind.is_empty() && kind == text(all, "listKind") {
        errors.invalid(&path.child("listKind"), kind, "kind and listKind may not be the same");
    }
    labels(all, "categories", path, errors);
}

fn labels(all: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    for (i, name) in texts(all, field).into_iter().enumerate() {
        let (at, reasons) = (path.child(field).index(i), names::dns1035_label(name));
        if !reasons.is_empty() {
            errors.invalid(&at, name, reasons.join(","));
        }
    }
}

fn label(name: &str, path: &Path, errors: &mut ErrorList) {
    let reasons = names::dns1035_label(name);
    if !name.is_empty() && !reasons.is_empty() {
        errors.invalid(path, name, reasons.join(","));
    }
}
