//! The task that owns one pod.
//!
//! It is woken by changes of the pod object, by the runtime (a process ended), by its own operations and probes,
//! and by timers the planner asked for. Every wake-up updates [`PodState`]; then the pure planner decides, the
//! decision is carried out by operations that run beside the worker (so that a deletion never waits for a pull),
//! and the pure status function's result goes to the status writer.
//!
//! Invariants: at most one round of starts at a time; nothing is started once the pod is ending; the pod object
//! is deleted only after [`PodState::terminated`]; a worker that ends because the agent stops touches nothing.

mod backoff;
mod ending;
mod intake;
mod probes;
mod resize;
mod volumes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::backoff::Backoff;
use super::context::PodContext;
use super::kill::{self, Known};
use super::plan::{self, Kill, Plan, Steps};
use super::registry::Entry;
use super::resize::condition::Resize;
use super::spec::{self, Kind};
use super::start::{self, Outcome, Round};
use super::state::{Failure, PodState, ProbeFailure, Waiting};
use super::status;
use crate::events::EventType;
use crate::probes::ProbeKind;
use crate::runtime::{ContainerRecord, RunState, RuntimeError, SandboxRecord};
use crate::volumes::Mounted;
use resize::Resizing;

const WAKEUPS: usize = 64;
const KEPT_RECORDS: usize = 2;
const ROUND_RETRY: Duration = Duration::from_millis(500);
const ROUND_RETRY_MAX: Duration = Duration::from_secs(60);
const PULL_BACKOFF_SHOWN_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// What wakes a worker besides its pod.
#[derive(Debug)]
pub enum Wakeup {
    /// The process of a container or sandbox of this pod ended.
    Ended(String),
    /// Events may have been missed.
    Resync,
    /// The sandbox is up.
    Sandbox(SandboxRecord),
    /// A container was made.
    Created {
        /// Its id.
        id: String,
    },
    /// A container changed.
    Container(Box<ContainerRecord>),
    /// A container could not be started.
    Waiting {
        /// Its name.
        name: String,
        /// Why.
        waiting: Waiting,
        /// An image pull was tried and failed.
        pull_failed: bool,
    },
    /// A probe crossed its threshold.
    Probe {
        /// Container id.
        id: String,
        /// Which probe.
        kind: ProbeKind,
        /// The new result.
        success: bool,
    },
}

/// The pod object as last seen.
#[derive(Debug, Clone)]
pub struct Update {
    /// The object.
    pub pod: Arc<Pod>,
    /// It is gone from the API.
    pub removed: bool,
}

/// The manager's end of a worker.
pub struct Handle {
    /// New versions of the pod.
    pub updates: watch::Sender<Update>,
    /// Wake-ups.
    pub wakeups: mpsc::Sender<Wakeup>,
}

enum Done {
    Round(Outcome),
    Killed(String),
    PodKilled(Result<Known, RuntimeError>),
    Read(String, Option<Box<ContainerRecord>>),
    Sandbox(Option<SandboxRecord>),
    Relist(Result<Known, RuntimeError>),
    Removed(Result<(), RuntimeError>),
    Refreshed,
    Resized(super::resize::act::Outcome),
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Containers are being ended; with the grace period given.
    Ending(u64),
    /// All have ended; the pod object may still be there.
    Ended,
    /// The object is gone, leftovers are removed.
    Removing,
}

struct Worker {
    ctx: Arc<PodContext>,
    /// The pod with the resources that are allocated to it.
    pod: Arc<Pod>,
    resizing: Resizing,
    removed: bool,
    state: PodState,
    stage: Stage,
    backoff: Backoff,
    pull_backoff: Backoff,
    pull_failures: BTreeMap<String, (Timestamp, Timestamp)>,
    round_delay: Duration,
    round_retry_at: Option<Timestamp>,
    mounted: Option<Arc<Mounted>>,
    volume_task: Option<AbortHandle>,
    jobs: JoinSet<Done>,
    round: Option<AbortHandle>,
    killing: HashSet<String>,
    kill_pod: Option<AbortHandle>,
    kill_retry_at: Option<Timestamp>,
    relist_at: Option<Timestamp>,
    probes: HashMap<(String, ProbeKind), AbortHandle>,
    wakeups: mpsc::Sender<Wakeup>,
    published: watch::Sender<Arc<PodState>>,
    wake_at: Option<Timestamp>,
    reported_backoff: HashMap<String, Timestamp>,
    first_seen: tokio::time::Instant,
    was_running: bool,
}

