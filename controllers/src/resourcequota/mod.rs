//! Keeps the status of quotas: what is allowed, and what is used of it.
//!
//! Owns: `status` of ResourceQuotas, together with the API server, which charges for what is created.
//! Woken by: quotas, and the objects they count, which are watched in the namespaces that have quotas only.
//! Invariants: what is used becomes less only by objects that were seen to go, never by a count that may miss what
//! was charged a moment ago and is not written yet; everything is counted anew only when a quota is new or nobody
//! has charged it for as long as a request can take. A status is written against the version it was derived from.

mod plan;

use std::{collections::HashMap, sync::Arc, time::Duration};

use api_types::amounts::{self, Amounts};
use http::Request;
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cache::{Change, Index, Informer, ObjectKey, Raw, Source},
    context::Context,
    discovery,
    pods::is_not_found,
    queue::WorkQueue,
};

use plan::Counted;

const NAME: &str = "resourcequota-controller";
/// As long as a request may take: what was charged before has been written by then, or never will be.
const QUIET: Duration = Duration::from_secs(60);
/// When a quota is counted anew without any event; some things end by the clock alone.
const RESYNC: Duration = Duration::from_secs(300);
/// How long the first list of a kind may take before it is tried again.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a quota is not up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused.
    #[error("{operation} quota {key}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Which quota.
        key: ObjectKey,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// A kind that the quota counts could not be listed yet.
    #[error("quota {0}: its objects are not listed yet")]
    NotListed(ObjectKey),
}

/// What is known of a namespace that has quotas.
#[derive(Default)]
struct Namespace {
    token: CancellationToken,
    watched: HashMap<Counted, Arc<Informer<Raw>>>,
    /// The objects that handlers were told of: a quota is counted and relieved by the same knowledge.
    objects: HashMap<(Counted, Box<str>), Arc<Raw>>,
    /// By quota, what has gone and is not written yet.
    freed: HashMap<Arc<str>, Amounts>,
}

struct Controller {
    client: Client,
    quotas: Arc<Informer<Raw>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    namespaces: Mutex<HashMap<Arc<str>, Namespace>>,
    /// When each quota was last seen to change.
    changed: Mutex<HashMap<ObjectKey, Instant>>,
    tasks: TaskTracker,
    token: CancellationToken,
}

pub(crate) fn start(context: &Context) {
    let controller = Arc::new(Controller {
        client: context.client(NAME),
        quotas: Informer::new(Source::new("/api/v1/resourcequotas")),
        queue: WorkQueue::new(context.metrics.queue("resource_quota_controller")),
        namespaces: Mutex::default(),
        changed: Mutex::default(),
        tasks: context.tasks.clone(),
        token: context.token.clone(),
    });
    let this = controller.clone();
    controller.quotas.on_change(move |change| this.quota_changed(change));
    context.tasks.spawn(controller.quotas.clone().run(context.client(NAME), context.token.clone()));
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        controller.quotas.synced().await;
        let queue = controller.queue.clone();
        queue.spawn_workers("resourcequota", workers, &tasks, &token, move |key| {
            let this = controller.clone();
            async move { this.reconcile(&key).await }
        });
    });
}

impl Controller {
    fn quota_changed(&self, change: &Change<Raw>) {
        let key = ObjectKey::of(&**change.object());
        if !matches!(change, Change::Deleted(_)) {
            self.changed.lock().insert(key.clone(), Instant::now());
        }
        let charged_only = match change {
            Change::Updated { old, new } => old.value.get("spec") == new.value.get("spec"),
            _ => false,
        };
        // What has gone could not be written while others charged: this is the version to try again with.
        let is_owed = || {
            let namespaces = self.namespaces.lock();
            namespaces.get(&key.namespace).is_some_and(|namespace| namespace.freed.contains_key(&key.name))
        };
        if charged_only && !is_owed() { self.queue.add_after(key, QUIET) } else { self.queue.add(key) }
    }

    async fn reconcile(self: &Arc<Self>, key: &ObjectKey) -> Result<(), Error> {
        let Some(quota) = self.quotas.store().get(key) else {
            self.forget(key);
            return Ok(());
        };
        if quota.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let kinds = plan::kinds(&quota.value);
        for kind in &kinds {
            self.watch(key, kind).await?;
        }
        let quiet = self.changed.lock().get(key).map_or(Duration::ZERO, Instant::elapsed);
        let recount = quiet >= QUIET;
        if !recount {
            self.queue.add_after(key.clone(), QUIET.saturating_sub(quiet));
        }
        self.queue.add_after(key.clone(), RESYNC);
        let (status, freed) = {
            let mut namespaces = self.namespaces.lock();
            let namespace = self.entry(&mut namespaces, &key.namespace);
            let freed = namespace.freed.remove(&key.name).unwrap_or_default();
            let counted = || count(&quota.value, namespace);
            (plan::status(&quota.value, &freed, recount, counted), freed)
        };
        let Some(status) = status else { return Ok(()) };
        match self.write(key, &quota, status).await {
            Ok(()) => Ok(()),
            Err(source) if is_not_found(&source) => Ok(()),
            Err(source) => {
                // Where the write may have been made after all, taking it off again would be too much: the next count
                // puts that right.
                if matches!(&source, kube::Error::Api(status) if status.code < 500) {
                    let mut namespaces = self.namespaces.lock();
                    let namespace = self.entry(&mut namespaces, &key.namespace);
                    amounts::add(namespace.freed.entry(key.name.clone()).or_default(), &freed);
                }
                Err(Error::Api { operation: "updating the status of", key: key.clone(), source })
            }
        }
    }

