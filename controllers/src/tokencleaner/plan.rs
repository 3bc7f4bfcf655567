//! When a token that an account was once given by itself is marked as invalid, and when its secret goes. Pure.
//!
//! Dates are days in UTC: a label tells the day, and a token of that day may have been used until its end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use crate::tokens::view::TokenSecret;

pub(super) const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
pub(super) const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// What the secret alone tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It stays: it goes already, or nobody can tell when it was used.
    Stays,
    /// It is too young, or was used too lately; there is nothing to be done before that time.
    Until(Timestamp),
    /// It has not been used for as long as that takes.
    Unused,
}

/// What is to be done with an unused one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing before that time.
    Wait(Timestamp),
    /// Its token is accepted no longer.
    MarkInvalid,
    /// It was marked for as long as it takes, and nobody has objected.
    Delete,
}

/// The day as labels have it.
pub(super) fn date(t: Timestamp) -> String {
    t.strftime("%Y-%m-%d").to_string()
}

fn read(text: &str) -> Option<Date> {
    text.parse().ok().filter(|_| text.len() == 10)
}

fn after(t: Timestamp, period: Duration) -> Timestamp {
    let period = SignedDuration::try_from(period).unwrap_or(SignedDuration::MAX);
    t.checked_add(period).unwrap_or(Timestamp::MAX)
}

/// When what was so on that day has been so for the period: counted from the end of the day.
fn since(day: Date, period: Duration) -> Timestamp {
    let end = day.tomorrow().ok().and_then(|next| next.to_zoned(TimeZone::UTC).ok());
    end.map_or(Timestamp::MAX, |end| after(end.timestamp(), period))
}

/// How old the token is for this purpose.
pub(super) fn age(secret: &TokenSecret, period: Duration, now: Timestamp) -> Age {
    let Some(created) = secret.created.filter(|_| secret.deleted.is_none()) else { return Age::Stays };
    let mut due = after(created, period);
    // One without the label has not been used since use is written down.
    if let Some(last_used) = secret.labels.get(LAST_USED) {
        let Some(day) = read(last_used) else { return Age::Stays };
        due = due.max(since(day, period));
    }
    if due > now { Age::Until(due) } else { Age::Unused }
}

/// What is to be done with an unused token, when its use has been written down since that day.
pub(super) fn plan(secret: &TokenSecret, tracked_since: Date, period: Duration, now: Timestamp) -> Action {
    let tracked = since(tracked_since, period);
    if tracked > now {
        return Action::Wait(tracked);
    }
    let Some(day) = secret.labels.get(INVALID_SINCE).and_then(|day| read(day)) else {
        return Action::MarkInvalid;
    };
    let due = since(day, period);
    if due > now { Action::Wait(due) } else { Action::Delete }
}

/// Whether the account lists the secret: it was given it by itself, then. Others were made by hand and stay.
pub(super) fn is_listed(account: &Value, secret: &TokenSecret) -> bool {
    let uid = api_types::meta::uid(account);
    let listed = account.get("secrets").and_then(Value::as_array).into_iter().flatten();
    (secret.account_uid.is_empty() || *secret.account_uid == *uid)
        && listed.into_iter().any(|reference| reference["name"].as_str() == Some(&secret.name))
}

/// Whether a pod refers to the secret, in any of the ways there are.
pub(super) fn refers(pod: &Value, secret: &str) -> bool {
    match pod {
        Value::Array(all) => all.iter().any(|one| refers(one, secret)),
        Value::Object(fields) => fields.iter().any(|(field, value)| match field.as_str() {
            "secretName" => value.as_str() == Some(secret),
            "secret" | "secretRef" | "secretKeyRef" | "nodePublishSecretRef" | "imagePullSecrets" => {
                names(value, secret) || refers(value, secret)
            }
            _ => refers(value, secret),
        }),
        _ => false,
    }
}

