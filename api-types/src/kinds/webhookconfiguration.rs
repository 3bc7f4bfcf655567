//! Configurations of admission webhooks. They are kept; nothing calls them yet.

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{self, below, int, list, set, text, texts};
use super::pod_defaults::objects;
use super::{admission_match, webhook_client};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to};
use crate::{names, table};

/// The strategy of validating and mutating webhook configurations.
pub struct WebhookConfiguration {
    /// Whether its webhooks may change objects.
    pub mutating: bool,
}

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const ANY_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

impl Strategy for WebhookConfiguration {
    fn default(&self, object: &mut Value) {
        for hook in objects(object.get_mut("webhooks")) {
            admission_match::defaults(hook, &["rules"]);
            default_to(hook, "failurePolicy", "Fail");
            default_to(hook, "timeoutSeconds", 10);
            if self.mutating {
                default_to(hook, "reinvocationPolicy", "Never");
            }
            if let Some(Value::Object(service)) =
                hook.get_mut("clientConfig").and_then(|c| c.get_mut("service"))
            {
                default_to(service, "port", 443);
            }
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        validate(object, &Leniency::default(), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate(new, &Leniency::towards(new, old), errors);
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        admission_match::reserved_name(meta::name(object))
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let webhooks = list(o, "webhooks").len();
        vec![meta::name(o).into(), webhooks.into(), table::age(o, now).into()]
    }
}

/// Rules that a stored configuration breaks: an update may go on breaking them.
#[derive(Default)]
struct Leniency {
    side_effects: bool,
    review_versions: bool,
    repeated_names: bool,
    any_selector_value: bool,
    /// Conditions are as they were, webhook by webhook.
    conditions: bool,
}

impl Leniency {
    fn towards(new: &Value, old: &Value) -> Self {
        let (hooks, before) = (list(new, "webhooks"), list(old, "webhooks"));
        let mut names = HashSet::new();
        let bad_selector = |h| {
            fields::has_bad_selector(h, "namespaceSelector") || fields::has_bad_selector(h, "objectSelector")
        };
        Self {
            side_effects: before.iter().any(|h| !SIDE_EFFECTS.contains(&text(h, "sideEffects"))),
            review_versions: before.iter().any(|h| {
                let versions = texts(h, "admissionReviewVersions");
                !versions.is_empty() && !webhook_client::has_accepted_version(&versions)
            }),
            repeated_names: !before.iter().all(|h| names.insert(text(h, "name"))),
            any_selector_value: before.iter().any(bad_selector),
            conditions: hooks.len() == before.len()
                && hooks.iter().zip(before).all(|(h, b)| !fields::differs(h, b, "matchConditions")),
        }
    }
}

fn validate(object: &Value, lenient: &Leniency, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, hook) in list(object, "webhooks").iter().enumerate() {
        let path = Path::new("webhooks").index(i);
        webhook(hook, lenient, &path, errors);
        let versions = texts(hook, "admissionReviewVersions");
        let at = path.child("admissionReviewVersions");
        let detail = "must specify one of v1, v1beta1";
        webhook_client::review_versions(&versions, detail, !lenient.review_versions, &at, errors);
        let name = text(hook, "name");
        if !name.is_empty() && !seen.insert(name) && !lenient.repeated_names {
            errors.duplicate(&path.child("name"), name);
        }
    }
}

fn webhook(hook: &Value, lenient: &Leniency, path: &Path, errors: &mut ErrorList) {
    if let Some(name) = fields::required(hook, "name", path, errors) {
        let reasons = names::dns1123_subdomain(name);
        if !reasons.is_empty() {
            errors.invalid(&path.child("name"), name, reasons.join(","));
        } else if name.split('.').count() < 3 {
            let text = "should be a domain with at least three segments separated by dots";
            errors.invalid(&path.child("name"), name, text);
        }
    }
    for (i, rule) in list(hook, "rules").iter().enumerate() {
        admission_match::rule(rule, &path.child("rules").index(i), errors);
    }
    fields::word(hook, "failurePolicy", FAILURE_POLICIES, path, errors);
    admission_match::match_policy(hook, path, errors);
    let side_effects = if lenient.side_effects { ANY_SIDE_EFFECTS } else { SIDE_EFFECTS };
    if set(hook, "sideEffects").is_none() {
        let text = format!("must specify one of {}", side_effects.join(", "));
        errors.required(&path.child("sideEffects"), &text);
    }
    fields::word(hook, "sideEffects", side_effects, path, errors);
    let seconds = int(hook, "timeoutSeconds");
    if set(hook, "timeoutSeconds").is_some() && !(1..=30).contains(&seconds) {
        let text = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, text);
    }
    admission_match::selectors(hook, lenient.any_selector_value, path, errors);
    fields::word(hook, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
    webhook_client::client_config(below(hook, "clientConfig"), &path.child("clientConfig"), errors);
    if !lenient.conditions {
        admission_match::conditions(hook, path, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(change: &Value) -> Value {
        let mut hook = json!({"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a"}});
        for (field, value) in change.as_object().into_iter().flatten() {
            hook[field] = value.clone();
        }
        json!({"webhooks": [hook]})
    }

    fn update(new: &Value, old: &Value) -> usize {
        let mut errors = ErrorList::new();
        WebhookConfiguration { mutating: true }.validate_update(new, old, &mut errors);
        errors.0.len()
    }

    #[test]
    fn what_is_stored_may_go_on_being_wrong() {
        let good = configuration(&json!({}));
        for (change, other) in [
            (json!({"sideEffects": "Some"}), json!({"sideEffects": "Unknown"})),
            (json!({"admissionReviewVersions": ["v2"]}), json!({"admissionReviewVersions": ["v3"]})),
            (
                json!({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}}),
                json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["d e"]}]}}),
            ),
            (
                json!({"matchConditions": [{"name": "", "expression": "true"}]}),
                json!({"matchConditions": [{"name": "", "expression": "true"}], "timeoutSeconds": 3}),
            ),
        ] {
            let (bad, other) = (configuration(&change), configuration(&other));
            assert_eq!(update(&bad, &good), 1, "{change}");
            assert_eq!(update(&bad, &bad), 0, "{change}");
            assert_eq!(update(&other, &bad), 0, "{other}");
        }
        let two = json!({"webhooks": [good["webhooks"][0], good["webhooks"][0]]});
        assert_eq!([update(&two, &good), update(&two, &two)], [1, 0]);
        let nonsense = configuration(&json!({"sideEffects": "x"}));
        assert_eq!(update(&nonsense, &configuration(&json!({"sideEffects": "Some"}))), 1);
    }

    #[test]
    fn reserved_names_are_warned_of() {
        let warned = |name| {
            let strategy = WebhookConfiguration { mutating: false };
            strategy.warnings(&json!({"metadata": {"name": name}}), None)
        };
        assert_eq!(warned("a.static.k8s.io.b"), Vec::<String>::new());
        assert_eq!(
            warned("a.static.k8s.io"),
            [
                "metadata.name: names ending with \".static.k8s.io\" are reserved for static manifest-based configurations and cannot be managed via the API"
            ]
        );
    }
}
