//! Empties namespaces that are being deleted, then lets them go.
//!
//! Owns: the contents of terminating namespaces, their deletion conditions and the finalizer `kubernetes`.
//! Woken by: namespaces, and by pods that end inside a terminating one; what else remains is looked at again after
//! a back-off.
//! Invariants: pods go first, everything else after the last pod, so that nothing a pod depends on vanishes under
//! it; the finalizer is taken away only after a look at every kind found nothing.

mod conditions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request};
use k8s_openapi::api::core::v1::Namespace as ApiNamespace;
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;

use crate::{
    cache::{
        Change, Index, Informer, Meta, ObjectKey,
        views::{Namespace, Pod},
    },
    context::Context,
    discovery::{self, Resource},
    pods::is_not_found,
    queue::{WorkQueue, error_chain},
};

use conditions::Findings;

const NAME: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";
/// Kinds that are emptied at the same time.
const PARALLEL: usize = 8;

/// Why a namespace is not gone yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused.
    #[error("{operation} namespace {namespace}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Which namespace.
        namespace: Arc<str>,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// Something is still in it; not a failure, a reason to look again.
    #[error("namespace {0} is not empty yet")]
    Remaining(Arc<str>),
}

struct Controller {
    client: Client,
    namespaces: Arc<Informer<Namespace>>,
    pods: Arc<Informer<Pod>>,
    queue: Arc<WorkQueue<ObjectKey>>,
}