/// Starts the worker of a pod; `known` is what the runtime has of it from before.
pub fn spawn(ctx: &Arc<PodContext>, pod: Arc<Pod>, known: Known) -> Handle {
    let (updates, receiver) = watch::channel(Update { pod: pod.clone(), removed: false });
    let (wakeups, queue) = mpsc::channel(WAKEUPS);
    let mut state = PodState {
        sandbox: known.sandbox,
        old_sandboxes: known.old_sandboxes,
        containers: known.containers,
        start_time: Some(start::now()),
        terminated: is_terminal(&pod),
        failure: recorded_failure(&pod),
        resize: Resize::told(&pod),
        ..PodState::default()
    };
    let resizing = Resizing::new(ctx, pod.clone(), &mut state);
    let pod = resizing.allocation.apply(&pod);
    let (published, view) = watch::channel(Arc::new(state.clone()));
    ctx.registry.put(Entry { pod: pod.clone(), state: view });
    let mut worker = Worker {
        backoff: Backoff::new(ctx.config.backoff_base, ctx.config.backoff_max),
        pull_backoff: Backoff::new(ctx.config.backoff_base, ctx.config.backoff_max),
        pull_failures: BTreeMap::new(),
        ctx: ctx.clone(),
        pod,
        resizing,
        removed: false,
        stage: Stage::Running,
        state,
        round_delay: ROUND_RETRY,
        round_retry_at: None,
        mounted: None,
        volume_task: None,
        jobs: JoinSet::new(),
        round: None,
        killing: HashSet::new(),
        kill_pod: None,
        kill_retry_at: None,
        relist_at: None,
        probes: HashMap::new(),
        wakeups: wakeups.clone(),
        published,
        wake_at: None,
        reported_backoff: HashMap::new(),
        first_seen: tokio::time::Instant::now(),
        was_running: false,
    };
    // Before the task begins: the manager opens the node's books when all pods it found have their worker.
    if !worker.state.terminated {
        worker.hold();
    }
    ctx.tasks.spawn(worker.run(receiver, queue));
    Handle { updates, wakeups }
}

/// A pod that had ended before the agent (re)started is not started again.
fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn recorded_failure(pod: &Pod) -> Option<Failure> {
    let status = pod.status.as_ref()?;
    let reason = status.reason.clone().filter(|reason| !reason.is_empty())?;
    (status.phase.as_deref() == Some("Failed"))
        .then(|| Failure { reason, message: status.message.clone().unwrap_or_default() })
}

