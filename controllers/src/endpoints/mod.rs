//! Tells who stands behind a service, in the older form: one Endpoints object a service.
//!
//! Owns: the Endpoints of services with a selector.
//! Woken by: services, pods and Endpoints.
//! Invariants: at most a thousand addresses, said by an annotation when there would be more; an object that needs
//! no change is not written; Endpoints of services without a selector belong to somebody else.

mod plan;

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Endpoints, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::{
    cache::{
        Change, Index, Informer, ObjectKey,
        views::{Pod, Service},
    },
    context::Context,
    endpointslice::services_of,
    pods::{is_namespace_terminating, is_not_found},
    queue::WorkQueue,
    recorder::{EventType::Warning, Recorder},
};

const NAME: &str = "endpoint-controller";

/// The Endpoints of a service could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} the endpoints of service {service}")]
pub struct Error {
    operation: &'static str,
    service: ObjectKey,
    source: kube::Error,
}

struct Controller {
    client: Client,
    services: Arc<Informer<Service>>,
    pods: Arc<Informer<Pod>>,
    endpoints: Arc<Informer<Endpoints>>,
    recorder: Recorder,
}

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        services: informers.services.clone(),
        pods: informers.pods.clone(),
        endpoints: informers.endpoints.clone(),
        recorder: context.recorder(NAME, NAME),
    });
    let queue = WorkQueue::new(context.metrics.queue("endpoint"));
    let wake = queue.clone();
    controller.services.on_change(move |change| wake.add(ObjectKey::of(&**change.object())));
    let (wake, this) = (queue.clone(), controller.clone());
    controller.pods.on_change(move |change| {
        services_of(this.services.store(), change).into_iter().for_each(|key| wake.add(key));
    });
    let wake = queue.clone();
    controller.endpoints.on_change(move |change| {
        // Leader election and other users write Endpoints too: only what may be ours leads to a look.
        if !matches!(change, Change::Added(_)) {
            wake.add(ObjectKey::of(&**change.object()));
        }
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.services.synced(), controller.pods.synced(), controller.endpoints.synced());
        // Left over from services that went away while nobody looked.
        for endpoints in controller.endpoints.store().all() {
            queue.add(ObjectKey::of(&*endpoints));
        }
        queue.spawn_workers("endpoints", workers, &tasks, &token, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        });
    });
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let existing = self.endpoints.store().get(key);
        let Some(service) = self.services.store().get(key) else {
            return match existing {
                Some(existing) if plan::is_ours(&existing) => self.delete(key).await,
                _ => Ok(()),
            };
        };
        let Some(selector) = service.spec.selector.as_ref() else { return Ok(()) };
        let mut pods = self.pods.store().by(Index::Namespace, &key.namespace);
        pods.retain(|pod| selector.iter().all(|(name, value)| pod.metadata.labels.get(name) == Some(value)));
        match plan::plan(&service, &pods, existing.as_deref()) {
            None => Ok(()),
            Some(wanted) => self.write(key, &wanted, existing.is_some()).await,
        }
    }

    async fn write(&self, key: &ObjectKey, wanted: &Endpoints, exists: bool) -> Result<(), Error> {
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        let (operation, reason, result) = if exists {
            let result = api.replace(&key.name, &PostParams::default(), wanted).await;
            ("updating", "FailedToUpdateEndpoint", result)
        } else {
            ("creating", "FailedToCreateEndpoint", api.create(&PostParams::default(), wanted).await)
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) if is_namespace_terminating(&error) || is_not_found(&error) => Ok(()),
            Err(source) => {
                if !matches!(&source, kube::Error::Api(status) if status.code == 409) {
                    let about = reference(&wanted.metadata);
                    let verb = if exists { "update" } else { "create" };
                    let message = format!("Failed to {verb} endpoint {key}: {source}");
                    self.recorder.event(about, Warning, reason, message);
                }
                Err(Error { operation, service: key.clone(), source })
            }
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.delete(&key.name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(source) => Err(Error { operation: "deleting", service: key.clone(), source }),
        }
    }
}

fn reference(metadata: &ObjectMeta) -> ObjectReference {
    crate::pods::object_reference("v1", "Endpoints", metadata)
}
