//! A ServiceCIDR stays as long as addresses of services would be left without a range.
//!
//! Owns: the finalizer `networking.k8s.io/service-cidr-finalizer` and the condition `Ready` of ServiceCIDRs.
//! Woken by: ServiceCIDRs, which wake those that overlap with them, and by addresses that come or go in one that
//! is being deleted.
//! Invariants: the API server gives out no more addresses of one that is being deleted; it goes when no address in
//! use is in it alone, and not before every API server can know of its deletion.

mod plan;
mod views;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use api_types::{kinds::addresses::Cidr, meta::rfc3339};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    cache::{Change, Informer, Object, ObjectKey, Source},
    context::Context,
    pods::is_not_found,
    queue::WorkQueue,
    recorder::{EventType, Recorder},
    rest,
};

use plan::Action;
use views::{IpAddress, ServiceCidr};

const NAME: &str = "service-cidrs-controller";
/// Who owns what it applies, and signs its events.
const MANAGER: &str = "service-cidr-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const PATH: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// Why a ServiceCIDR is not as it should be.
#[derive(Debug, thiserror::Error)]
#[error("{operation} ServiceCIDR {name}")]
pub struct Error {
    operation: &'static str,
    name: Arc<str>,
    source: kube::Error,
}

struct Controller {
    client: Client,
    recorder: Recorder,
    cidrs: Arc<Informer<ServiceCidr>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    /// The addresses in use, in order: those of a range are found without looking at the others.
    used: Mutex<BTreeSet<IpAddr>>,
    /// The ranges of those that are being deleted; there are none as a rule, and addresses then wake nobody.
    going: Mutex<HashMap<ObjectKey, Vec<Cidr>>>,
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let controller = Arc::new(Controller {
        client: client.clone(),
        recorder: context.recorder(NAME, MANAGER),
        cidrs: Informer::new(Source::new(PATH)),
        queue: WorkQueue::new(context.metrics.queue("servicecidrs")),
        used: Mutex::default(),
        going: Mutex::default(),
    });
    let addresses: Arc<Informer<IpAddress>> = Informer::new(
        Source::new("/apis/networking.k8s.io/v1/ipaddresses")
            .labels("ipaddress.kubernetes.io%2Fmanaged-by%3Dipallocator.k8s.io"),
    );
    let this = controller.clone();
    controller.cidrs.on_change(move |change| this.cidr_changed(change));
    let this = controller.clone();
    addresses.on_change(move |change| this.address_changed(change));
    context.tasks.spawn(controller.cidrs.clone().run(client.clone(), context.token.clone()));
    context.tasks.spawn(addresses.clone().run(client, context.token.clone()));
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        tokio::join!(controller.cidrs.synced(), addresses.synced());
        let queue = controller.queue.clone();
        queue.spawn_workers("servicecidrs", workers, &tasks, &token, move |key| {
            let this = controller.clone();
            async move { this.reconcile(&key).await }
        });
    });
}

impl Controller {
    fn cidr_changed(&self, change: &Change<ServiceCidr>) {
        let cidr = change.object();
        let key = ObjectKey::of(&**cidr);
        let ranges = cidr.ranges();
        let is_gone = matches!(change, Change::Deleted(_));
        if cidr.deleted().is_some() && !is_gone {
            self.going.lock().insert(key.clone(), ranges.clone());
        } else {
            self.going.lock().remove(&key);
        }
        self.queue.add(key);
        // Only one that is going depends on the others.
        for (other, theirs) in self.going.lock().iter() {
            if theirs.iter().any(|their| ranges.iter().any(|range| range.overlaps(their))) {
                self.queue.add(other.clone());
            }
        }
    }

    fn address_changed(&self, change: &Change<IpAddress>) {
        let Some(ip) = change.object().ip() else { return };
        match change {
            Change::Added(_) => self.used.lock().insert(ip),
            Change::Deleted(_) => self.used.lock().remove(&ip),
            Change::Updated { .. } => return,
        };
        for (key, ranges) in self.going.lock().iter() {
            if ranges.iter().any(|range| range.contains(ip)) {
                self.queue.add(key.clone());
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(cidr) = self.cidrs.store().get(key) else { return Ok(()) };
        let all = self.cidrs.store().all();
        let actions = plan::plan(&cidr, &all, &self.used.lock(), Timestamp::now());
        for action in actions {
            self.act(key, &cidr, action).await?;
        }
        Ok(())
    }

    async fn act(&self, key: &ObjectKey, cidr: &ServiceCidr, action: Action) -> Result<(), Error> {
        let path = format!("{PATH}/{}", key.name);
        let uid = cidr.uid();
        let (operation, result) = match action {
            Action::Wait(rest) => {
                self.queue.add_after(key.clone(), rest);
                return Ok(());
            }
            Action::AddFinalizer => {
                let patch = json!({"metadata": {"uid": uid, "finalizers": [FINALIZER]}});
                ("adding the finalizer of", rest::patch(&self.client, &path, rest::STRATEGIC, &patch).await)
            }
            Action::RemoveFinalizer => {
                let delete = "$deleteFromPrimitiveList/finalizers";
                let patch = json!({"metadata": {"uid": uid, delete: [FINALIZER]}});
                ("removing the finalizer of", rest::patch(&self.client, &path, rest::STRATEGIC, &patch).await)
            }
            Action::MarkReady(since) => {
                let result = self.mark(key, "True", "", plan::READY, since).await;
                if result.as_ref().is_err_and(|error| !is_not_found(error)) {
                    let message = "The ServiceCIDR Status can not be set to Ready=True";
                    let reason = "KubernetesServiceCIDRError";
                    self.recorder.event(about(cidr), EventType::Warning, reason, message.to_owned());
                }
                ("marking as ready", result)
            }
            Action::MarkTerminating(since) => {
                let result = self.mark(key, "False", "Terminating", plan::TERMINATING, since).await;
                ("marking as terminating", result)
            }
        };
        match result {
            Err(source) if !is_not_found(&source) => Err(Error { operation, name: key.name.clone(), source }),
            _ => Ok(()),
        }
    }

    async fn mark(
        &self,
        key: &ObjectKey,
        status: &str,
        reason: &str,
        message: &str,
        since: Option<Timestamp>,
    ) -> Result<(), kube::Error> {
        let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": rfc3339(since.unwrap_or_else(Timestamp::now))});
        let configuration = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "metadata": {"name": &*key.name}, "status": {"conditions": [condition]}});
        rest::apply(&self.client, &format!("{PATH}/{}/status", key.name), MANAGER, &configuration).await
    }
}

fn about(cidr: &ServiceCidr) -> ObjectReference {
    ObjectReference {
        api_version: Some("networking.k8s.io/v1".to_owned()),
        kind: Some("ServiceCIDR".to_owned()),
        name: Some(cidr.name().to_owned()),
        uid: Some(cidr.uid().to_owned()),
        resource_version: Some(cidr.resource_version().to_owned()),
        ..ObjectReference::default()
    }
}