impl Worker {
    async fn run(mut self, mut updates: watch::Receiver<Update>, mut queue: mpsc::Receiver<Wakeup>) {
        let stop = self.ctx.stop.clone();
        self.reopen_host_ports();
        self.allocate();
        if self.state.terminated {
            self.end_resize();
            let sandbox = self.state.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready);
            self.stage = if sandbox || self.state.any_running() { Stage::Running } else { Stage::Ended };
        }
        loop {
            let done = self.step();
            self.publish();
            if done {
                break;
            }
            let timer = sleep_until(self.wake_at);
            let granted = self.resizing.granted.clone();
            tokio::select! {
                () = stop.cancelled() => {
                    self.jobs.abort_all();
                    return;
                }
                changed = updates.changed(), if !self.removed => {
                    // The manager lets go of a worker with its last update only.
                    if changed.is_err() {
                        return;
                    }
                    let update = updates.borrow_and_update().clone();
                    self.updated(update);
                }
                Some(wakeup) = queue.recv() => self.woken(wakeup),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => match done {
                    Ok(done) => self.finished(done),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, pod = spec::name(&self.pod), "a pod's operation panicked"),
                },
                () = granted.notified() => self.allocate(),
                () = timer => {}
            }
            // What else is there already is taken in before deciding again.
            while let Ok(wakeup) = queue.try_recv() {
                self.woken(wakeup);
            }
            while let Some(Ok(done)) = self.jobs.try_join_next() {
                self.finished(done);
            }
        }
        self.stop_probes(|_| true);
        self.jobs.abort_all();
        self.end_resize();
        self.ctx.status.forget(spec::uid(&self.pod));
        self.ctx.registry.remove(&self.pod);
    }

    /// After a restart of the agent: what runs already has its ports again.
    fn reopen_host_ports(&mut self) {
        let Some(sandbox) = self.state.sandbox.clone().filter(|sandbox| sandbox.ready) else { return };
        let (ctx, pod) = (self.ctx.clone(), self.pod.clone());
        self.jobs.spawn(async move {
            if let Err(error) = start::open_host_ports(&ctx, &pod, &sandbox).await {
                tracing::warn!(%error, pod = spec::name(&pod), "host ports not opened");
            }
            Done::Nothing
        });
    }

    fn updated(&mut self, update: Update) {
        self.removed |= update.removed;
        let pod = self.resizing.allocation.apply(&update.pod);
        self.resizing.desired = update.pod;
        let old = std::mem::replace(&mut self.pod, pod);
        self.allocate();
        let (old, new) = (&old.metadata, &self.pod.metadata);
        if old.labels != new.labels || old.annotations != new.annotations {
            self.refresh_volumes();
        }
        self.ctx.registry.put(Entry { pod: self.pod.clone(), state: self.published.subscribe() });
    }

    fn ips(&self) -> Vec<String> {
        self.state.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }

    fn deleting(&self) -> bool {
        self.removed || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Decides and acts; says whether the worker is through.
    fn step(&mut self) -> bool {
        let now = start::now();
        self.wake_at = None;
        match self.relist_at {
            Some(at) if at > now => self.wake(at),
            Some(_) => self.relist(),
            None => {}
        }
        match self.stage {
            Stage::Running => {
                self.check_deadline(now);
                let plan = plan::plan(&self.pod, &self.state, &self.backoff, now);
                match plan {
                    _ if self.deleting() => self.end_pod(),
                    _ if self.state.terminated => self.end_pod(),
                    Plan::Finish => self.end_pod(),
                    Plan::Run(steps) => self.run_steps(steps, now),
                }
                false
            }
            Stage::Ending(grace) => {
                let wanted = spec::grace_seconds(&self.pod);
                if self.deleting() && wanted < grace {
                    // The grace period was shortened: the running operation is replaced by a faster one.
                    if let Some(running) = self.kill_pod.take() {
                        running.abort();
                    }
                    self.stage = Stage::Ending(wanted);
                    self.spawn_kill_pod(wanted, false);
                } else if self.kill_pod.is_none() {
                    match self.kill_retry_at {
                        Some(at) if at > now => self.wake(at),
                        _ => self.spawn_kill_pod(grace, false),
                    }
                }
                false
            }
            Stage::Ended => {
                if self.removed {
                    match self.kill_retry_at.take() {
                        Some(at) if at > now => {
                            self.kill_retry_at = Some(at);
                            self.wake(at);
                        }
                        _ => {
                            let (ctx, uid) = (self.ctx.clone(), spec::uid(&self.pod).to_owned());
                            self.jobs.spawn(async move { Done::Removed(kill::remove_pod(&ctx, &uid).await) });
                            // Not asked again before the answer is there.
                            self.kill_retry_at = Some(now + SignedDuration::from_hours(1));
                        }
                    }
                }
                false
            }
            Stage::Removing => true,
        }
    }

    fn check_deadline(&mut self, now: Timestamp) {
        let spec = spec::spec(&self.pod);
        let Some(seconds) = spec.active_deadline_seconds else { return };
        let status_start = self.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        let Some(began) = status_start.map(|time| time.0).or(self.state.start_time) else { return };
        let deadline = began + SignedDuration::from_secs(seconds);
        if now < deadline {
            self.wake(deadline);
        } else if self.state.failure.is_none() {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.ctx.pod_event(&self.pod, EventType::Normal, "DeadlineExceeded", message.clone());
            self.state.failure = Some(Failure { reason: "DeadlineExceeded".to_owned(), message });
        }
    }

    fn run_steps(&mut self, steps: Steps, now: Timestamp) {
        self.resize(now);
        for kill in &steps.kill {
            self.kill(kill);
        }
        self.show_back_offs(&steps);
        self.show_pull_back_offs(now);
        self.run_probes();
        if let Some(at) = steps.wake {
            self.wake(at);
        }
        if self.round.is_some() || (steps.start.is_empty() && steps.sandbox.is_none()) {
            return;
        }
        if let Some(at) = self.round_retry_at
            && at > now
        {
            self.wake(at);
            return;
        }
        if steps.start.is_empty() && !steps.backing_off.is_empty() {
            return;
        }
        for name in &steps.start {
            // As upstream counts: every restart of a container that has ended doubles its next delay.
            if self.state.latest(name).is_some_and(|record| record.state == RunState::Exited) {
                self.backoff.next(name, now);
            }
        }
        let round = Round {
            ctx: self.ctx.clone(),
            pod: self.pod.clone(),
            steps,
            state: self.state.clone(),
            mounted: self.mounted.clone(),
            worker: self.wakeups.clone(),
        };
        self.round = Some(self.jobs.spawn(async move { Done::Round(round.run().await) }));
    }

    fn kill(&mut self, kill: &Kill) {
        if !self.killing.insert(kill.id.clone()) {
            return;
        }
        let grace = Duration::from_secs(kill.grace.unwrap_or_else(|| spec::grace_seconds(&self.pod)).max(1));
        let (ctx, pod, kill) = (self.ctx.clone(), self.pod.clone(), kill.clone());
        self.jobs.spawn(async move {
            let Kill { name, id, message, .. } = kill;
            if let Err(error) = kill::kill_container(&ctx, &pod, &id, &name, message, grace, true).await {
                tracing::debug!(%error, container = name, "container not ended");
            }
            Done::Killed(id)
        });
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    fn publish(&mut self) {
        self.published.send_if_modified(|view| {
            let changed = **view != self.state;
            if changed {
                *view = Arc::new(self.state.clone());
            }
            changed
        });
        if self.removed {
            return;
        }
        let status = status::compute(&self.pod, &self.state, &self.ctx.host, start::now());
        if !self.was_running && status.phase.as_deref() == Some("Running") {
            self.was_running = true;
            self.ctx.metrics.pod_started(self.first_seen.elapsed());
        }
        let delete = self.stage == Stage::Ended && self.pod.metadata.deletion_timestamp.is_some();
        self.ctx.status.set(&self.pod, status, delete);
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

async fn sleep_until(at: Option<Timestamp>) {
    match at {
        None => std::future::pending().await,
        Some(at) => {
            let left = at.duration_since(start::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
