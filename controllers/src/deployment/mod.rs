//! Rolls ReplicaSets so that a Deployment's template runs as often as asked for.
//!
//! Owns: the ReplicaSets a deployment controls (creation, size, revision, removal of old ones) and its status.
//! Woken by: changes of deployments and of ReplicaSets, the last pod of a recreated deployment going away, and
//! the progress deadline.
//! Invariants: never touches pods; during a rolling update never asks for more than `replicas + maxSurge` pods
//! nor scales down below `replicas - maxUnavailable` available ones; a template has exactly one ReplicaSet.

mod act;
mod claim;
mod handlers;
mod revision;
mod rolling;
mod scaling;
mod status;
mod strategy;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::Client;

use crate::{
    cache::{Index, Informer, ObjectKey, views::Pod},
    context::Context,
    pods::object_reference,
    queue::WorkQueue,
    recorder::{EventType, Recorder},
};
use api_types::selector::Selector;

const NAME: &str = "deployment-controller";

/// Why a deployment could not be reconciled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused.
    #[error("{operation} for deployment {deployment}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Which deployment.
        deployment: ObjectKey,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// The deployment was deleted or replaced since it was cached.
    #[error("deployment {0} is not what it was when it was cached")]
    Stale(ObjectKey),
    /// The name of the new ReplicaSet belongs to something else; another one is tried.
    #[error("the replica set name {name} is taken by another template than that of deployment {deployment}")]
    HashCollision {
        /// The name.
        name: String,
        /// Which deployment.
        deployment: ObjectKey,
    },
}

struct Controller {
    client: Client,
    deployments: Arc<Informer<Deployment>>,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    recorder: Recorder,
}

pub(crate) fn start(context: &Context) {
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        deployments: context.informers.deployments.clone(),
        sets: context.informers.replica_sets.clone(),
        pods: context.informers.pods.clone(),
        queue: WorkQueue::new(context.metrics.queue("deployment")),
        recorder: context.recorder(NAME, NAME),
    });
    handlers::register(&controller);
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.deployments.synced(), controller.sets.synced(), controller.pods.synced());
        let queue = controller.queue.clone();
        queue.spawn_workers("deployment", workers, &tasks, &token, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        });
    });
}

/// One look at a deployment: what is known of it and what was changed on the way.
struct Look {
    key: ObjectKey,
    /// As it was cached, to see whether the status must be written.
    cached: Arc<Deployment>,
    /// As it is now.
    deployment: Deployment,
    /// The set of the current template.
    new: Option<Arc<ReplicaSet>>,
    /// All other sets.
    old: Vec<Arc<ReplicaSet>>,
    now: Timestamp,
}

impl Look {
    fn replicas(&self) -> i32 {
        revision::replicas(&self.deployment)
    }

    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new).cloned().collect()
    }

    /// Puts a set that was written in the place of what was known of it.
    fn replace(&mut self, set: ReplicaSet) {
        let set = Arc::new(set);
        for known in self.old.iter_mut().chain(self.new.iter_mut()) {
            if known.metadata.uid == set.metadata.uid {
                *known = set.clone();
            }
        }
    }
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(cached) = self.deployments.store().get(key) else { return Ok(()) };
        let Some(spec) = cached.spec.as_ref() else { return Ok(()) };
        let Ok(selector) = Selector::from_label_selector(&spec.selector) else { return Ok(()) };
        if spec.selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
            && spec.selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
        {
            let about = object_reference("apps/v1", "Deployment", &cached.metadata);
            let message =
                "This deployment is selecting all pods. A non-empty selector is required.".to_owned();
            self.recorder.event(about, EventType::Warning, "SelectingAll", message);
            return Ok(());
        }
        let uid = cached.metadata.uid.as_deref().unwrap_or_default();
        let mut sets = self.sets.store().by(Index::Controller, uid);
        let neighbours = self.sets.store().by(Index::Namespace, &key.namespace);
        sets.extend(neighbours.into_iter().filter(|set| claim::is_matching_orphan(set, &selector)));
        let sets = self.claim(key, &cached, &selector, sets).await?;
        let new = revision::find_new(&cached, &sets);
        let old = sets.into_iter().filter(|set| Some(set) != new.as_ref()).collect();
        let deployment = (*cached).clone();
        let mut look = Look { key: key.clone(), cached, deployment, new, old, now: Timestamp::now() };

        if look.deployment.metadata.deletion_timestamp.is_some() {
            return self.write_plain_status(&look).await;
        }
        status::note_pause(&mut look.deployment, look.now);
        let paused = look.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
        if paused || scaling::is_scaling_event(&look) {
            return self.resize(&mut look, paused).await;
        }
        let strategy = look.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        match strategy.and_then(|strategy| strategy.type_.as_deref()) {
            Some("Recreate") => self.recreate(&mut look).await,
            _ => self.roll(&mut look).await,
        }
    }

    /// Looks again when the progress deadline may have passed.
    fn watch_deadline(&self, look: &Look) {
        if let Some(wait) = status::until_deadline(&look.deployment, look.now) {
            self.queue.add_after(look.key.clone(), wait + Duration::from_secs(1));
        }
    }
}