    async fn write(&self, key: &ObjectKey, quota: &Raw, status: Value) -> Result<(), kube::Error> {
        let mut object = quota.value.clone();
        object["apiVersion"] = "v1".into();
        object["kind"] = "ResourceQuota".into();
        object["status"] = status;
        let path = format!("/api/v1/namespaces/{}/resourcequotas/{}/status", key.namespace, key.name);
        let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
        let request = Request::put(path).header(http::header::CONTENT_TYPE, "application/json").body(body);
        self.client.request_text(request.map_err(kube::Error::HttpError)?).await.map(drop)
    }

    fn entry<'a>(&self, all: &'a mut HashMap<Arc<str>, Namespace>, name: &Arc<str>) -> &'a mut Namespace {
        let new = || Namespace { token: self.token.child_token(), ..Namespace::default() };
        all.entry(name.clone()).or_insert_with(new)
    }

    /// The last quota of a namespace takes its watches with it.
    fn forget(&self, key: &ObjectKey) {
        self.changed.lock().remove(key);
        let mut namespaces = self.namespaces.lock();
        if let Some(namespace) = namespaces.get_mut(&key.namespace) {
            namespace.freed.remove(&key.name);
            if self.quotas.store().by(Index::Namespace, &key.namespace).is_empty() {
                namespace.token.cancel();
                namespaces.remove(&key.namespace);
            }
        }
    }

    /// Sees to it that the objects of a kind in the quota's namespace are known.
    async fn watch(self: &Arc<Self>, key: &ObjectKey, kind: &Counted) -> Result<(), Error> {
        let known = |this: &Self| {
            let namespaces = this.namespaces.lock();
            namespaces.get(&key.namespace).and_then(|namespace| namespace.watched.get(kind).cloned())
        };
        let informer = match known(self) {
            Some(informer) => informer,
            None => match self.source(key, kind).await? {
                Some(source) => self.begin(&key.namespace, kind, source),
                // Nothing of a kind that is not served.
                None => return Ok(()),
            },
        };
        let listed = tokio::time::timeout(LIST_TIMEOUT, informer.synced()).await;
        listed.map_err(|_| Error::NotListed(key.clone()))
    }

    async fn source(&self, key: &ObjectKey, kind: &Counted) -> Result<Option<Source>, Error> {
        let (group, plural) = kind;
        if group.is_empty() && matches!(&**plural, "pods" | "services" | "persistentvolumeclaims") {
            return Ok(Some(Source::new(format!("/api/v1/namespaces/{}/{plural}", key.namespace))));
        }
        let served = discovery::served(&self.client).await.map_err(|source| Error::Api {
            operation: "discovering the kinds of",
            key: key.clone(),
            source,
        })?;
        let found = served.resources.iter().find(|resource| {
            resource.group == *group
                && resource.plural == *plural
                && resource.namespaced
                && resource.can("watch")
        });
        Ok(found.map(|resource| Source::new(resource.path(&key.namespace)).metadata_only()))
    }

    fn begin(self: &Arc<Self>, namespace: &Arc<str>, kind: &Counted, source: Source) -> Arc<Informer<Raw>> {
        let mut namespaces = self.namespaces.lock();
        let entry = self.entry(&mut namespaces, namespace);
        if let Some(informer) = entry.watched.get(kind) {
            return informer.clone();
        }
        let informer: Arc<Informer<Raw>> = Informer::new(source);
        // Not the informer's owner: the handler must not keep alive what it belongs to.
        let (this, of, counted) = (Arc::downgrade(self), namespace.clone(), kind.clone());
        informer.on_change(move |change| {
            if let Some(this) = this.upgrade() {
                this.object_changed(&of, &counted, change);
            }
        });
        self.tasks.spawn(informer.clone().run(self.client.clone(), entry.token.clone()));
        entry.watched.insert(kind.clone(), informer.clone());
        informer
    }

    fn object_changed(&self, namespace: &Arc<str>, kind: &Counted, change: &Change<Raw>) {
        let mut namespaces = self.namespaces.lock();
        let Some(known) = namespaces.get_mut(namespace) else { return };
        let at = (kind.clone(), change.object().metadata.name.clone());
        let new = (!matches!(change, Change::Deleted(_))).then(|| change.object().clone());
        let old = match &new {
            Some(object) => known.objects.insert(at, object.clone()),
            None => known.objects.remove(&at),
        };
        let Some(old) = old else { return };
        let now = Timestamp::now();
        for quota in self.quotas.store().by(Index::Namespace, namespace) {
            let share = |object: &Raw| plan::share(&quota.value, kind, &object.value, now);
            let after = new.as_deref().map(share).unwrap_or_default();
            let freed = plan::freed(share(&old), &after);
            if !freed.is_empty() {
                let key = ObjectKey::of(&*quota);
                amounts::add(known.freed.entry(key.name.clone()).or_default(), &freed);
                self.queue.add(key);
            }
        }
    }
}

/// What all objects of the namespace count for in the quota.
fn count(quota: &Value, namespace: &Namespace) -> Amounts {
    let now = Timestamp::now();
    let mut sum = Amounts::new();
    for ((kind, _), object) in &namespace.objects {
        amounts::add(&mut sum, &plan::share(quota, kind, &object.value, now));
    }
    sum
}
