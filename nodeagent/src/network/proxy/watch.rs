//! Fills the cache from the API server.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::{core::v1::Service as ApiService, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::cache::{ServiceCache, ServiceKey};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl ServiceCache {
    /// Watches services and slices until `token` is cancelled. `client` needs the rights of upstream's
    /// `system:node-proxier`.
    pub async fn run(self: Arc<Self>, client: Client, token: CancellationToken) {
        // Services that another proxy looks after, and slices nobody but a headless lookup needs, are still wanted
        // for names, so nothing is filtered by label here.
        let mut named = HashSet::new();
        let services = follow::<ApiService>(client.clone(), |event| match event {
            Event::Init => named.clear(),
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key_of(&object);
                named.insert(key.clone());
                self.set_service(key, Some(object.into()));
            }
            Event::Delete(object) => self.set_service(key_of(&object), None),
            Event::InitDone => {
                for key in self.known_services().into_iter().filter(|key| !named.contains(key)) {
                    self.set_service(key, None);
                }
                named = HashSet::new();
                self.synced.send_modify(|(services, _)| *services = true);
            }
        });
        let mut listed = HashSet::new();
        let slices = follow::<EndpointSlice>(client, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) | Event::Apply(object) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                let service = object.labels().get(SERVICE_NAME).map(|name| ServiceKey::new(&namespace, name));
                listed.insert((namespace.as_str().into(), name.as_str().into()));
                self.set_slice(&namespace, &name, service.map(|key| (key, object.into())));
            }
            Event::Delete(object) => {
                self.set_slice(&object.namespace().unwrap_or_default(), &object.name_any(), None);
            }
            Event::InitDone => {
                let known: Vec<(Arc<str>, Arc<str>)> = self.known_slices();
                for (namespace, name) in known.into_iter().filter(|id| !listed.contains(id)) {
                    self.set_slice(&namespace, &name, None);
                }
                listed = HashSet::new();
                self.synced.send_modify(|(_, slices)| *slices = true);
            }
        });
        token.run_until_cancelled(async { tokio::join!(services, slices) }).await;
    }
}

fn key_of(object: &ApiService) -> ServiceKey {
    ServiceKey::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

async fn follow<K>(client: Client, mut take: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<K> = Api::all(client);
    let mut stream = std::pin::pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => tracing::debug!(%error, "watch of services failed, it is resumed"),
        }
    }
}
