//! Keeps the status of disruption budgets, which evictions are granted by.
//!
//! Owns: `status` of PodDisruptionBudgets, together with the API server, which takes each eviction from it.
//! Woken by: budgets, pods they select, and the time by which a pod that was evicted must be going.
//! Invariants: a pod whose eviction was granted counts as gone until it is, or two minutes have passed; a budget
//! that cannot be judged allows nothing. A status is written against the version it was derived from, so that no
//! eviction that was granted meanwhile is lost.

mod plan;
mod scale;

use std::{sync::Arc, time::Duration};

use api_types::{meta, selector::Selector};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    cache::{Change, Index, Informer, ObjectKey, Raw, Source, views::Pod},
    context::Context,
    pods::is_not_found,
    queue::WorkQueue,
    recorder::{EventType, Recorder},
};

use plan::Bound;
use scale::Unknown;

const NAME: &str = "disruption-controller";

/// Why a budget is not up to date.
#[derive(Debug, thiserror::Error)]
#[error("{operation} disruption budget {key}")]
pub struct Error {
    operation: &'static str,
    key: ObjectKey,
    source: kube::Error,
}

struct Controller {
    client: Client,
    budgets: Arc<Informer<Raw>>,
    pods: Arc<Informer<Pod>>,
    deployments: Arc<Informer<Deployment>>,
    replica_sets: Arc<Informer<ReplicaSet>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    recorder: Recorder,
}

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        budgets: Informer::new(Source::new("/apis/policy/v1/poddisruptionbudgets")),
        pods: informers.pods.clone(),
        deployments: informers.deployments.clone(),
        replica_sets: informers.replica_sets.clone(),
        queue: WorkQueue::new(context.metrics.queue("disruption")),
        recorder: context.recorder(NAME, "controllermanager"),
    });
    let this = controller.clone();
    controller.budgets.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            this.queue.add(ObjectKey::of(&**change.object()));
        }
    });
    let this = controller.clone();
    controller.pods.on_change(move |change| this.pod_changed(change));
    context.tasks.spawn(controller.budgets.clone().run(context.client(NAME), context.token.clone()));
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        let this = &controller;
        tokio::join!(
            this.budgets.synced(),
            this.pods.synced(),
            this.deployments.synced(),
            this.replica_sets.synced()
        );
        let queue = controller.queue.clone();
        queue.spawn_workers("disruption", workers, &tasks, &token, move |key| {
            let this = controller.clone();
            async move { this.reconcile(&key).await }
        });
    });
}

/// The pods a budget is about; nothing when its selector cannot be read.
fn selector(budget: &Value) -> Option<Selector> {
    let selector = LabelSelector::deserialize(meta::at(budget, &["spec", "selector"])?).ok()?;
    Selector::from_label_selector(&selector).ok()
}

/// Whether a change of a pod may change a budget.
fn matters(old: &Pod, new: &Pod) -> bool {
    old.metadata.labels != new.metadata.labels
        || old.is_ready() != new.is_ready()
        || old.metadata.deletion_timestamp.is_some() != new.metadata.deletion_timestamp.is_some()
        || old.metadata.owner_references != new.metadata.owner_references
}

impl Controller {
    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let before = match change {
            Change::Updated { old, new } if !matters(old, new) => return,
            Change::Updated { old, .. } => old,
            _ => pod,
        };
        for budget in self.budgets.store().by(Index::Namespace, &pod.metadata.namespace) {
            let selects = |selector: Selector| {
                selector.matches(&pod.metadata.labels) || selector.matches(&before.metadata.labels)
            };
            if selector(&budget.value).is_some_and(selects) {
                self.queue.add(ObjectKey::of(&*budget));
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(budget) = self.budgets.store().get(key) else { return Ok(()) };
        let now = Timestamp::now();
        let mut pods = Vec::new();
        if let Some(selector) = selector(&budget.value) {
            pods = self.pods.store().by(Index::Namespace, &key.namespace);
            pods.retain(|pod| selector.matches(&pod.metadata.labels));
        }
        if pods.is_empty() {
            self.tell(&budget, EventType::Normal, "NoPods", "No matching pods found".to_owned());
        }
        let found = plan::disrupted(&budget.value, &pods, now);
        for pod in &found.overdue {
            let why = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.recorder.event(about("v1", "Pod", &pod.metadata), EventType::Warning, "NotDeleted", why);
        }
        let status = match self.counts(&budget.value, &key.namespace, &pods).await {
            Ok(counts) => {
                let healthy = plan::healthy(&pods, &found.waiting);
                plan::status(&budget.value, counts, healthy, found.waiting, now)
            }
            Err(Unknown::Never(why)) => {
                let told = format!("Failed to calculate the number of expected pods: {why}");
                self.tell(&budget, EventType::Warning, "CalculateExpectedPodCountFailed", told);
                plan::failed(&budget.value, &why, now)
            }
            Err(Unknown::Api { owner, source }) => {
                tracing::debug!(%key, owner, "the scale is not known");
                return Err(Error { operation: "judging", key: key.clone(), source });
            }
        };
        if let Some(at) = found.recheck {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            // Only what is past its time is overdue.
            self.queue.add_after(key.clone(), wait + Duration::from_secs(1));
        }
        let Some(status) = status else { return Ok(()) };
        match self.write(key, &budget, status).await {
            Err(source) if !is_not_found(&source) => {
                Err(Error { operation: "updating the status of", key: key.clone(), source })
            }
            _ => Ok(()),
        }
    }

    async fn counts(
        &self,
        budget: &Value,
        namespace: &str,
        pods: &[Arc<Pod>],
    ) -> Result<(i32, i32), Unknown> {
        let bound = Bound::of(budget);
        let scale = if bound.asks_for_scale() { self.expected_scale(namespace, pods).await? } else { 0 };
        bound.counts(pods.len(), scale).map_err(Unknown::Never)
    }

    async fn write(&self, key: &ObjectKey, budget: &Raw, status: Value) -> Result<(), kube::Error> {
        let mut object = budget.value.clone();
        object["apiVersion"] = "policy/v1".into();
        object["kind"] = "PodDisruptionBudget".into();
        object["status"] = status;
        let path =
            format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/{}/status", key.namespace, key.name);
        let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
        let request = Request::put(path).header(http::header::CONTENT_TYPE, "application/json").body(body);
        self.client.request_text(request.map_err(kube::Error::HttpError)?).await.map(drop)
    }

    fn tell(&self, budget: &Raw, type_: EventType, reason: &'static str, message: String) {
        let about = about("policy/v1", "PodDisruptionBudget", &budget.metadata);
        self.recorder.event(about, type_, reason, message);
    }
}

fn about(api_version: &str, kind: &str, metadata: &crate::cache::Meta) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(metadata.name.to_string()),
        namespace: Some(metadata.namespace.to_string()),
        uid: Some(metadata.uid.to_string()),
        ..ObjectReference::default()
    }
}
