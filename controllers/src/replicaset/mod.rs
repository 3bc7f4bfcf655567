//! Keeps as many pods as a ReplicaSet asks for.
//!
//! Owns: the pods a set controls (creation, deletion, adoption, release) and the set's status.
//! Woken by: changes of sets and of pods.
//! Invariants: never counts before its cache shows what it asked for ([`crate::expectations`]); adopts only after
//! the live set proves to be the same and not being deleted; creates in batches of doubling size, so that a
//! failing template costs few requests.

mod act;
mod handlers;
mod plan;
mod status;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{Api, Client, api::PostParams};

use crate::{
    cache::{Index, Informer, ObjectKey, views::Pod},
    context::Context,
    expectations::Expectations,
    queue::WorkQueue,
    recorder::Recorder,
};
use api_types::selector::Selector;

const NAME: &str = "replicaset-controller";

/// Why a set could not be reconciled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused.
    #[error("{operation} for replica set {set}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Which set.
        set: ObjectKey,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// The set was deleted or replaced since it was cached.
    #[error("replica set {0} is not what it was when it was cached")]
    Stale(ObjectKey),
}

struct Controller {
    client: Client,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    expectations: Expectations,
    recorder: Recorder,
}

pub(crate) fn start(context: &Context) {
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        sets: context.informers.replica_sets.clone(),
        pods: context.informers.pods.clone(),
        queue: WorkQueue::new(context.metrics.queue("replicaset")),
        expectations: Expectations::default(),
        recorder: context.recorder(NAME, NAME),
    });
    handlers::register(&controller);
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.sets.synced(), controller.pods.synced());
        let queue = controller.queue.clone();
        queue.spawn_workers("replicaset", workers, &tasks, &token, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        });
    });
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(set) = self.sets.store().get(key) else {
            self.expectations.forget(key);
            return Ok(());
        };
        let Some(spec) = set.spec.as_ref() else { return Ok(()) };
        let Ok(selector) = Selector::from_label_selector(&spec.selector) else {
            // The API server does not let such a selector in.
            tracing::warn!(set = %key, "replica set has an invalid selector");
            return Ok(());
        };
        let counted = self.expectations.satisfied(key);
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let mut pods = self.pods.store().by(Index::Controller, uid);
        let candidates = self.pods.store().by(Index::Namespace, &key.namespace);
        pods.extend(
            candidates
                .into_iter()
                .filter(|pod| pod.metadata.controller().is_none() && selector.matches(&pod.metadata.labels)),
        );
        let owned = self.claim(key, &set, &selector, pods).await?;
        let active: Vec<Arc<Pod>> = owned.iter().filter(|pod| pod.is_active()).cloned().collect();
        let mut result = Ok(());
        if counted && set.metadata.deletion_timestamp.is_none() {
            let wanted = spec.replicas.unwrap_or(1);
            let related = || self.related_pods(&set, &active);
            let action = plan::plan(wanted, &active, related);
            result = self.act(key, &set, action).await;
        }
        let now = Timestamp::now();
        let new = status::status(&set, &owned, result.as_ref().err(), now);
        self.write_status(key, &set, new).await?;
        if let Some(wait) = status::next_availability(&active, spec.min_ready_seconds.unwrap_or(0), now) {
            self.queue.add_after(key.clone(), wait + Duration::from_millis(1));
        }
        result.map(drop)
    }

    /// Pods on the nodes of a service's older sets count when deciding which of two nodes is more crowded.
    fn related_pods(&self, set: &ReplicaSet, active: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let owner =
            set.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let Some(owner) = owner else { return active.to_vec() };
        let sets = self.sets.store().by(Index::Controller, &owner.uid);
        let uids = sets.iter().filter_map(|set| set.metadata.uid.as_deref());
        uids.flat_map(|uid| self.pods.store().by(Index::Controller, uid))
            .filter(|pod| pod.is_active())
            .collect()
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        new: k8s_openapi::api::apps::v1::ReplicaSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref() == Some(&new) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(new);
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        match sets.replace_status(&key.name, &PostParams::default(), &changed).await {
            Ok(_) => Ok(()),
            Err(error) if crate::pods::is_not_found(&error) => Ok(()),
            Err(source) => Err(Error::Api { operation: "updating the status", set: key.clone(), source }),
        }
    }
}
