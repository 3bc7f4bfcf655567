//! The metadata-only watches that feed the graph: one a deletable kind, following discovery.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::Client;
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    cache::{Change, Informer, Source, views::MetaOnly},
    discovery::{self, Resource},
};

use super::Collector;

/// Objects of these kinds come and go in masses and own nothing.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];
/// Kinds whose changes mean that other kinds may be served.
const DEFINITIONS: [&str; 2] = ["customresourcedefinitions", "apiservices"];
const RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long the first lists may take before work starts without them.
const PATIENCE: Duration = Duration::from_secs(30);

struct Monitor {
    informer: Arc<Informer<MetaOnly>>,
    token: CancellationToken,
}

pub(super) struct Monitors {
    collector: Arc<Collector>,
    client: Client,
    tasks: TaskTracker,
    token: CancellationToken,
    running: HashMap<Arc<Resource>, Monitor>,
    changed: Arc<Notify>,
}

impl Monitors {
    pub(super) fn new(
        collector: Arc<Collector>,
        client: Client,
        tasks: TaskTracker,
        token: CancellationToken,
    ) -> Self {
        Monitors { collector, client, tasks, token, running: HashMap::new(), changed: Arc::default() }
    }

    /// Follows discovery for ever; uses `first` once all kinds found at first are listed.
    pub(super) async fn run(mut self, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let mut delay = RETRY;
        loop {
            match discovery::served(&self.client).await {
                Ok(served) => {
                    let complete = served.failed.is_empty();
                    self.follow(served.resources, complete);
                    if let Some(first) = first.take() {
                        let lists = self.running.values().map(|monitor| monitor.informer.synced());
                        if tokio::time::timeout(PATIENCE, futures::future::join_all(lists)).await.is_err() {
                            debug!("not all kinds are listed yet, garbage collection starts without them");
                        }
                        // Nobody waits any more only when everything ends.
                        let _ = first.send(());
                    }
                    if complete {
                        delay = RETRY;
                        self.changed.notified().await;
                        continue;
                    }
                }
                Err(error) => debug!(%error, "discovery failed"),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LAST_RETRY);
        }
    }

    fn follow(&mut self, resources: Vec<Resource>, complete: bool) {
        let all: Vec<Arc<Resource>> = resources.into_iter().map(Arc::new).collect();
        {
            let mut kinds = self.collector.kinds.lock();
            for resource in &all {
                let api_version = if resource.group.is_empty() {
                    resource.version.clone()
                } else {
                    format!("{}/{}", resource.group, resource.version)
                };
                kinds.insert((api_version, resource.kind.clone()), resource.clone());
            }
        }
        let wanted: Vec<Arc<Resource>> = all.into_iter().filter(|resource| is_monitored(resource)).collect();
        if complete {
            self.running.retain(|resource, monitor| {
                let keep = wanted.contains(resource);
                if !keep {
                    monitor.token.cancel();
                }
                keep
            });
        }
        for resource in wanted {
            if !self.running.contains_key(&resource) {
                let monitor = self.start(&resource);
                self.running.insert(resource, monitor);
            }
        }
    }

    fn start(&self, resource: &Arc<Resource>) -> Monitor {
        let informer: Arc<Informer<MetaOnly>> = Informer::new(Source::new(resource.path("")).metadata_only());
        let (collector, kind) = (self.collector.clone(), resource.clone());
        let definition = DEFINITIONS.contains(&resource.plural.as_str()).then(|| self.changed.clone());
        informer.on_change(move |change| {
            let works = match change {
                Change::Added(object) => collector.graph.lock().observe(&kind, &object.metadata),
                Change::Updated { old, new } if old.metadata.uid == new.metadata.uid => {
                    collector.graph.lock().observe(&kind, &new.metadata)
                }
                Change::Updated { old, new } => {
                    let mut graph = collector.graph.lock();
                    let mut works = graph.gone(&(&*old.metadata.uid).into());
                    works.extend(graph.observe(&kind, &new.metadata));
                    works
                }
                Change::Deleted(object) => collector.graph.lock().gone(&(&*object.metadata.uid).into()),
            };
            collector.add_all(works);
            if let Some(changed) = &definition {
                changed.notify_one();
            }
        });
        let token = self.token.child_token();
        self.tasks.spawn(informer.clone().run(self.client.clone(), token.clone()));
        Monitor { informer, token }
    }
}

fn is_monitored(resource: &Resource) -> bool {
    let ignored = IGNORED.contains(&(resource.group.as_str(), resource.plural.as_str()));
    !ignored && ["delete", "list", "watch"].iter().all(|verb| resource.can(verb))
}
