//! How objects of one version become those of another: not at all, or by a webhook.

use serde_json::Value;

use super::rules::Rules;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, below, set, text, texts};
use crate::kinds::webhook_client;

const STRATEGIES: &[&str] = &["None", "Webhook"];

/// Reasons to refuse a conversion. Paths are those of upstream's internal form.
pub fn validate(conversion: &Value, rules: &Rules, path: &Path, errors: &mut ErrorList) {
    if conversion.is_null() {
        return;
    }
    if fields::required(conversion, "strategy", path, errors).is_some() {
        fields::word(conversion, "strategy", STRATEGIES, path, errors);
    }
    let webhook = below(conversion, "webhook");
    let (client, at) = (set(webhook, "clientConfig"), path.child("webhookClientConfig"));
    let (versions, at_versions) =
        (texts(webhook, "conversionReviewVersions"), path.child("conversionReviewVersions"));
    if text(conversion, "strategy") == "Webhook" {
        match client {
            None => errors.required(&at, "required when strategy is set to Webhook"),
            Some(c) => {
                webhook_client::client_config(c, &at, errors);
                let bundle = text(c, "caBundle");
                if let Some(why) = webhook_client::authority(bundle).err().filter(|_| rules.authority) {
                    errors.invalid(&at.child("caBundle"), bundle, why);
                }
            }
        }
        webhook_client::review_versions(&versions, "", rules.review_version, &at_versions, errors);
        return;
    }
    let text = "should not be set when strategy is not set to Webhook";
    if client.is_some() {
        errors.forbidden(&at, text);
    }
    if !versions.is_empty() {
        errors.forbidden(&at_versions, text);
    }
}
