//! ConfigMaps and Secrets pods refer to: read when a container or volume needs them, watched while a volume shows
//! them. One watch per object however many pods use it; the last user ends it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Which kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Kind {
    /// As messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        }
    }
}

/// The content of a ConfigMap or Secret.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data {
    /// Values by key.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// Type of a secret.
    pub type_: String,
}

/// Why an object could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It does not exist; the text is the API server's.
    #[error("{0}")]
    NotFound(String),
    /// The API server did not give it.
    #[error("{0}")]
    Api(String),
}

type Key = (Kind, String, String);

struct Watched {
    users: usize,
    version: watch::Receiver<u64>,
    _stop: DropGuard,
}

/// Access to ConfigMaps and Secrets.
pub struct Objects {
    client: kube::Client,
    watched: Mutex<HashMap<Key, Watched>>,
}

/// Keeps an object watched while it lives.
pub struct Watching {
    objects: Arc<Objects>,
    key: Key,
    version: watch::Receiver<u64>,
}

impl Watching {
    /// Returns when the object has changed since the last call.
    pub async fn changed(&mut self) {
        if self.version.changed().await.is_err() {
            // The watch ended with the agent; nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.objects.watched.lock();
        if let Some(entry) = watched.get_mut(&self.key) {
            entry.users -= 1;
            if entry.users == 0 {
                watched.remove(&self.key);
            }
        }
    }
}

impl Objects {
    /// Access with this client.
    pub fn new(client: kube::Client) -> Arc<Objects> {
        Arc::new(Objects { client, watched: Mutex::new(HashMap::new()) })
    }

    /// Reads an object.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Data, ObjectError> {
        let failed = |error: kube::Error| match error {
            kube::Error::Api(status) if status.code == 404 => ObjectError::NotFound(status.message.clone()),
            kube::Error::Api(status) => ObjectError::Api(status.message.clone()),
            other => ObjectError::Api(format!("failed to get {} {namespace}/{name}: {other}", kind.as_str())),
        };
        match kind {
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
                let object = api.get(name).await.map_err(failed)?;
                let mut entries: BTreeMap<String, Vec<u8>> = object
                    .data
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, value)| (key, value.into_bytes()))
                    .collect();
                entries.extend(
                    object.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)),
                );
                Ok(Data { entries, type_: String::new() })
            }
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
                let object = api.get(name).await.map_err(failed)?;
                let entries =
                    object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
                Ok(Data { entries, type_: object.type_.unwrap_or_default() })
            }
        }
    }

    /// Starts (or joins) the watch of an object.
    pub fn watch(self: &Arc<Self>, kind: Kind, namespace: &str, name: &str) -> Watching {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let mut watched = self.watched.lock();
        let entry = watched.entry(key.clone()).or_insert_with(|| {
            let stop = CancellationToken::new();
            let (sender, version) = watch::channel(0);
            let client = self.client.clone();
            let token = stop.clone();
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            tokio::spawn(async move {
                let task = async {
                    match kind {
                        Kind::ConfigMap => follow::<ConfigMap>(client, &namespace, &name, sender).await,
                        Kind::Secret => follow::<Secret>(client, &namespace, &name, sender).await,
                    }
                };
                tokio::select! {
                    () = token.cancelled() => {}
                    () = task => {}
                }
            });
            Watched { users: 0, version, _stop: stop.drop_guard() }
        });
        entry.users += 1;
        let version = entry.version.clone();
        drop(watched);
        Watching { objects: self.clone(), key, version }
    }
}

/// Counts the changes of one object; the content is read when somebody needs it.
async fn follow<K>(client: kube::Client, namespace: &str, name: &str, sender: watch::Sender<u64>)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    let mut version = None;
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                let seen = object.meta().resource_version.clone();
                // The first sight is what the volume was just written from.
                if version.is_some() && version != Some(seen.clone()) {
                    sender.send_modify(|count| *count += 1);
                }
                version = Some(seen);
            }
            Ok(watcher::Event::Delete(_)) => {
                version = Some(None);
                sender.send_modify(|count| *count += 1);
            }
            Ok(watcher::Event::Init) => {}
            Ok(watcher::Event::InitDone) => {
                version.get_or_insert(None);
            }
            Err(error) => tracing::debug!(%error, namespace, name, "object watch interrupted"),
        }
    }
}
