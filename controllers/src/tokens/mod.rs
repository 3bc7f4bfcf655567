//! Secrets of the type `kubernetes.io/service-account-token` hold a token of their account, as long as it is there.
//!
//! Owns: the data of those secrets, their deletion with their account, and the references to them in accounts.
//! Woken by: those secrets, and accounts that go.
//! Invariants: a secret is written against the version it was looked at in; what is deleted is the incarnation that
//! was looked at, and not before the server has said that its account is not there.

mod plan;
pub(crate) mod view;

use std::{fmt, sync::Arc};

use kube::Client;
use serde_json::{Value, json};

use crate::{
    cache::{Change, Index, Informer, Object, ObjectKey, views::MetaOnly},
    context::{Context, LegacyToken, TokenGenerator},
    pods::is_not_found,
    queue::WorkQueue,
    rest,
};

use plan::{Account, Action};
use view::TokenSecret;

/// Upstream's controller manager does this by its own identity.
const NAME: &str = "tokens-controller";

/// Why a secret or its account is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused.
    #[error("{operation} {object}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Of what.
        object: ObjectKey,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// The token could not be signed.
    #[error("signing the token of secret {secret}: {why}")]
    Sign {
        /// Which.
        secret: ObjectKey,
        /// Why.
        why: String,
    },
}

/// What has happened, with all that is needed when the object is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    /// An account that has gone.
    Account { key: ObjectKey, uid: Box<str> },
    /// A secret, and the account that it says to be of.
    Secret { key: ObjectKey, uid: Box<str>, account: Box<str>, account_uid: Box<str> },
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Account { key, .. } => write!(out, "account {key}"),
            Key::Secret { key, .. } => write!(out, "secret {key}"),
        }
    }
}

impl Key {
    fn of_account(account: &MetaOnly) -> Self {
        Key::Account { key: ObjectKey::of(account), uid: account.uid().into() }
    }

    fn of_secret(secret: &TokenSecret) -> Self {
        Key::Secret {
            key: ObjectKey::of(secret),
            uid: secret.uid.clone(),
            account: secret.account.clone(),
            account_uid: secret.account_uid.clone(),
        }
    }
}

struct Controller {
    client: Client,
    accounts: Arc<Informer<MetaOnly>>,
    secrets: Arc<Informer<TokenSecret>>,
    root_ca: String,
    generator: TokenGenerator,
}

pub(crate) fn start(context: &Context) {
    let Some(generator) = context.config.token_generator.clone() else {
        tracing::info!("secrets get no tokens of service accounts: there is no private key");
        return;
    };
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        accounts: context.informers.service_accounts.clone(),
        secrets: context.informers.token_secrets.clone(),
        root_ca: context.config.root_ca.clone(),
        generator,
    });
    let queue = WorkQueue::new(context.metrics.queue("serviceaccount_tokens_secret"));
    let wake = queue.clone();
    controller.secrets.on_change(move |change| wake.add(Key::of_secret(change.object())));
    let wake = queue.clone();
    controller.accounts.on_change(move |change| match change {
        Change::Deleted(account) => wake.add(Key::of_account(account)),
        // One of that name was made anew while nobody looked.
        Change::Updated { old, new } if old.uid() != new.uid() => wake.add(Key::of_account(old)),
        Change::Added(_) | Change::Updated { .. } => {}
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.accounts.synced(), controller.secrets.synced());
        queue.spawn_workers("serviceaccount-tokens", workers, &tasks, &token, move |key| {
            let this = controller.clone();
            async move { this.reconcile(&key).await }
        });
    });
}

fn failed<'a>(operation: &'static str, object: &'a ObjectKey) -> impl FnOnce(kube::Error) -> Error + 'a {
    move |source| Error::Api { operation, object: object.clone(), source }
}

fn path(plural: &str, key: &ObjectKey) -> String {
    format!("/api/v1/namespaces/{}/{plural}/{}", key.namespace, key.name)
}

