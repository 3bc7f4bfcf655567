//! Gives every pod of this node a worker: follows the pod watch of the node and routes runtime events.
//!
//! At start the runtime is read once, so that each worker begins with what already runs; sandboxes of pods that
//! are gone are removed after the first complete list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;

use super::context::PodContext;
use super::kill::{self, Known};
use super::spec;
use super::worker::{self, Handle, Update, Wakeup};
use crate::runtime::{RuntimeError, RuntimeEvent, labels};

/// A safety net under the event stream, as rare as it may be.
const RELIST: Duration = Duration::from_secs(60);

/// Owner of the workers.
pub struct Manager {
    ctx: Arc<PodContext>,
    workers: HashMap<String, Handle>,
    known: HashMap<String, Known>,
    /// Which pod a container or sandbox belongs to.
    owners: HashMap<String, String>,
    synced: bool,
    /// Pods the runtime has and nobody wants, as of the last relist; a second time and they are removed.
    suspects: HashSet<String>,
}

impl Manager {
    /// A manager that knows what the runtime already has.
    pub async fn new(ctx: Arc<PodContext>) -> Result<Manager, RuntimeError> {
        let mut uids = HashSet::new();
        for sandbox in ctx.runtime.list_sandboxes(None).await? {
            uids.extend(sandbox.labels.get(labels::POD_UID).cloned());
        }
        let mut known = HashMap::new();
        for uid in uids {
            let pod = kill::read_pod(&ctx, &uid).await?;
            known.insert(uid, pod);
        }
        Ok(Manager {
            ctx,
            workers: HashMap::new(),
            known,
            owners: HashMap::new(),
            synced: false,
            suspects: HashSet::new(),
        })
    }

