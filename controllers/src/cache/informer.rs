//! Lists and watches one kind, for as long as the process lives.
//!
//! Woken by the server only. A watch that ends is resumed from the last resource version seen (bookmarks keep
//! that fresh); 410 Gone leads to a new list; failures back off with jitter up to ten seconds.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use http::Request;
use kube::{Client, core::WatchEvent};
use parking_lot::RwLock;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    meta::null_default,
    store::{Change, Object, ObjectKey, Store},
};

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// Below the read timeout of the client, so that the server ends an idle watch, not the client.
const WATCH_SECONDS: u32 = 280;

/// What to list and watch.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path of the collection, such as `/api/v1/pods`.
    pub path: String,
    /// Field selector, already percent-encoded.
    pub fields: Option<&'static str>,
    /// Label selector, already percent-encoded.
    pub labels: Option<&'static str>,
    /// Whether metadata is enough (`PartialObjectMetadata`).
    pub metadata_only: bool,
}

impl Source {
    /// The whole collection at `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Source { path: path.into(), fields: None, labels: None, metadata_only: false }
    }

    /// Only objects that match this (percent-encoded) field selector.
    pub fn fields(mut self, selector: &'static str) -> Self {
        self.fields = Some(selector);
        self
    }

    /// Only objects that match this (percent-encoded) label selector.
    pub fn labels(mut self, selector: &'static str) -> Self {
        self.labels = Some(selector);
        self
    }

    /// Metadata only.
    pub fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    fn request(&self, query: &str) -> Result<Request<Vec<u8>>, http::Error> {
        let mut uri = format!("{}?{query}", self.path);
        for (parameter, selector) in [("fieldSelector", self.fields), ("labelSelector", self.labels)] {
            if let Some(selector) = selector {
                uri.push_str(&format!("&{parameter}={selector}"));
            }
        }
        let builder = Request::get(uri);
        let builder = if self.metadata_only {
            // A list and a watch event have different kinds; a server that knows neither answers plain JSON.
            let kind =
                if query.contains("watch=") { "PartialObjectMetadata" } else { "PartialObjectMetadataList" };
            builder.header(
                http::header::ACCEPT,
                format!("application/json;as={kind};g=meta.k8s.io;v=v1,application/json"),
            )
        } else {
            builder
        };
        builder.body(Vec::new())
    }
}

#[derive(Deserialize)]
struct List<T> {
    metadata: ListMeta,
    #[serde(deserialize_with = "null_default", default = "Vec::new", bound = "T: Deserialize<'de>")]
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
}

type Handler<T> = Box<dyn Fn(&Change<T>) + Send + Sync>;

/// The watch of one kind.
pub struct Informer<T> {
    source: Source,
    store: Store<T>,
    handlers: RwLock<Vec<Handler<T>>>,
    synced: watch::Sender<bool>,
}

enum End {
    Resume,
    Relist,
    Failed,
}

impl<T: Object + Clone + DeserializeOwned> Informer<T> {
    /// An informer that has not started.
    pub fn new(source: Source) -> Arc<Self> {
        Arc::new(Informer {
            source,
            store: Store::default(),
            handlers: RwLock::default(),
            synced: watch::Sender::new(false),
        })
    }

    /// The objects.
    pub fn store(&self) -> &Store<T> {
        &self.store
    }

    /// Calls `handler` for every change from now on; register before [`Informer::run`].
    pub fn on_change(&self, handler: impl Fn(&Change<T>) + Send + Sync + 'static) {
        self.handlers.write().push(Box::new(handler));
    }

    /// Returns when the first list is in the store.
    pub async fn synced(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.synced.subscribe().wait_for(|done| *done).await;
    }

    fn tell(&self, change: &Change<T>) {
        for handler in self.handlers.read().iter() {
            handler(change);
        }
    }

    /// Lists and watches until `token` is cancelled.
    pub async fn run(self: Arc<Self>, client: Client, token: CancellationToken) {
        token.run_until_cancelled(self.list_and_watch(client)).await;
    }

    async fn list_and_watch(&self, client: Client) {
        let mut delay = FIRST_DELAY;
        loop {
            let mut version = match self.list(&client).await {
                Ok(version) => version,
                Err(error) => {
                    debug!(path = self.source.path, error = %error, "list failed");
                    back_off(&mut delay).await;
                    continue;
                }
            };
            self.synced.send_replace(true);
            delay = FIRST_DELAY;
            loop {
                let before = version.clone();
                match self.watch(&client, &mut version).await {
                    End::Relist => break,
                    End::Resume if before != version => delay = FIRST_DELAY,
                    // An empty watch that ends at once must not become a loop without a pause.
                    End::Resume | End::Failed => back_off(&mut delay).await,
                }
            }
        }
    }

    async fn list(&self, client: &Client) -> Result<String, kube::Error> {
        let request = self.source.request("resourceVersion=0").map_err(kube::Error::HttpError)?;
        let mut list: List<T> = client.request(request).await?;
        list.items.iter_mut().for_each(Object::trim);
        for change in self.store.replace(list.items) {
            self.tell(&change);
        }
        Ok(list.metadata.resource_version)
    }

    async fn watch(&self, client: &Client, version: &mut String) -> End {
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        );
        let request = match self.source.request(&query) {
            Ok(request) => request,
            Err(error) => {
                warn!(path = self.source.path, %error, "cannot build a watch request");
                return End::Failed;
            }
        };
        let stream = match client.request_events::<T>(request).await {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) if status.code == 410 => return End::Relist,
            Err(error) => {
                debug!(path = self.source.path, %error, "watch failed");
                return End::Failed;
            }
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            let change = match event {
                Ok(WatchEvent::Added(mut object) | WatchEvent::Modified(mut object)) => {
                    object.trim();
                    object.resource_version().clone_into(version);
                    self.store.apply(object)
                }
                Ok(WatchEvent::Deleted(object)) => {
                    object.resource_version().clone_into(version);
                    self.store.remove(&ObjectKey::of(&object))
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    *version = bookmark.metadata.resource_version;
                    None
                }
                Ok(WatchEvent::Error(status)) if status.code == 410 => return End::Relist,
                Ok(WatchEvent::Error(status)) => {
                    debug!(path = self.source.path, message = status.message, "watch ended by the server");
                    return End::Failed;
                }
                Err(kube::Error::SerdeError(error)) => {
                    warn!(path = self.source.path, %error, "watch event cannot be read");
                    return End::Failed;
                }
                Err(error) => {
                    debug!(path = self.source.path, %error, "watch broke");
                    return End::Failed;
                }
            };
            if let Some(change) = change {
                self.tell(&change);
            }
        }
        End::Resume
    }
}

async fn back_off(delay: &mut Duration) {
    let jitter = 1.0 + rand::random::<f64>() * 0.5;
    tokio::time::sleep(delay.mul_f64(jitter)).await;
    *delay = (*delay * 2).min(LAST_DELAY);
}