pub(crate) fn start(context: &Context) {
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        namespaces: context.informers.namespaces.clone(),
        pods: context.informers.pods.clone(),
        queue: WorkQueue::new(context.metrics.queue("namespace")),
    });
    let this = controller.clone();
    controller.namespaces.on_change(move |change| {
        let namespace = change.object();
        if namespace.metadata.deletion_timestamp.is_some() && !matches!(change, Change::Deleted(_)) {
            this.queue.add(ObjectKey::of(&**namespace));
        }
    });
    let this = controller.clone();
    controller.pods.on_change(move |change| {
        let Change::Deleted(pod) = change else { return };
        let key = ObjectKey::new("", &pod.metadata.namespace);
        let terminating = |namespace: Arc<Namespace>| namespace.metadata.deletion_timestamp.is_some();
        // The last pod only: as long as there are others, there is nothing to do.
        if this.namespaces.store().get(&key).is_some_and(terminating)
            && this.pods.store().by(Index::Namespace, &pod.metadata.namespace).is_empty()
        {
            this.queue.add(key);
        }
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.namespaces.synced(), controller.pods.synced());
        let queue = controller.queue.clone();
        queue.spawn_workers("namespace", workers, &tasks, &token, move |key| {
            let controller = controller.clone();
            async move {
                match controller.reconcile(&key).await {
                    Err(Error::Remaining(_)) => {
                        // What remains waits for finalizers or grace periods: seconds, not milliseconds.
                        controller.queue.add_after(key, Duration::from_secs(2));
                        Ok(())
                    }
                    result => result,
                }
            }
        });
    });
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let api: Api<ApiNamespace> = Api::all(self.client.clone());
        let failed = |operation| {
            let namespace = key.name.clone();
            move |source| Error::Api { operation, namespace, source }
        };
        let live = api.get_opt(&key.name).await.map_err(failed("reading"))?;
        let Some(namespace) = live.filter(|live| live.metadata.deletion_timestamp.is_some()) else {
            return Ok(());
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        let findings = self.empty(&key.name).await.map_err(failed("discovering the kinds of"))?;
        let empty = findings.is_empty();
        let namespace =
            self.write_conditions(&api, namespace, &findings).await.map_err(failed("updating"))?;
        if !empty {
            return Err(Error::Remaining(key.name.clone()));
        }
        let Some(namespace) = namespace else { return Ok(()) };
        match self.finalize(namespace).await {
            Ok(()) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(failed("finalizing")(error)),
        }
    }

    /// Deletes what there is; what is left after that.
    async fn empty(&self, namespace: &str) -> Result<Findings, kube::Error> {
        let served = discovery::served(&self.client).await?;
        let mut findings = Findings::default();
        for (group, error) in &served.failed {
            findings.discovery_failures.push(format!("{group}: {}", error_chain(error)));
        }
        let resources: Vec<Resource> = served
            .resources
            .into_iter()
            .filter(|resource| resource.namespaced && resource.can("list") && resource.can("delete"))
            .collect();
        let (pods, others): (Vec<_>, Vec<_>) = resources
            .into_iter()
            .partition(|resource| resource.group.is_empty() && resource.plural == "pods");
        for step in [pods, others] {
            let all = step.into_iter().map(|resource| self.empty_of(namespace.to_owned(), resource).boxed());
            let results: Vec<_> = stream::iter(all).buffer_unordered(PARALLEL).collect().await;
            for (resource, result) in results {
                findings.note(&resource, result);
            }
            if !findings.remaining.is_empty() {
                break;
            }
        }
        Ok(findings)
    }

    async fn empty_of(
        &self,
        namespace: String,
        resource: Resource,
    ) -> (Resource, Result<Vec<Meta>, kube::Error>) {
        let result = self.try_empty(&namespace, &resource).await;
        (resource, result)
    }

    async fn try_empty(&self, namespace: &str, resource: &Resource) -> Result<Vec<Meta>, kube::Error> {
        let path = resource.path(namespace);
        // Most kinds have nothing in most namespaces: look before deleting.
        let before = self.list(&path).await?;
        if before.is_empty() {
            return Ok(before);
        }
        let options = br#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#;
        if resource.can("deletecollection") {
            self.delete(&path, options).await?;
        } else {
            for item in before.iter().filter(|item| item.deletion_timestamp.is_none()) {
                match self.delete(&format!("{path}/{}", item.name), options).await {
                    Err(error) if !is_not_found(&error) => return Err(error),
                    _ => {}
                }
            }
        }
        self.list(&path).await
    }

    async fn list(&self, path: &str) -> Result<Vec<Meta>, kube::Error> {
        #[derive(Deserialize)]
        struct Item {
            metadata: Meta,
        }
        #[derive(Deserialize)]
        struct List {
            #[serde(default, deserialize_with = "crate::cache::null_default")]
            items: Vec<Item>,
        }
        let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let request = Request::get(path).header(http::header::ACCEPT, accept).body(Vec::new());
        let list: Result<List, _> = self.client.request(request.map_err(kube::Error::HttpError)?).await;
        match list {
            Ok(list) => Ok(list.items.into_iter().map(|item| item.metadata).collect()),
            // The kind went away, or does not allow this after all.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, path: &str, options: &[u8]) -> Result<(), kube::Error> {
        let request = Request::builder()
            .method(Method::DELETE)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(options.to_vec());
        self.client.request_text(request.map_err(kube::Error::HttpError)?).await.map(drop)
    }

    /// Writes the conditions; the namespace as it is then, `None` when it is gone.
    async fn write_conditions(
        &self,
        api: &Api<ApiNamespace>,
        mut namespace: ApiNamespace,
        findings: &Findings,
    ) -> Result<Option<ApiNamespace>, kube::Error> {
        let status = namespace.status.get_or_insert_default();
        let before = status.clone();
        status.phase = Some("Terminating".to_owned());
        conditions::apply(status.conditions.get_or_insert_default(), findings, jiff::Timestamp::now());
        if *status == before || (findings.is_empty() && before.conditions.is_none()) {
            // Nothing to tell: a namespace that goes away at once needs no story.
            return Ok(Some(namespace));
        }
        let name = namespace.metadata.name.clone().unwrap_or_default();
        match api.replace_status(&name, &PostParams::default(), &namespace).await {
            Ok(written) => Ok(Some(written)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn finalize(&self, mut namespace: ApiNamespace) -> Result<(), kube::Error> {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let body = serde_json::to_vec(&namespace).map_err(kube::Error::SerdeError)?;
        let request = Request::put(format!("/api/v1/namespaces/{name}/finalize"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body);
        self.client.request_text(request.map_err(kube::Error::HttpError)?).await.map(drop)
    }
}

/// How many objects of what kind, and how many finalizers.
type Counts = BTreeMap<String, usize>;
