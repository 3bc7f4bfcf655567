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

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let mut seen = HashSet::new();
        for (i, hook) in list(object, "webhooks").iter().enumerate() {
            let path = Path::new("webhooks").index(i);
            webhook(hook, &path, errors);
            let versions = texts(hook, "admissionReviewVersions");
            let detail = "must specify one of v1, v1beta1";
            let path_of_versions = path.child("admissionReviewVersions");
            webhook_client::review_versions(&versions, detail, &path_of_versions, errors);
            let name = text(hook, "name");
            if !name.is_empty() && !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
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

fn webhook(hook: &Value, path: &Path, errors: &mut ErrorList) {
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
    fields::word(hook, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
    if set(hook, "sideEffects").is_none() {
        errors.required(&path.child("sideEffects"), "must specify one of None, NoneOnDryRun");
    }
    fields::word(hook, "sideEffects", SIDE_EFFECTS, path, errors);
    let seconds = int(hook, "timeoutSeconds");
    if set(hook, "timeoutSeconds").is_some() && !(1..=30).contains(&seconds) {
        let text = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, text);
    }
    admission_match::selectors(hook, path, errors);
    webhook_client::client_config(below(hook, "clientConfig"), &path.child("clientConfig"), errors);
    admission_match::conditions(hook, path, errors);
}
