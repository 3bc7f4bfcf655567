//! Tells who stands behind a service, in slices of up to a hundred endpoints.
//!
//! Owns: the EndpointSlices labelled as managed by it, of services with a selector.
//! Woken by: services, pods (address, readiness, deletion, labels), slices and nodes (zone).
//! Invariants: an endpoint is in one slice of its address family and port set; slices that need no change are not
//! written; nothing is planned before the cache shows what was written last ([`tracker`]); a readiness change is written as soon as it is seen, there is no batching delay.

mod plan;
mod pods;
mod tracker;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, api::PostParams};

use crate::{
    cache::{
        Change, Index, Informer, Object, ObjectKey,
        views::{Node, Pod, Service},
    },
    context::Context,
    pods::{is_namespace_terminating, is_not_found},
    queue::WorkQueue,
};

pub(crate) use pods::{PodPorts, pod_counts, resolve_ports, services_of};

const NAME: &str = "endpointslice-controller";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The slices of a service could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} an endpoint slice of service {service}")]
pub struct Error {
    operation: &'static str,
    service: ObjectKey,
    source: kube::Error,
}

struct Controller {
    client: Client,
    services: Arc<Informer<Service>>,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    slices: Arc<Informer<EndpointSlice>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    tracker: tracker::Tracker,
}

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        services: informers.services.clone(),
        pods: informers.pods.clone(),
        nodes: informers.nodes.clone(),
        slices: informers.endpoint_slices.clone(),
        queue: WorkQueue::new(context.metrics.queue("endpoint_slice")),
        tracker: tracker::Tracker::default(),
    });
    controller.register();
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(
            controller.services.synced(),
            controller.pods.synced(),
            controller.nodes.synced(),
            controller.slices.synced()
        );
        let queue = controller.queue.clone();
        queue.spawn_workers("endpointslice", workers, &tasks, &token, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        });
    });
}

impl Controller {
    fn register(self: &Arc<Self>) {
        let this = self.clone();
        self.services.on_change(move |change| this.queue.add(ObjectKey::of(&**change.object())));
        let this = self.clone();
        self.pods.on_change(move |change| {
            for key in services_of(this.services.store(), change) {
                this.queue.add(key);
            }
        });
        let this = self.clone();
        self.slices.on_change(move |change| this.slice_changed(change));
        let this = self.clone();
        self.nodes.on_change(move |change| {
            if let Change::Updated { old, new } = change
                && plan::zone(old) == plan::zone(new)
            {
                return;
            }
            this.zone_changed(change.object());
        });
    }

    /// Somebody else changed or removed a slice of ours; our own writes only lead to a look that finds no work.
    fn slice_changed(&self, change: &Change<EndpointSlice>) {
        let slice = change.object();
        let labels = slice.metadata.labels.as_ref();
        let ours = labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|value| value == MANAGER);
        if let (true, Some(service)) = (ours, labels.and_then(|labels| labels.get(SERVICE_NAME))) {
            let key = ObjectKey::new(slice.namespace(), service);
            self.tracker.seen(&key, slice.name(), slice.resource_version());
            self.queue.add(key);
        }
    }

    /// Remembers what was written until the cache shows it.
    fn written(&self, key: &ObjectKey, slice: &EndpointSlice) {
        self.tracker.expect(key, slice.name(), slice.resource_version());
        if let Some(known) = self.slices.store().get(&ObjectKey::of(slice)) {
            self.tracker.seen(key, known.name(), known.resource_version());
        }
    }

    /// Only the services with pods on that node care about its zone.
    fn zone_changed(&self, node: &Node) {
        let mut keys = BTreeSet::new();
        for pod in self.pods.store().by(Index::Node, &node.metadata.name) {
            keys.extend(services_of(self.services.store(), &Change::Added(pod)));
        }
        keys.into_iter().for_each(|key| self.queue.add(key));
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        if let Some(wait) = self.tracker.stale_for(key) {
            self.queue.add_after(key.clone(), wait);
            return Ok(());
        }
        let ours = |slice: &Arc<EndpointSlice>| {
            slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str)
                == Some(MANAGER)
        };
        let mut existing = self.slices.store().by(Index::Service, &key.to_string());
        existing.retain(ours);
        let Some(service) = self.services.store().get(key) else {
            // The garbage collector would do it, but later than a proxy wants to know.
            return self.act(key, plan::delete_all(&existing)).await;
        };
        let Some(selector) =
            service.spec.selector.as_ref().filter(|_| &*service.spec.type_ != "ExternalName")
        else {
            return Ok(());
        };
        let mut pods = self.pods.store().by(Index::Namespace, &key.namespace);
        pods.retain(|pod| selector.iter().all(|(name, value)| pod.metadata.labels.get(name) == Some(value)));
        let zone =
            |node: &str| self.nodes.store().get(&ObjectKey::new("", node)).and_then(|n| plan::zone(&n));
        let actions = plan::plan(&service, &pods, &zone, &existing);
        self.act(key, actions).await
    }

    async fn act(&self, key: &ObjectKey, actions: plan::Actions) -> Result<(), Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        let failed = |operation| move |source| Error { operation, service: key.clone(), source };
        let parameters = PostParams::default();
        for slice in &actions.create {
            match api.create(&parameters, slice).await {
                Ok(created) => self.written(key, &created),
                Err(error) if is_namespace_terminating(&error) => return Ok(()),
                Err(error) => return Err(failed("creating")(error)),
            }
        }
        for slice in &actions.update {
            match api.replace(slice.name(), &parameters, slice).await {
                Ok(updated) => self.written(key, &updated),
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(failed("updating")(error)),
            }
        }
        for name in &actions.delete {
            match api.delete(name, &kube::api::DeleteParams::default()).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(failed("deleting")(error)),
            }
        }
        Ok(())
    }
}