    /// Runs until the agent stops.
    pub async fn run(mut self, mut events: mpsc::Receiver<RuntimeEvent>) {
        let stop = self.ctx.stop.clone();
        let api: Api<Pod> = Api::all(self.ctx.config.client.clone());
        let config =
            watcher::Config::default().fields(&format!("spec.nodeName={}", self.ctx.config.node_name));
        let mut pods = std::pin::pin!(watcher::watcher(api, config).default_backoff());
        let mut seen: HashSet<String> = HashSet::new();
        let mut relist = tokio::time::interval(RELIST);
        relist.reset();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = pods.next() => match event {
                    Some(Ok(watcher::Event::Init)) => seen.clear(),
                    Some(Ok(watcher::Event::InitApply(pod))) => {
                        seen.insert(spec::uid(&pod).to_owned());
                        self.apply(pod);
                    }
                    Some(Ok(watcher::Event::InitDone)) => self.init_done(&seen),
                    Some(Ok(watcher::Event::Apply(pod))) => self.apply(pod),
                    Some(Ok(watcher::Event::Delete(pod))) => self.delete(pod),
                    Some(Err(error)) => tracing::debug!(%error, "pod watch interrupted"),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(RuntimeEvent::Exited { id }) => self.exited(id).await,
                    Some(RuntimeEvent::Resync) => self.resync().await,
                    None => return,
                },
                _ = relist.tick() => self.relist().await,
            }
        }
    }

    fn apply(&mut self, pod: Pod) {
        let uid = spec::uid(&pod).to_owned();
        let pod = Arc::new(trimmed(pod));
        match self.workers.get(&uid) {
            Some(handle) if !handle.updates.is_closed() => {
                handle.updates.send_replace(Update { pod, removed: false });
            }
            _ => {
                let known = self.known.remove(&uid).unwrap_or_default();
                self.ctx.metrics.pods.set(i64::try_from(self.workers.len()).unwrap_or(i64::MAX) + 1);
                self.workers.insert(uid, worker::spawn(&self.ctx, pod, known));
            }
        }
    }

    fn delete(&mut self, pod: Pod) {
        let uid = spec::uid(&pod).to_owned();
        if let Some(handle) = self.workers.remove(&uid) {
            handle.updates.send_replace(Update { pod: Arc::new(trimmed(pod)), removed: true });
        }
        self.owners.retain(|_, owner| *owner != uid);
        self.ctx.metrics.pods.set(i64::try_from(self.workers.len()).unwrap_or(i64::MAX));
    }

    /// After a complete list: pods not in it are gone, and so is what the runtime has of pods never seen.
    fn init_done(&mut self, seen: &HashSet<String>) {
        let gone: Vec<String> = self.workers.keys().filter(|uid| !seen.contains(*uid)).cloned().collect();
        for uid in gone {
            if let Some(handle) = self.workers.remove(&uid) {
                let pod = handle.updates.borrow().pod.clone();
                handle.updates.send_replace(Update { pod, removed: true });
            }
        }
        if std::mem::replace(&mut self.synced, true) {
            return;
        }
        self.ctx.allocations.open();
        let mut orphans: HashSet<String> = self.known.drain().map(|(uid, _)| uid).collect();
        if self.ctx.files {
            orphans.extend(names_in(&self.ctx.config.data_dir.join("pods")));
        }
        for uid in orphans.into_iter().filter(|uid| !self.workers.contains_key(uid)) {
            let ctx = self.ctx.clone();
            self.ctx.tasks.spawn(async move { remove_orphan(&ctx, &uid).await });
        }
    }

    async fn exited(&mut self, id: String) {
        let owner = match self.owners.get(&id) {
            Some(owner) => Some(owner.clone()),
            None => self.find_owner(&id).await,
        };
        let Some(owner) = owner else {
            tracing::trace!(id, "an exit of something that is not a pod's");
            return;
        };
        self.wake(&owner, Wakeup::Ended(id)).await;
    }

    /// The pod of a container: from the workers' views, which hold every id they made.
    async fn find_owner(&mut self, id: &str) -> Option<String> {
        for entry in self.ctx.registry.list() {
            let state = entry.state.borrow().clone();
            let sandbox = state.sandbox.as_ref().is_some_and(|sandbox| sandbox.id == id);
            if sandbox || state.by_id(id).is_some() {
                return Some(spec::uid(&entry.pod).to_owned());
            }
        }
        // A container that ended before its worker has seen it start.
        for container in self.ctx.runtime.list_containers(None).await.ok()? {
            if let Some(uid) = container.labels.get(labels::POD_UID) {
                self.owners.insert(container.id.clone(), uid.clone());
            }
        }
        self.owners.get(id).cloned()
    }

    async fn wake(&self, uid: &str, wakeup: Wakeup) {
        if let Some(handle) = self.workers.get(uid)
            && handle.wakeups.send(wakeup).await.is_err()
        {
            tracing::trace!(uid, "worker already ended");
        }
    }

    async fn resync(&self) {
        for handle in self.workers.values() {
            if handle.wakeups.send(Wakeup::Resync).await.is_err() {
                tracing::trace!("worker already ended");
            }
        }
    }

    /// A sandbox whose making was cut short by its pod's deletion may turn up after the pod is gone.
    async fn remove_strays(&mut self) {
        let Ok(sandboxes) = self.ctx.runtime.list_sandboxes(None).await else { return };
        let wanted: HashSet<String> =
            self.ctx.registry.list().iter().map(|entry| spec::uid(&entry.pod).to_owned()).collect();
        let strays: HashSet<String> = sandboxes
            .iter()
            .filter_map(|sandbox| sandbox.labels.get(labels::POD_UID).cloned())
            .filter(|uid| self.synced && !wanted.contains(uid) && !self.workers.contains_key(uid))
            .collect();
        for uid in strays.intersection(&self.suspects) {
            let (ctx, uid) = (self.ctx.clone(), uid.clone());
            self.ctx.tasks.spawn(async move { remove_orphan(&ctx, &uid).await });
        }
        self.suspects = strays;
    }

    /// Compares the runtime's lists with what the workers believe and wakes those that are wrong.
    async fn relist(&mut self) {
        self.workers.retain(|_, handle| !handle.updates.is_closed());
        self.remove_strays().await;
        let Ok(containers) = self.ctx.runtime.list_containers(None).await else { return };
        let mut running: HashMap<String, HashSet<String>> = HashMap::new();
        for container in containers {
            if container.state() == k8s_cri::v1::ContainerState::ContainerRunning
                && let Some(uid) = container.labels.get(labels::POD_UID)
            {
                running.entry(uid.clone()).or_default().insert(container.id);
            }
        }
        for entry in self.ctx.registry.list() {
            let uid = spec::uid(&entry.pod).to_owned();
            let state = entry.state.borrow().clone();
            let believed: HashSet<String> = state
                .containers
                .values()
                .flatten()
                .filter(|record| record.state == crate::runtime::RunState::Running)
                .map(|record| record.id.clone())
                .collect();
            if running.get(&uid).cloned().unwrap_or_default() != believed {
                self.wake(&uid, Wakeup::Resync).await;
            }
        }
    }
}

fn names_in(dir: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Removes everything of a pod the API does not know.
async fn remove_orphan(ctx: &PodContext, uid: &str) {
    tracing::info!(uid, "removing a pod the API does not know");
    if let Err(error) = kill::remove_pod(ctx, uid).await {
        tracing::warn!(%error, uid, "orphaned pod not removed");
    }
    ctx.volumes.unmount(uid);
    ctx.cgroups.remove_uid(uid);
    if ctx.files {
        crate::volumes::remove_dir(&ctx.config.pod_dir(uid));
        let logs = &ctx.config.pod_log_dir;
        for name in names_in(logs).into_iter().filter(|name| name.ends_with(&format!("_{uid}"))) {
            crate::volumes::remove_dir(&logs.join(name));
        }
    }
}

/// Drops what nobody here reads; a node's pods are all the memory the agent needs.
fn trimmed(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    pod
}