/// Nothing, where the object has gone meanwhile, or is not the one that was meant any more.
fn unless_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<(), Error> {
        match key {
            Key::Account { key, uid } => self.account_gone(key, uid).await,
            Key::Secret { key, uid, account, account_uid } => {
                let secret = self.secrets.store().get(key).filter(|secret| secret.uid == *uid);
                match secret {
                    Some(secret) => self.reconcile_secret(key, &secret).await,
                    None if account.is_empty() => Ok(()),
                    None => {
                        let account = ObjectKey::new(&key.namespace, account);
                        self.secret_gone(&key.name, &account, account_uid).await
                    }
                }
            }
        }
    }

    /// Its tokens go with it.
    async fn account_gone(&self, key: &ObjectKey, uid: &str) -> Result<(), Error> {
        if self.accounts.store().get(key).is_some_and(|account| account.uid() == uid) {
            return Ok(());
        }
        for secret in self.secrets.store().by(Index::ServiceAccount, &key.to_string()) {
            if &*secret.account_uid == uid {
                self.delete(&secret).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, secret: &TokenSecret) -> Result<(), Error> {
        let key = ObjectKey::of(secret);
        let deleted = rest::delete(&self.client, &path("secrets", &key), &json!({"uid": secret.uid})).await;
        unless_gone(deleted).map_err(failed("deleting secret", &key))
    }

    async fn reconcile_secret(&self, key: &ObjectKey, secret: &TokenSecret) -> Result<(), Error> {
        let account = self.account(secret).await?;
        match plan::plan(secret, account.as_ref(), &self.root_ca) {
            Action::Nothing => Ok(()),
            Action::Delete => self.delete(secret).await,
            Action::Fill(missing) => {
                let Some(account) = account else { return Ok(()) };
                let mut live: Value = match rest::get(&self.client, &path("secrets", key)).await {
                    Err(error) if is_not_found(&error) => return Ok(()),
                    live => live.map_err(failed("reading secret", key))?,
                };
                // A newer one is looked at when the cache has it.
                if api_types::meta::resource_version(&live) != &*secret.resource_version {
                    return Ok(());
                }
                let token = if missing.token { Some(self.sign(key, &account)?) } else { None };
                plan::fill(&mut live, &account, missing, &self.root_ca, token.as_deref());
                let written = rest::put(&self.client, &path("secrets", key), &live).await;
                unless_gone(written).map_err(failed("filling secret", key))
            }
        }
    }

    fn sign(&self, secret: &ObjectKey, account: &Account) -> Result<String, Error> {
        let token = LegacyToken {
            namespace: &secret.namespace,
            account: &account.name,
            account_uid: &account.uid,
            secret: &secret.name,
        };
        (self.generator)(&token).map_err(|why| Error::Sign { secret: secret.clone(), why })
    }

    /// The account that the secret is of: one that the cache does not know is asked for.
    async fn account(&self, secret: &TokenSecret) -> Result<Option<Account>, Error> {
        if secret.account.is_empty() {
            return Ok(None);
        }
        let meant = |uid: &str| {
            let named = &secret.account_uid;
            (named.is_empty() || **named == *uid)
                .then(|| Account { name: secret.account.to_string(), uid: uid.to_owned() })
        };
        let key = ObjectKey::new(&secret.namespace, &secret.account);
        if let Some(account) = self.accounts.store().get(&key).and_then(|account| meant(account.uid())) {
            return Ok(Some(account));
        }
        match rest::get::<Value>(&self.client, &path("serviceaccounts", &key)).await {
            Ok(account) => Ok(meant(api_types::meta::uid(&account))),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(source) => Err(failed("reading service account", &key)(source)),
        }
    }

    /// Its account refers to it no longer.
    async fn secret_gone(&self, secret: &str, key: &ObjectKey, uid: &str) -> Result<(), Error> {
        let meant = |there: &str| uid.is_empty() || there == uid;
        if !self.accounts.store().get(key).is_some_and(|account| meant(account.uid())) {
            return Ok(());
        }
        let account: Value = match rest::get(&self.client, &path("serviceaccounts", key)).await {
            Err(error) if is_not_found(&error) => return Ok(()),
            account => account.map_err(failed("reading service account", key))?,
        };
        if !meant(api_types::meta::uid(&account)) {
            return Ok(());
        }
        let Some(account) = plan::without_reference(&account, secret) else { return Ok(()) };
        match rest::put(&self.client, &path("serviceaccounts", key), &account).await {
            Err(error) if is_not_found(&error) => Ok(()),
            // A conflict is tried again.
            written => written.map_err(failed("removing a secret from service account", key)),
        }
    }
}
