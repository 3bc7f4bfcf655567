//! The watches that feed the driver. Objects are turned into what scheduling needs as soon as they are decoded.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::debug;

use crate::pod::PodInfo;

/// Something a watch told.
pub(crate) enum Seen {
    /// A pod that has not ended.
    Pod(Change<Arc<PodInfo>>),
    /// A node.
    Node(Change<Box<Node>>),
    /// A namespace with its labels.
    Namespace(Change<(Box<str>, BTreeMap<String, String>)>),
}

/// A change; a (new) list is framed by `Start` and `End`, what it does not name is gone.
pub(crate) enum Change<T> {
    Start,
    Set(T),
    End,
    Gone(T),
}

/// Watches pods, nodes and namespaces for ever.
pub(crate) async fn watch(client: Client, sender: mpsc::Sender<Seen>) {
    let running = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    let pods = follow::<Pod, _>(client.clone(), running, &sender, |change| {
        Seen::Pod(map(change, |pod| Arc::new(PodInfo::new(pod))))
    });
    let nodes = follow::<Node, _>(client.clone(), watcher::Config::default(), &sender, |change| {
        Seen::Node(map(change, Box::new))
    });
    let namespaces = follow::<Namespace, _>(client, watcher::Config::default(), &sender, |change| {
        Seen::Namespace(map(change, |namespace| {
            let metadata = namespace.metadata;
            (metadata.name.unwrap_or_default().into(), metadata.labels.unwrap_or_default())
        }))
    });
    tokio::join!(pods, nodes, namespaces);
}

fn map<A, B>(change: Change<A>, to: impl FnOnce(A) -> B) -> Change<B> {
    match change {
        Change::Start => Change::Start,
        Change::Set(object) => Change::Set(to(object)),
        Change::End => Change::End,
        Change::Gone(object) => Change::Gone(to(object)),
    }
}

async fn follow<K, F>(client: Client, config: watcher::Config, sender: &mpsc::Sender<Seen>, seen: F)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    F: Fn(Change<K>) -> Seen,
{
    let api: Api<K> = Api::all(client);
    let mut stream = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(Event::Init) => Change::Start,
            Ok(Event::InitApply(object) | Event::Apply(object)) => Change::Set(object),
            Ok(Event::InitDone) => Change::End,
            Ok(Event::Delete(object)) => Change::Gone(object),
            Err(error) => {
                debug!(%error, "watch failed, it is resumed");
                continue;
            }
        };
        // The receiver goes away only when everything ends.
        if sender.send(seen(change)).await.is_err() {
            return;
        }
    }
}
