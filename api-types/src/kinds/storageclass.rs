//! Storage classes: how volumes are made.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value, json};

use super::fields::{self, entries, list, text};
use super::node_labels;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to};
use crate::{names, table};

/// The strategy of storage classes.
pub struct StorageClass;

/// Bytes of all parameters together.
const MAX_PARAMETERS_SIZE: usize = 256 * 1024;
const MAX_PARAMETERS: usize = 512;
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

impl Strategy for StorageClass {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        default_to(root, "reclaimPolicy", "Delete");
        default_to(root, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        provisioner(object, "provisioner", errors);
        parameters(object, true, errors);
        if !text(object, "reclaimPolicy").is_empty() {
            let path = Path::new("");
            fields::word(object, "reclaimPolicy", &["Delete", "Retain"], &path, errors);
        }
        let modes = &["Immediate", "WaitForFirstConsumer"];
        fields::word(object, "volumeBindingMode", modes, &Path::new(""), errors);
        let terms = list(object, "allowedTopologies");
        for (i, term) in terms.iter().enumerate() {
            let path = Path::new("allowedTopologies").index(i);
            topology(term, &path, errors);
            let same = terms[..i].iter().filter(|t| keys_and_values(t) == keys_and_values(term)).count();
            // Upstream compares with as many empty terms as there are terms, besides.
            let empty = if list(term, "matchLabelExpressions").is_empty() { terms.len() } else { 0 };
            for _ in 0..same + empty {
                errors.duplicate(&path.child("matchLabelExpressions"), "");
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        for f in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            fields::unchanged(new, old, f, &Path::new(f), errors);
        }
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut all = Vec::new();
        for (i, term) in list(object, "allowedTopologies").iter().enumerate() {
            for (j, e) in list(term, "matchLabelExpressions").iter().enumerate() {
                let path = Path::new("allowedTopologies").index(i).child("matchLabelExpressions").index(j);
                let why = node_labels::deprecated(text(e, "key"));
                all.extend(why.map(|why| format!("{}: {why}", path.child("key"))));
            }
        }
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let is_default = DEFAULT.iter().any(|a| meta::str_at(o, &["metadata", "annotations", a]) == "true");
        let name = meta::name(o);
        let or = |field: &str, default: &str| match text(o, field) {
            "" => Value::from(default),
            t => t.into(),
        };
        vec![
            if is_default { format!("{name} (default)").into() } else { name.into() },
            text(o, "provisioner").into(),
            or("reclaimPolicy", "Delete"),
            or("volumeBindingMode", "Immediate"),
            fields::flag(o, "allowVolumeExpansion").into(),
            table::age(o, now).into(),
        ]
    }
}

/// Refuses changes of fields at the root that are set once.
pub(super) fn sealed(new: &Value, old: &Value, fields: &[&str], errors: &mut ErrorList) {
    for f in fields {
        if fields::differs(new, old, f) {
            errors.forbidden(&Path::new(f), format!("updates to {f} are forbidden."));
        }
    }
}

/// Reasons to refuse the name of who makes volumes.
pub(super) fn provisioner(object: &Value, field: &str, errors: &mut ErrorList) {
    if let Some(name) = fields::required(object, field, &Path::new(""), errors) {
        // The message shows the name in lower case, as it is checked.
        let name = name.to_lowercase();
        errors.invalid_all(&Path::new(field), &name, names::qualified_name(&name));
    }
}

/// Reasons to refuse parameters.
pub(super) fn parameters(object: &Value, may_be_empty: bool, errors: &mut ErrorList) {
    let path = Path::new("parameters");
    let (count, mut size) = (entries(object, "parameters").count(), 0);
    if count > MAX_PARAMETERS {
        errors.too_long(&path, MAX_PARAMETERS);
        return;
    }
    for (k, v) in entries(object, "parameters") {
        if k.is_empty() {
            errors.invalid(&path, "", "field can not be empty.");
        }
        size += k.len() + v.as_str().map_or(0, str::len);
    }
    if size > MAX_PARAMETERS_SIZE {
        errors.too_long(&path, MAX_PARAMETERS_SIZE);
    }
    if !may_be_empty && count == 0 {
        errors.required(&path, "must contain at least one key/value pair");
    }
}

/// What a term asks for: of a key that is given twice the last values count, in any order.
fn keys_and_values(term: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let expressions = list(term, "matchLabelExpressions").iter();
    expressions.map(|e| (text(e, "key"), fields::texts(e, "values").into_iter().collect())).collect()
}

fn topology(term: &Value, path: &Path, errors: &mut ErrorList) {
    let mut keys = HashSet::new();
    for (i, e) in list(term, "matchLabelExpressions").iter().enumerate() {
        let path = path.child("matchLabelExpressions").index(i);
        if list(e, "values").is_empty() {
            errors.required(&path.child("values"), "");
        }
        fields::no_repeats(&fields::texts(e, "values"), &path.child("values"), errors);
        fields::label_name(text(e, "key"), &path.child("key"), errors);
        if !keys.insert(text(e, "key")) {
            errors.duplicate(&path.child("key"), json!(text(e, "key")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topologies_that_ask_for_the_same() {
        let term = |values: &[&str]| json!({"matchLabelExpressions": [{"key": "zone", "values": values}]});
        for (terms, repeated) in [
            (json!([term(&["a", "b"]), term(&["b", "a"])]), 1),
            (json!([term(&["a"]), term(&["b"])]), 0),
            (json!([term(&["a"]), term(&["a"]), term(&["a"])]), 3),
            (json!([{}]), 1),
        ] {
            let mut errors = ErrorList::new();
            let class = json!({"provisioner": "p", "allowedTopologies": terms});
            StorageClass.validate(&class, &mut errors);
            let n = errors.0.iter().filter(|e| e.to_string().contains("Duplicate value: \"\"")).count();
            assert_eq!(n, repeated, "{class}");
            assert_eq!(errors.0.len(), repeated, "{class}");
        }
    }
}
