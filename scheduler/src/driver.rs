//! The one task that owns queue and snapshot.
//!
//! Woken by: watches, bindings that ended, and the next deadline of the queue. Events that wait are always handled
//! before the next decision, so that a decision is made on the newest state there is.

use std::{collections::HashSet, sync::Arc};

use kube::Client;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info};

use crate::{
    binder::{Bound, bind},
    config::Config,
    decide::{Decision, decide},
    events::{Report, Reporter},
    framework::{ClusterEvent, Profile},
    metrics::Metrics,
    pod::PodInfo,
    queue::Queue,
    snapshot::Snapshot,
    watch::{self, Change, Seen},
};

/// Events that wait for the driver before watches are held up.
const BACKLOG: usize = 1024;

pub(crate) struct Driver {
    config: Config,
    profile: Profile,
    metrics: Metrics,
    snapshot: Snapshot,
    queue: Queue,
    /// Pods that were given a node and are not known to be bound yet.
    assumed: HashSet<Box<str>>,
    lists: Lists,
}

/// What lists that are under way have named so far, and which kinds are known.
#[derive(Default)]
struct Lists {
    pods: HashSet<Box<str>>,
    nodes: HashSet<Box<str>>,
    pods_known: bool,
    nodes_known: bool,
}

impl Driver {
    pub(crate) fn new(config: Config, profile: Profile, metrics: Metrics) -> Self {
        Driver {
            config,
            profile,
            metrics,
            snapshot: Snapshot::default(),
            queue: Queue::default(),
            assumed: HashSet::new(),
            lists: Lists::default(),
        }
    }

