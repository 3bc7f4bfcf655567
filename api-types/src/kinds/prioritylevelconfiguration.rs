//! Priority levels: how many requests are answered at once. They are kept; requests are not queued by them yet.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{below, int, list, set, text};
use super::{drop_status, flowcontrol_bootstrap, keep_status};
use crate::catalog::{Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};

use crate::table;

/// The strategy of priority levels.
pub struct PriorityLevelConfiguration;

/// Means something in an older version alone.
const ONLY_BETA: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
const MAX_QUEUES: i64 = 10_000_000;
/// Bits of the hash that deals queues to flows.
const MAX_HASH_BITS: i64 = 60;

impl Strategy for PriorityLevelConfiguration {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        for (field, shares) in [("limited", 30), ("exempt", 0)] {
            if let Some(Value::Object(level)) = spec.get_mut(field) {
                default_to(level, "nominalConcurrencyShares", shares);
                default_to(level, "lendablePercent", 0);
            }
        }
        let queuing = spec.get_mut("limited").and_then(|l| l.pointer_mut("/limitResponse/queuing"));
        if let Some(Value::Object(queuing)) = queuing {
            for (field, n) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                if queuing.get(field).and_then(Value::as_i64).unwrap_or(0) == 0 {
                    queuing.insert(field.into(), n.into());
                }
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path, name) = (below(object, "spec"), Path::new("spec"), meta::name(object));
        let kind = text(spec, "type");
        if meta::at(object, &["metadata", "annotations", ONLY_BETA]).is_some() {
            let at = Path::new("metadata").child("annotations");
            errors.forbidden(&at, format!("annotation '{ONLY_BETA}' is forbidden"));
        }
        if (name == "exempt") != (kind == "Exempt") {
            let text = "must be 'Exempt' if and only if `name` is 'exempt'";
            errors.invalid(&path.child("type"), kind, text);
        }
        let (limited, exempt) = (set(spec, "limited"), set(spec, "exempt"));
        match kind {
            "Exempt" => {
                if limited.is_some() {
                    errors.forbidden(&path.child("limited"), "must be nil if the type is not Limited");
                }
                if let Some(e) = exempt {
                    shares(e, &path.child("exempt"), errors);
                    lendable(e, &path.child("exempt"), errors);
                }
            }
            "Limited" => {
                if exempt.is_some() {
                    errors.forbidden(&path.child("exempt"), "must be nil if the type is Limited");
                }
                match limited {
                    None => {
                        errors.required(&path.child("limited"), "must not be empty when type is Limited");
                    }
                    Some(l) => validate_limited(l, &path.child("limited"), errors),
                }
            }
            other => errors.not_supported(&path.child("type"), other, &["Exempt", "Limited"]),
        }
        fixed(name, spec, &path, errors);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        conditions(below(new, "status"), errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let limited = below(spec, "limited");
        let queuing = below(below(limited, "limitResponse"), "queuing");
        let cell = |v: &Value, field: &str| set(v, field).cloned().unwrap_or_else(|| "<none>".into());
        vec![
            meta::name(o).into(),
            text(spec, "type").into(),
            cell(limited, "nominalConcurrencyShares"),
            cell(queuing, "queues"),
            cell(queuing, "handSize"),
            cell(queuing, "queueLengthLimit"),
            table::age(o, now).into(),
        ]
    }
}

/// The levels every cluster has may not change, but for how much of the exempt one is lent.
fn fixed(name: &str, spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(fixed) = flowcontrol_bootstrap::mandatory("PriorityLevelConfiguration", name) else { return };
    let mut have = spec.clone();
    let exempt = name == "exempt";
    if exempt {
        have["exempt"] = fixed["spec"]["exempt"].clone();
    }
    if have != fixed["spec"] {
        let except = if exempt { "except the 'spec.exempt' field " } else { "" };
        let text = format!("spec of '{name}' {except}must equal the fixed value");
        errors.invalid(path, spec.clone(), text);
    }
}

fn shares(level: &Value, path: &Path, errors: &mut ErrorList) {
    let n = int(level, "nominalConcurrencyShares");
    if n < 0 {
        errors.invalid(&path.child("nominalConcurrencyShares"), n, "must be a non-negative integer");
    }
}

fn lendable(level: &Value, path: &Path, errors: &mut ErrorList) {
    let percent = int(level, "lendablePercent");
    if !(0..=100).contains(&percent) {
        errors.invalid(&path.child("lendablePercent"), percent, "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(limited: &Value, path: &Path, errors: &mut ErrorList) {
    shares(limited, path, errors);
    let (response, at) = (below(limited, "limitResponse"), path.child("limitResponse"));
    let (queuing, at_queuing) = (set(response, "queuing"), at.child("queuing"));
    match (text(response, "type"), queuing) {
        ("Reject", Some(_)) => {
            errors.forbidden(&at_queuing, "must be nil if limited.limitResponse.type is not Limited")
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            errors.required(&at_queuing, "must not be empty if limited.limitResponse.type is Limited")
        }
        ("Queue", Some(q)) => validate_queuing(q, &at_queuing, errors),
        (other, _) => errors.not_supported(&at.child("type"), other, &["Queue", "Reject"]),
    }
    lendable(limited, path, errors);
    let borrowing = int(limited, "borrowingLimitPercent");
    if borrowing < 0 {
        let text = "if specified, must be a non-negative integer";
        errors.invalid(&path.child("borrowingLimitPercent"), borrowing, text);
    }
}

fn validate_queuing(q: &Value, path: &Path, errors: &mut ErrorList) {
    let (length, queues, hand) = (int(q, "queueLengthLimit"), int(q, "queues"), int(q, "handSize"));
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&path.child("queues"), queues, "must be positive");
    } else if queues > MAX_QUEUES {
        errors.invalid(&path.child("queues"), queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    let at = path.child("handSize");
    if hand <= 0 {
        errors.invalid(&at, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&at, hand, format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > MAX_HASH_BITS {
        let text = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        errors.invalid(&at, hand, text);
    }
}

/// Bits it takes to deal a hand of queues.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn entropy_bits(queues: i64, hand: i64) -> i64 {
    // Both are at most ten million here: exact as f64, and the product fits.
    ((queues as f64).log2() * hand as f64).ceil() as i64
}

/// Conditions of both kinds: typed, each type once.
pub(super) fn conditions(status: &Value, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, c) in list(status, "conditions").iter().enumerate() {
        let path = Path::new("status").child("conditions").index(i).child("type");
        if !seen.insert(text(c, "type")) {
            errors.duplicate(&path, text(c, "type"));
        }
        if text(c, "type").is_empty() {
            errors.required(&path, "");
        }
    }
}
