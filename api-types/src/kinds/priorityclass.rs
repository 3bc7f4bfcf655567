//! PriorityClasses.

use serde_json::Value;

use super::check::{int, part, text};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to};
use crate::table;

/// The strategy of priority classes.
pub struct PriorityClass;

/// Names that only the system gives.
const SYSTEM_PREFIX: &str = "system-";
/// The classes of the system: (name, value, description). They are no class by default.
pub const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];
/// The highest value others may have.
pub const HIGHEST_USER_DEFINABLE: i64 = 1_000_000_000;

impl Strategy for PriorityClass {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            default_to(root, "preemptionPolicy", "PreemptLowerPriority");
            // Required by the API's types, so that even nothing is written.
            default_to(root, "value", 0);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        // Upstream sets it and never counts on.
        meta::metadata_mut(object).insert("generation".into(), 1.into());
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let name = meta::name(object);
        let value = int(object, "value").unwrap_or(0);
        if name.starts_with(SYSTEM_PREFIX) {
            if let Some(why) = not_of_the_system(object, name, value) {
                errors.forbidden(
                    &Path::new("metadata").child("name"),
                    format!(
                        "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
                    ),
                );
            }
        } else if value > HIGHEST_USER_DEFINABLE {
            errors.forbidden(
                &Path::new("value"),
                format!("maximum allowed value of a user defined priority is {HIGHEST_USER_DEFINABLE}"),
            );
        }
        let path = Path::new("preemptionPolicy");
        match text(object, "preemptionPolicy") {
            None | Some("PreemptLowerPriority" | "Never") => {}
            Some("") => errors.required(&path, ""),
            Some(other) => errors.not_supported(&path, other, &["PreemptLowerPriority", "Never"]),
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        if int(new, "value") != int(old, "value") {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        let policy = "preemptionPolicy";
        errors.immutable(&Path::new(policy), new.get(policy), old.get(policy));
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            meta::name(o).into(),
            int(o, "value").unwrap_or(0).into(),
            is_default(o).into(),
            table::age(o, now).into(),
            text(o, "preemptionPolicy").unwrap_or("").into(),
        ]
    }
}

fn is_default(o: &Value) -> bool {
    part(o, "globalDefault").as_bool() == Some(true)
}

fn not_of_the_system(object: &Value, name: &str, value: i64) -> Option<String> {
    let Some((_, wanted, _)) = SYSTEM.iter().find(|(n, ..)| *n == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *wanted {
        return Some(format!("value of {name} PriorityClass must be {wanted}"));
    }
    is_default(object).then(|| format!("globalDefault of {name} PriorityClass must be false"))
}
