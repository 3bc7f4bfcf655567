//! Validation of what taints a pod bears.

use serde_json::Value;

use super::fields::{label_name, set, text};
use super::pod_spec::one_of;
use crate::field::{ErrorList, Path};
use crate::names;

/// Reasons to refuse tolerations.
pub fn validate(list: &[Value], path: &Path, errors: &mut ErrorList) {
    for (i, t) in list.iter().enumerate() {
        let path = path.index(i);
        let (key, operator, value, effect) =
            (text(t, "key"), text(t, "operator"), text(t, "value"), text(t, "effect"));
        let at = path.child("operator");
        if !key.is_empty() {
            label_name(key, &path.child("key"), errors);
        }
        if key.is_empty() && operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&at, operator, why);
        }
        if set(t, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, why);
        }
        match operator {
            "" | "Equal" => {
                let why = names::label_value(value);
                if !why.is_empty() {
                    errors.invalid(&at, value, why.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid(&at, value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            // Of a feature that is off by default.
            "Lt" | "Gt" => errors.not_supported(&at, operator, &["Equal", "Exists", "Lt", "Gt"]),
            other => errors.not_supported(&at, other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            one_of(Some(effect), &effects, &path.child("effect"), errors);
        }
    }
}
