//! What the status of a quota becomes.

use api_types::{
    amounts::{self, Amounts},
    meta,
    quantity::{Format, Quantity},
    quota,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A kind of objects, as quotas name it: (group, plural).
pub(super) type Counted = (String, String);

const MEASURED: [&str; 3] = ["pods", "services", "persistentvolumeclaims"];

/// The kinds that count for the resources a quota sets.
pub(super) fn kinds(quota: &Value) -> Vec<Counted> {
    let mut kinds: Vec<Counted> = Vec::new();
    for (name, _) in hard(quota).into_iter().flatten() {
        let measured = MEASURED.iter().find(|plural| quota::tracks("", plural, name));
        let kind = match (measured, name.strip_prefix("count/")) {
            (Some(plural), _) => (String::new(), (*plural).to_owned()),
            (None, Some(counted)) => {
                let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
                (group.to_owned(), plural.to_owned())
            }
            (None, None) if quota::tracks("", name, name) => (String::new(), name.clone()),
            (None, None) => continue,
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn hard(quota: &Value) -> Option<&Map<String, Value>> {
    meta::at(quota, &["spec", "hard"]).and_then(Value::as_object)
}

/// What an object counts for in this quota.
pub(super) fn share(quota: &Value, kind: &Counted, object: &Value, now: Timestamp) -> Amounts {
    let (group, plural) = kind;
    if !quota::in_scope(quota, group, plural, object) {
        return Amounts::new();
    }
    let mut used = quota::usage(group, plural, object, now);
    used.retain(|name, _| hard(quota).is_some_and(|hard| hard.contains_key(name)));
    used
}

/// What is not used any more when an object counted for `old` and counts for `new` now.
pub(super) fn freed(old: Amounts, new: &Amounts) -> Amounts {
    let mut freed = old;
    for (name, amount) in &mut freed {
        if let Some(left) = new.get(name) {
            *amount = *amount - *left;
        }
    }
    freed.retain(|_, amount| !amount.is_zero() && !amount.is_negative());
    freed
}

/// The status, when it is another than the quota has. What is known to be used becomes less by what was `freed`;
/// the rest, or with `recount` all of it, is what `counted` says.
pub(super) fn status(
    quota: &Value,
    freed: &Amounts,
    recount: bool,
    counted: impl FnOnce() -> Amounts,
) -> Option<Value> {
    let known = amounts::read(meta::at(quota, &["status", "used"]));
    let names: Vec<&String> = hard(quota).into_iter().flatten().map(|(name, _)| name).collect();
    let all_known = names.iter().all(|name| known.contains_key(*name));
    let counted = if recount || !all_known { counted() } else { Amounts::new() };
    let zero = Quantity::from_value(0, Format::DecimalSi);
    let mut used = Map::new();
    for name in names {
        let amount = match known.get(name).filter(|_| !recount) {
            Some(before) => match *before - freed.get(name).copied().unwrap_or(zero) {
                less if less.is_negative() => zero,
                left => left,
            },
            None => counted.get(name).copied().unwrap_or(zero),
        };
        used.insert(name.clone(), amount.to_string().into());
    }
    let hard = hard(quota).cloned().unwrap_or_default();
    let status = if hard.is_empty() { json!({}) } else { json!({"hard": hard, "used": used}) };
    let before = quota.get("status").cloned().unwrap_or_else(|| json!({}));
    (status != before).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(value: Value) -> Amounts {
        amounts::read(Some(&value))
    }

    #[test]
    fn kinds_follow_from_the_resources() {
        let quota = json!({"spec": {"hard": {"pods": "1", "limits.cpu": "1", "count/deployments.apps": "1",
            "count/secrets": "1", "configmaps": "1", "services.nodeports": "1", "unknown": "1",
            "gold.storageclass.storage.k8s.io/requests.storage": "1", "count/pods": "1"}}});
        let names: Vec<String> =
            kinds(&quota).into_iter().map(|(group, plural)| format!("{plural}.{group}")).collect();
        assert_eq!(
            names,
            ["configmaps.", "deployments.apps", "pods.", "secrets.", "persistentvolumeclaims.", "services."]
        );
    }

    #[test]
    fn a_status_is_counted_once_and_then_kept_by_what_is_freed() {
        let spec = json!({"hard": {"pods": "5", "cpu": "4"}});
        let new = json!({"spec": spec});
        let counted = || amounts(json!({"pods": "2", "cpu": "1", "memory": "1Gi"}));
        let first = json!({"hard": {"pods": "5", "cpu": "4"}, "used": {"pods": "2", "cpu": "1"}});
        assert_eq!(status(&new, &Amounts::new(), false, counted), Some(first.clone()));
        let known = json!({"spec": spec, "status": first});
        assert_eq!(status(&known, &Amounts::new(), true, counted), None);
        let never = || unreachable!("all is known");
        let less = status(&known, &amounts(json!({"pods": "1", "cpu": "2"})), false, never).unwrap();
        assert_eq!(less["used"], json!({"pods": "1", "cpu": "0"}));
        // What was charged and is not seen yet is kept.
        let ahead =
            json!({"spec": spec, "status": {"hard": spec["hard"], "used": {"pods": "4", "cpu": "3"}}});
        let less = status(&ahead, &amounts(json!({"pods": "1"})), false, never).unwrap();
        assert_eq!(less["used"], json!({"pods": "3", "cpu": "3"}));
        assert_eq!(status(&ahead, &Amounts::new(), true, counted).unwrap()["used"], known["status"]["used"]);
        let wider = json!({"spec": {"hard": {"pods": "9", "memory": "2Gi"}}, "status": ahead["status"]});
        let wider = status(&wider, &Amounts::new(), false, counted).unwrap();
        assert_eq!(
            wider,
            json!({"hard": {"pods": "9", "memory": "2Gi"}, "used": {"pods": "4", "memory": "1Gi"}})
        );
    }

    #[test]
    fn only_what_becomes_less_is_freed() {
        let freed = freed(
            amounts(json!({"pods": "1", "cpu": "1", "memory": "1Gi"})),
            &amounts(json!({"cpu": "2", "memory": "512Mi"})),
        );
        assert_eq!(freed, amounts(json!({"pods": "1", "memory": "512Mi"})));
    }
}
