//! Which shares of a device's capacity may be asked for (`pkg/apis/resource/validation/validation.go`).

use serde_json::Value;

use super::fields::{list, set, text};
use super::resource_names::quantity;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

const MAX_VALUES: usize = 10;
const TOO_LARGE: &str = "must not be larger than 9223372036854775807";

/// Reasons to refuse the policy of a capacity of this much.
pub fn request_policy(policy: &Value, capacity: &Value, path: &Path, errors: &mut ErrorList) {
    let values = list(policy, "validValues");
    let range = set(policy, "validRange");
    let default = set(policy, "default").and_then(quantity);
    let capacity = (quantity(capacity).unwrap_or_default(), capacity.as_str().unwrap_or("0"));
    if !values.is_empty() && range.is_some() {
        let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        errors.forbidden(path, why);
    } else if !values.is_empty() {
        let Some(default) = default else {
            errors.required(&path.child("default"), "required when validValues is defined");
            return;
        };
        valid_values(
            values,
            (default, text(policy, "default")),
            capacity,
            &path.child("validValues"),
            errors,
        );
    } else if let Some(range) = range {
        let Some(default) = default else {
            errors.required(&path.child("default"), "required when validRange is defined");
            return;
        };
        valid_range(range, (default, text(policy, "default")), capacity, &path.child("validRange"), errors);
    }
}

/// An amount, and as it was written.
type Amount<'a> = (Quantity, &'a str);

fn valid_values(values: &[Value], default: Amount<'_>, max: Amount<'_>, path: &Path, errors: &mut ErrorList) {
    let all: Vec<Quantity> = values.iter().map(|v| quantity(v).unwrap_or_default()).collect();
    for i in (1..all.len()).filter(|i| all[i - 1] > all[*i]) {
        let why = "values must be sorted in ascending order";
        errors.invalid(&path.index(i), values[i].clone(), why);
    }
    if all.len() > MAX_VALUES {
        errors.too_many(path, all.len(), MAX_VALUES);
    } else {
        for (i, _) in all.iter().enumerate().filter(|(_, q)| **q > max.0) {
            let why = format!("option is larger than capacity value: {}", max.1);
            errors.invalid(&path.index(i), values[i].clone(), why);
        }
        for (i, q) in all.iter().enumerate().filter(|(i, q)| all[..*i].contains(q)) {
            errors.duplicate(&path.index(i), q.value().to_string());
        }
    }
    if !all.contains(&default.0) {
        errors.invalid(path, default.1, "default value is not valid according to the requestPolicy");
    }
}

fn valid_range(
    range: &Value,
    default: Amount<'_>,
    capacity: Amount<'_>,
    path: &Path,
    errors: &mut ErrorList,
) {
    let amount = |field: &str| set(range, field).and_then(quantity).map(|q| (q, text(range, field)));
    let (Some(min), max, step) = (amount("min"), amount("max"), amount("step")) else {
        errors.required(&path.child("min"), "required when validRange is defined");
        return;
    };
    let mut refuse = |field: &str, shown: &str, why: String| errors.invalid(&path.child(field), shown, why);
    if min.0 > capacity.0 {
        refuse("min", min.1, format!("min is larger than capacity value: {}", capacity.1));
    }
    if default.0 < min.0 {
        refuse("default", default.1, format!("default is less than min: {}", min.1));
    }
    if let Some(max) = max {
        if min.0 > max.0 {
            // Upstream shows the least where it names the most.
            refuse("max", min.1, format!("min is larger than max: {}", max.1));
        }
        if max.0 > capacity.0 {
            refuse("max", max.1, format!("max is larger than capacity value: {}", capacity.1));
        }
        if default.0 > max.0 {
            refuse("default", default.1, format!("default is more than max: {}", max.1));
        }
    }
    let Some(step) = step else { return };
    if step.0.is_zero() || step.0.is_negative() {
        refuse("step", step.1, "must be greater than zero".into());
        return;
    }
    let one = min.0 + step.0;
    if one > capacity.0 {
        refuse("step", step.1, format!("one step {one} is larger than capacity value: {}", capacity.1));
    }
    let most = Quantity::from_value(i64::MAX, min.0.format());
    let mut countable = true;
    for (field, q) in [("default", Some(default)), ("min", Some(min)), ("max", max), ("step", Some(step))] {
        let Some(q) = q else { continue };
        if q.0.is_negative() || q.0 > most {
            let why = if q.0 > most { TOO_LARGE } else { "must be greater than or equal to 0" };
            refuse(field, q.1, why.into());
            countable = false;
        }
    }
    for value in [Some(default), max].into_iter().flatten().filter(|_| countable) {
        if (i128::from(value.0.value()) - i128::from(min.0.value())) % i128::from(step.0.value()) != 0 {
            refuse(
                "step",
                value.1,
                format!("value is not a multiple of a given step ({}) from ({})", step.1, min.1),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies() {
        for (policy, want) in [
            (json!({}), vec![]),
            (json!({"default": "1Gi", "validValues": ["1Gi", "2Gi"]}), vec![]),
            (json!({"default": "1Gi", "validRange": {"min": "1Gi", "max": "4Gi", "step": "1Gi"}}), vec![]),
            (
                json!({"default": "1", "validValues": ["1"], "validRange": {}}),
                vec![
                    "p: Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
                ],
            ),
            (
                json!({"validValues": ["1"]}),
                vec!["p.default: Required value: required when validValues is defined"],
            ),
            (
                json!({"default": "3", "validValues": ["2", "1", "8Gi", "1"]}),
                vec![
                    "p.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
                    "p.validValues[3]: Invalid value: \"1\": values must be sorted in ascending order",
                    "p.validValues[2]: Invalid value: \"8Gi\": option is larger than capacity value: 4Gi",
                    "p.validValues[3]: Duplicate value: \"1\"",
                    "p.validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy",
                ],
            ),
            (
                json!({"default": "1", "validRange": {}}),
                vec!["p.validRange.min: Required value: required when validRange is defined"],
            ),
            (
                json!({"default": "1", "validRange": {"min": "2", "max": "1", "step": "3"}}),
                vec![
                    "p.validRange.default: Invalid value: \"1\": default is less than min: 2",
                    "p.validRange.max: Invalid value: \"2\": min is larger than max: 1",
                    "p.validRange.step: Invalid value: \"1\": value is not a multiple of a given step (3) from (2)",
                    "p.validRange.step: Invalid value: \"1\": value is not a multiple of a given step (3) from (2)",
                ],
            ),
            (
                json!({"default": "1Gi", "validRange": {"min": "1Gi", "step": "4Gi"}}),
                vec![
                    "p.validRange.step: Invalid value: \"4Gi\": one step 5Gi is larger than capacity value: 4Gi",
                ],
            ),
            (
                json!({"default": "1", "validRange": {"min": "0", "step": "0"}}),
                vec!["p.validRange.step: Invalid value: \"0\": must be greater than zero"],
            ),
        ] {
            let mut e = ErrorList::new();
            request_policy(&policy, &json!("4Gi"), &Path::new("p"), &mut e);
            let all: Vec<String> = e.0.iter().map(ToString::to_string).collect();
            assert_eq!(all, want, "{policy}");
        }
    }
}