    /// Schedules until `token` is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let tasks = TaskTracker::new();
        let client = self.config.client.clone();
        let (sender, mut seen) = mpsc::channel(BACKLOG);
        let (reporter, reporting) = Reporter::new(client.clone());
        let stop = token.clone();
        tasks.spawn(async move { stop.run_until_cancelled(reporting).await });
        let (stop, watching) = (token.clone(), watch::watch(client.clone(), sender));
        tasks.spawn(async move { stop.run_until_cancelled(watching).await });
        let mut bindings: JoinSet<Bound> = JoinSet::new();
        info!("scheduler started");
        token.run_until_cancelled(self.drive(&client, &reporter, &mut seen, &mut bindings)).await;
        bindings.shutdown().await;
        tasks.close();
        tasks.wait().await;
        debug!("scheduler ended");
    }

    async fn drive(
        &mut self,
        client: &Client,
        reporter: &Reporter,
        seen: &mut mpsc::Receiver<Seen>,
        bindings: &mut JoinSet<Bound>,
    ) {
        loop {
            while let Ok(event) = seen.try_recv() {
                self.handle(event, reporter);
            }
            while let Some(bound) = bindings.try_join_next() {
                self.bound(bound, reporter);
            }
            let free =
                self.lists.pods_known && self.lists.nodes_known && bindings.len() < self.config.bindings;
            if free && let Some(pod) = self.queue.pop(&self.profile, Instant::now()) {
                if let Some(node) = self.schedule(&pod, reporter) {
                    bindings.spawn(bind(client.clone(), pod, node));
                }
                // Deciding takes no await: let the watches have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            self.metrics.pending(&self.queue.counts());
            let deadline = self.queue.next_deadline().filter(|_| free);
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = seen.recv() => match event {
                    Some(event) => self.handle(event, reporter),
                    None => return,
                },
                Some(bound) = bindings.join_next() => self.bound(bound, reporter),
                () = timer => {}
            }
        }
    }

    /// Decides about `pod`; the node it is to be bound to.
    fn schedule(&mut self, pod: &Arc<PodInfo>, reporter: &Reporter) -> Option<Arc<str>> {
        let start = Instant::now();
        let decision = decide(&self.profile, &self.snapshot, pod);
        self.metrics.decided(start.elapsed());
        match decision {
            Decision::Node(at) => {
                let node = self.snapshot.names[at].clone();
                self.snapshot.add_pod(pod.clone(), &node);
                self.assumed.insert(pod.uid.clone());
                Some(node)
            }
            Decision::Unschedulable(diagnosis) => {
                self.metrics.attempted("unschedulable");
                let message = diagnosis.message();
                let plugins = diagnosis.plugins.into_keys().collect();
                self.queue.rejected(&pod.uid, plugins, &self.profile, start);
                reporter.report(Report::Failed { pod: pod.clone(), reason: "Unschedulable", message });
                None
            }
        }
    }

    fn bound(&mut self, bound: Result<Bound, tokio::task::JoinError>, reporter: &Reporter) {
        let Ok(Bound { pod, node, result }) = bound else {
            // Only a panic in the binder leads here; the pod is found again at the next list.
            debug!("a binding was lost");
            return;
        };
        match result {
            Ok(()) => {
                self.metrics.attempted("scheduled");
                self.queue.remove(&pod.uid);
                reporter.report(Report::Scheduled { pod, node });
            }
            Err(error) => {
                self.metrics.attempted("error");
                // Known to be bound already: somebody else did it, and the watch told where.
                if self.assumed.remove(&pod.uid) {
                    self.snapshot.remove_pod(&pod.uid);
                    self.happened(ClusterEvent::PodGone(pod.clone()));
                }
                if matches!(&error, kube::Error::Api(status) if status.code == 404) {
                    self.queue.remove(&pod.uid);
                    return;
                }
                self.queue.failed(&pod.uid, &self.profile, Instant::now());
                let text = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let message = format!("binding rejected: {text}");
                reporter.report(Report::Failed { pod, reason: "SchedulerError", message });
            }
        }
    }

    fn happened(&mut self, event: ClusterEvent) {
        self.queue.on_event(&event, &self.profile, Instant::now());
    }

    fn handle(&mut self, seen: Seen, reporter: &Reporter) {
        match seen {
            Seen::Pod(Change::Set(pod)) => {
                if !self.lists.pods_known || !self.lists.pods.is_empty() {
                    self.lists.pods.insert(pod.uid.clone());
                }
                self.pod(pod, reporter);
            }
            Seen::Pod(Change::Gone(pod)) => self.pod_gone(&pod.uid),
            Seen::Pod(Change::Start) => {
                self.lists.pods.clear();
                // Marks that a list is under way, also should it name nothing.
                self.lists.pods.insert(Box::default());
            }
            Seen::Pod(Change::End) => {
                let named = std::mem::take(&mut self.lists.pods);
                let known = self.queue.uids().chain(self.snapshot.uids());
                let gone: Vec<Box<str>> = known.filter(|uid| !named.contains(*uid)).map(Into::into).collect();
                gone.iter().for_each(|uid| self.pod_gone(uid));
                self.lists.pods_known = true;
            }
            Seen::Node(Change::Set(node)) => {
                if !self.lists.nodes_known || !self.lists.nodes.is_empty() {
                    self.lists.nodes.insert(node.metadata.name.clone().unwrap_or_default().into());
                }
                let change = self.snapshot.set_node(*node);
                if change.any() {
                    self.happened(ClusterEvent::Node(change));
                }
            }
            Seen::Node(Change::Gone(node)) => {
                self.snapshot.remove_node(node.metadata.name.as_deref().unwrap_or_default());
            }
            Seen::Node(Change::Start) => {
                self.lists.nodes.clear();
                self.lists.nodes.insert(Box::default());
            }
            Seen::Node(Change::End) => {
                let named = std::mem::take(&mut self.lists.nodes);
                let gone: Vec<Arc<str>> =
                    self.snapshot.names.iter().filter(|name| !named.contains(&***name)).cloned().collect();
                gone.iter().for_each(|name| self.snapshot.remove_node(name));
                self.lists.nodes_known = true;
            }
            Seen::Namespace(Change::Set((name, labels))) => {
                if self.snapshot.namespaces.insert(name, labels.clone()).is_none_or(|known| known != labels) {
                    self.happened(ClusterEvent::Namespace);
                }
            }
            Seen::Namespace(Change::Gone((name, _))) => {
                self.snapshot.namespaces.remove(&name);
            }
            // A namespace that vanished during an outage has no pods any more.
            Seen::Namespace(Change::Start | Change::End) => {}
        }
    }

    fn pod(&mut self, pod: Arc<PodInfo>, reporter: &Reporter) {
        if !pod.node_name.is_empty() {
            self.queue.remove(&pod.uid);
            let confirmed = self.assumed.remove(&pod.uid);
            let known = self.snapshot.pod(&pod.uid);
            let news = confirmed || known.is_none_or(|known| !known.decides_like(&pod));
            let smaller = known.filter(|known| known.requests != pod.requests).cloned();
            let node = pod.node_name.clone();
            self.snapshot.add_pod(pod.clone(), &node);
            if let Some(before) = smaller {
                self.happened(ClusterEvent::PodGone(before));
            }
            if news {
                self.happened(ClusterEvent::PodOnNodeChanged(pod));
            }
            return;
        }
        if pod.scheduler_name != self.config.scheduler_name.as_str().into() || self.assumed.contains(&pod.uid)
        {
            return;
        }
        if pod.deleting {
            self.queue.remove(&pod.uid);
            return;
        }
        let wait = self.profile.pre_enqueue.iter().find_map(|plugin| plugin.admit(&pod).err());
        if let Some(message) = wait
            && pod.scheduled.is_none()
        {
            reporter.report(Report::Gated { pod: pod.clone(), message });
        }
        self.queue.set(pod, &self.profile);
    }

    fn pod_gone(&mut self, uid: &str) {
        self.queue.remove(uid);
        self.assumed.remove(uid);
        if let Some(pod) = self.snapshot.remove_pod(uid) {
            self.happened(ClusterEvent::PodGone(pod));
        }
    }
}
