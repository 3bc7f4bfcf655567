//! CSI nodes: which volume drivers a node has.

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{self, below, int, list, text};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta;
use crate::table;

/// The strategy of CSI nodes.
pub struct CsiNode;

const MAX_NODE_ID: usize = 256;

impl Strategy for CsiNode {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let mut seen = HashSet::new();
        for (i, d) in list(below(object, "spec"), "drivers").iter().enumerate() {
            let path = Path::new("spec").child("drivers").index(i);
            let (name, id) = (text(d, "name"), text(d, "nodeID"));
            fields::driver_name(name, &path.child("name"), errors);
            if id.is_empty() {
                errors.required(&path.child("nodeID"), "");
            } else if id.len() > MAX_NODE_ID {
                let text = format!("must be {MAX_NODE_ID} characters or less");
                errors.invalid(&path.child("nodeID"), id, text);
            }
            errors.non_negative(
                &path.child("allocatable").child("count"),
                int(below(d, "allocatable"), "count"),
            );
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            topology_keys(&fields::texts(d, "topologyKeys"), &path, errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let fixed = |d: &Value| {
            let mut d = d.clone();
            // How many volumes fit may change.
            d.as_object_mut().map(|d| d.remove("allocatable"));
            d
        };
        for o in list(below(old, "spec"), "drivers") {
            let same =
                list(below(new, "spec"), "drivers").iter().find(|n| text(n, "name") == text(o, "name"));
            if let Some(n) = same.filter(|n| fixed(n) != fixed(o)) {
                errors.invalid(&Path::new("spec").child("drivers"), fixed(n), "field is immutable");
            }
        }
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let drivers = list(below(o, "spec"), "drivers").len();
        vec![meta::name(o).into(), drivers.into(), table::age(o, now).into()]
    }
}

/// Upstream reports keys at the driver.
fn topology_keys(keys: &[&str], path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for key in keys {
        if key.is_empty() {
            errors.required(path, "");
        }
        if !seen.insert(*key) {
            errors.duplicate(path, *key);
        }
        fields::label_name(key, path, errors);
    }
}