fn names(reference: &Value, secret: &str) -> bool {
    let is_it = |one: &Value| one.get("name").and_then(Value::as_str) == Some(secret);
    is_it(reference) || reference.as_array().is_some_and(|all| all.iter().any(is_it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: &str = "2026-06-10T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn secret(created: &str, labels: &Value) -> TokenSecret {
        let object = json!({"metadata": {"name": "t", "namespace": "n", "creationTimestamp": created,
            "labels": labels, "annotations": {"kubernetes.io/service-account.uid": "u"}}});
        serde_json::from_value(object).expect("a secret")
    }

    #[test]
    fn tokens_grow_old_by_their_creation_and_their_use() {
        let period = 10 * DAY;
        for (created, labels, expected) in [
            ("2026-06-01T00:00:00Z", json!({}), Age::Until(at("2026-06-11T00:00:00Z"))),
            ("2026-05-31T12:00:01Z", json!({}), Age::Until(at("2026-06-10T12:00:01Z"))),
            ("2026-05-31T12:00:00Z", json!({}), Age::Unused),
            // A use counts until its day has ended.
            (
                "2026-01-01T00:00:00Z",
                json!({LAST_USED: "2026-05-31"}),
                Age::Until(at("2026-06-11T00:00:00Z")),
            ),
            ("2026-01-01T00:00:00Z", json!({LAST_USED: "2026-05-30"}), Age::Unused),
            (
                "2026-06-05T00:00:00Z",
                json!({LAST_USED: "2026-05-30"}),
                Age::Until(at("2026-06-15T00:00:00Z")),
            ),
            ("2026-01-01T00:00:00Z", json!({LAST_USED: "long ago"}), Age::Stays),
        ] {
            assert_eq!(age(&secret(created, &labels), period, at(NOW)), expected, "{created} {labels}");
        }
        let mut going = secret("2026-01-01T00:00:00Z", &json!({}));
        going.deleted = Some(at(NOW));
        assert_eq!(age(&going, period, at(NOW)), Age::Stays);
    }

    #[test]
    fn unused_tokens_are_marked_and_then_deleted() {
        let period = 10 * DAY;
        for (tracked, labels, expected) in [
            ("2026-05-31", json!({}), Action::Wait(at("2026-06-11T00:00:00Z"))),
            ("2026-05-30", json!({}), Action::MarkInvalid),
            ("2026-05-30", json!({INVALID_SINCE: "soon"}), Action::MarkInvalid),
            ("2026-01-01", json!({INVALID_SINCE: "2026-06-01"}), Action::Wait(at("2026-06-12T00:00:00Z"))),
            ("2026-01-01", json!({INVALID_SINCE: "2026-05-30"}), Action::Delete),
        ] {
            let secret = secret("2026-01-01T00:00:00Z", &labels);
            let tracked_since = read(tracked).expect("a day");
            assert_eq!(plan(&secret, tracked_since, period, at(NOW)), expected, "{tracked} {labels}");
        }
    }

    #[test]
    fn only_those_that_their_account_lists() {
        let secret = secret(NOW, &json!({}));
        let account = |uid: &str, name: &str| json!({"metadata": {"uid": uid}, "secrets": [{"name": name}]});
        assert!(is_listed(&account("u", "t"), &secret));
        assert!(!is_listed(&account("u", "other"), &secret));
        assert!(!is_listed(&account("other", "t"), &secret));
        assert!(!is_listed(&json!({"metadata": {"uid": "u"}}), &secret));
    }

    #[test]
    fn pods_refer_to_secrets_in_many_ways() {
        for (spec, expected) in [
            (json!({"volumes": [{"name": "t", "secret": {"secretName": "t"}}]}), true),
            (
                json!({"volumes": [{"name": "t", "projected": {"sources": [{"secret": {"name": "t"}}]}}]}),
                true,
            ),
            (json!({"volumes": [{"name": "x", "csi": {"nodePublishSecretRef": {"name": "t"}}}]}), true),
            (json!({"containers": [{"envFrom": [{"secretRef": {"name": "t"}}]}]}), true),
            (json!({"initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "t"}}}]}]}), true),
            (json!({"imagePullSecrets": [{"name": "t"}]}), true),
            (json!({"volumes": [{"name": "t", "emptyDir": {}}], "containers": [{"name": "t"}]}), false),
            (json!({"volumes": [{"name": "t", "configMap": {"name": "t"}}]}), false),
        ] {
            assert_eq!(refers(&json!({"spec": spec}), "t"), expected, "{spec}");
        }
    }
}
