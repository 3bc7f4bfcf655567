//! Every namespace has a service account called `default`.
//!
//! Owns: the creation of that account, nothing else about it.
//! Woken by: new namespaces, and default accounts that go away.
//! Invariant: nothing is made in a namespace that is being deleted.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};

use crate::{
    cache::{Change, ObjectKey},
    context::Context,
    pods::{is_namespace_terminating, is_not_found},
    queue::WorkQueue,
};

const NAME: &str = "service-account-controller";
const ACCOUNT: &str = "default";

/// The account could not be made.
#[derive(Debug, thiserror::Error)]
#[error("creating service account {ACCOUNT} in namespace {namespace}")]
pub struct Error {
    namespace: Arc<str>,
    source: kube::Error,
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let namespaces = context.informers.namespaces.clone();
    let accounts = context.informers.service_accounts.clone();
    let queue = WorkQueue::new(context.metrics.queue("serviceaccount"));
    let wake = queue.clone();
    namespaces.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            wake.add(ObjectKey::of(&**change.object()));
        }
    });
    let wake = queue.clone();
    accounts.on_change(move |change| {
        if let Change::Deleted(account) = change
            && &*account.metadata.name == ACCOUNT
        {
            wake.add(ObjectKey::new("", &account.metadata.namespace));
        }
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(namespaces.synced(), accounts.synced());
        queue.spawn_workers("serviceaccount", workers, &tasks, &token, move |key: ObjectKey| {
            let (client, namespaces, accounts) = (client.clone(), namespaces.clone(), accounts.clone());
            async move {
                let active = namespaces.store().get(&key).is_some_and(|namespace| namespace.is_active());
                if !active || accounts.store().get(&ObjectKey::new(&key.name, ACCOUNT)).is_some() {
                    return Ok(());
                }
                create(&client, key.name).await
            }
        });
    });
}

async fn create(client: &kube::Client, namespace: Arc<str>) -> Result<(), Error> {
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(ACCOUNT.to_owned()),
            namespace: Some(namespace.to_string()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    match api.create(&PostParams::default(), &account).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) if is_namespace_terminating(&error) || is_not_found(&error) => Ok(()),
        Err(source) => Err(Error { namespace, source }),
    }
}
