//! Every namespace has a config map with the certificates its pods shall trust.
//!
//! Owns: the config map `kube-root-ca.crt` of every namespace.
//! Woken by: new namespaces, and changes of those config maps.
//! Invariant: nothing is made in a namespace that is being deleted; a changed config map is put right.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};

use crate::{
    cache::{Change, ObjectKey},
    context::Context,
    pods::{is_namespace_terminating, is_not_found},
    queue::WorkQueue,
};

const NAME: &str = "root-ca-cert-publisher";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                           endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                           guaranteed across distributions of Kubernetes clusters.";

/// The certificates could not be published.
#[derive(Debug, thiserror::Error)]
#[error("publishing config map {CONFIG_MAP} in namespace {namespace}")]
pub struct Error {
    namespace: Arc<str>,
    source: kube::Error,
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let root_ca: Arc<str> = context.config.root_ca.as_str().into();
    let namespaces = context.informers.namespaces.clone();
    let maps = context.informers.root_cas.clone();
    let queue = WorkQueue::new(context.metrics.queue("root_ca_cert_publisher"));
    let wake = queue.clone();
    namespaces.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            wake.add(ObjectKey::of(&**change.object()));
        }
    });
    let wake = queue.clone();
    maps.on_change(move |change| {
        let map = change.object();
        // A server that does not know the field selector of the watch tells of all config maps.
        if !matches!(change, Change::Added(_)) && &*map.metadata.name == CONFIG_MAP {
            wake.add(ObjectKey::new("", &map.metadata.namespace));
        }
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(namespaces.synced(), maps.synced());
        queue.spawn_workers("root_ca_cert_publisher", workers, &tasks, &token, move |key: ObjectKey| {
            let (client, namespaces, maps, root_ca) =
                (client.clone(), namespaces.clone(), maps.clone(), root_ca.clone());
            async move {
                if !namespaces.store().get(&key).is_some_and(|namespace| namespace.is_active()) {
                    return Ok(());
                }
                let known = maps.store().get(&ObjectKey::new(&key.name, CONFIG_MAP));
                match known {
                    Some(map)
                        if map.data.len() == 1
                            && map.data.get(KEY).map(String::as_str) == Some(&*root_ca) =>
                    {
                        Ok(())
                    }
                    known => publish(&client, key.name, &root_ca, known.is_some()).await,
                }
            }
        });
    });
}

async fn publish(
    client: &kube::Client,
    namespace: Arc<str>,
    root_ca: &str,
    exists: bool,
) -> Result<(), Error> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.to_owned()),
            namespace: Some(namespace.to_string()),
            annotations: Some([("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), root_ca.to_owned())].into()),
        ..ConfigMap::default()
    };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let result = if exists {
        api.replace(CONFIG_MAP, &PostParams::default(), &map).await
    } else {
        api.create(&PostParams::default(), &map).await
    };
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 && !exists => Ok(()),
        Err(error) if is_namespace_terminating(&error) || is_not_found(&error) => Ok(()),
        Err(source) => Err(Error { namespace, source }),
    }
}
