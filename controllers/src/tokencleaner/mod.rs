//! Tokens that accounts were once given by themselves, in secrets, are marked as invalid when nobody has used them for
//! long, and their secrets are deleted when nobody has objected for as long again.
//!
//! Owns: the label `kubernetes.io/legacy-token-invalid-since`, and the deletion of those secrets.
//! Woken by: secrets with tokens, and by the clock: each has a time before which nothing is to be done. One that is
//! old enough but in use (a pod mounts it) is looked at again once a day.
//! Invariants: secrets that were made by hand stay; what is deleted is the version that was looked at, so that a use
//! that was written down a moment ago saves it.

mod plan;

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, civil::Date};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cache::{Change, Informer, Object, ObjectKey},
    context::Context,
    pods::is_not_found,
    queue::WorkQueue,
    rest,
    tokens::view::TokenSecret,
};

use plan::{Action, Age};

const NAME: &str = "legacy-service-account-token-cleaner";
const TRACKING: &str =
    "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
/// When one that is in use is looked at again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Why a secret was not cleaned up.
#[derive(Debug, thiserror::Error)]
#[error("{operation} for the token in secret {secret}")]
pub struct Error {
    operation: &'static str,
    secret: ObjectKey,
    source: kube::Error,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
}

struct Controller {
    client: Client,
    /// Reads what the controller's own identity may not: upstream's reads it from shared caches.
    reader: Client,
    secrets: Arc<Informer<TokenSecret>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    period: Duration,
}

pub(crate) fn start(context: &Context) {
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        reader: context.client("shared-informers"),
        secrets: context.informers.token_secrets.clone(),
        queue: WorkQueue::new(context.metrics.queue("legacy_service_account_token_cleaner")),
        period: context.config.legacy_token_clean_up_period,
    });
    let wake = controller.queue.clone();
    controller.secrets.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            wake.add(ObjectKey::of(&**change.object()));
        }
    });
    let (tasks, token) = (context.tasks.clone(), context.token.clone());
    let queue = controller.queue.clone();
    queue.spawn_workers("legacy-token-cleaner", 1, &tasks, &token, move |key| {
        let this = controller.clone();
        async move { this.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(secret) = self.secrets.store().get(key) else { return Ok(()) };
        let now = Timestamp::now();
        let wait = |until: Timestamp| {
            let rest = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            self.queue.add_after(key.clone(), rest);
        };
        match plan::age(&secret, self.period, now) {
            Age::Stays => return Ok(()),
            Age::Until(due) => {
                wait(due);
                return Ok(());
            }
            Age::Unused => {}
        }
        let tracked = self.tracked_since(key).await?;
        let Some(tracked) = tracked.filter(|_| !secret.account.is_empty()) else {
            self.queue.add_after(key.clone(), AGAIN);
            return Ok(());
        };
        let action = plan::plan(&secret, tracked, self.period, now);
        if let Action::Wait(due) = action {
            wait(due);
            return Ok(());
        }
        if !self.is_given_by_itself(key, &secret).await? || self.is_mounted(key).await? {
            self.queue.add_after(key.clone(), AGAIN);
            return Ok(());
        }
        let path = format!("/api/v1/namespaces/{}/secrets/{}", key.namespace, key.name);
        let (operation, result) = if action == Action::Delete {
            tracing::info!(secret = %key, "an unused token of a service account is deleted");
            let version = json!({"resourceVersion": secret.resource_version});
            ("deleting the secret", rest::delete(&self.client, &path, &version).await)
        } else {
            tracing::info!(secret = %key, "an unused token of a service account is marked as invalid");
            let label = json!({plan::INVALID_SINCE: plan::date(now)});
            let patch = json!({"metadata": {"uid": secret.uid(), "labels": label}});
            ("marking as invalid", rest::patch(&self.client, &path, rest::MERGE, &patch).await)
        };
        match result {
            // Gone, or used meanwhile: the watch tells.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            result => result.map_err(|source| Error { operation, secret: key.clone(), source }),
        }
    }

    /// Since which day the API server writes down the use of tokens, if it says so.
    async fn tracked_since(&self, secret: &ObjectKey) -> Result<Option<Date>, Error> {
        match rest::get::<Value>(&self.client, TRACKING).await {
            Ok(map) => Ok(map["data"]["since"].as_str().and_then(|day| day.parse().ok())),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(source) => Err(Error {
                operation: "reading since when use is written down",
                secret: secret.clone(),
                source,
            }),
        }
    }

    async fn is_given_by_itself(&self, key: &ObjectKey, secret: &TokenSecret) -> Result<bool, Error> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}", key.namespace, secret.account);
        match rest::get::<Value>(&self.reader, &path).await {
            Ok(account) => Ok(plan::is_listed(&account, secret)),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(source) => {
                Err(Error { operation: "reading the service account", secret: key.clone(), source })
            }
        }
    }

    async fn is_mounted(&self, key: &ObjectKey) -> Result<bool, Error> {
        let path = format!("/api/v1/namespaces/{}/pods", key.namespace);
        let pods: List = rest::get(&self.reader, &path).await.map_err(|source| Error {
            operation: "listing the pods",
            secret: key.clone(),
            source,
        })?;
        Ok(pods.items.iter().any(|pod| plan::refers(&pod["spec"], &key.name)))
    }
}
