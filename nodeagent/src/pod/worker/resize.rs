//! Resizing the pod: what it desires is allocated when the node has room, then given to its containers.
//!
//! Woken like everything of the worker, and by [`crate::pod::resize::node`] once there is room for what did not fit.

use super::*;
use crate::pod::resize::act::{self, Outcome as Resized};
use crate::pod::resize::allocation::Allocation;
use crate::pod::resize::amounts::Totals;
use crate::pod::resize::condition::event_message;
use crate::pod::resize::node::{self, Answer};
use crate::pod::resize::plan as resize_plan;
use crate::pod::resources;

/// What a worker keeps of resizing.
pub(super) struct Resizing {
    /// The pod as the API has it.
    pub(super) desired: Arc<Pod>,
    /// What is allocated; the worker's pod has these resources.
    pub(super) allocation: Allocation,
    /// There is room now for what did not fit.
    pub(super) granted: Arc<Notify>,
    held: Option<Totals>,
    job: Option<AbortHandle>,
    delay: Duration,
    retry_at: Option<Timestamp>,
}

impl Resizing {
    /// Of a pod as the agent finds it.
    pub(super) fn new(ctx: &PodContext, desired: Arc<Pod>, state: &mut PodState) -> Resizing {
        let dir = ctx.files.then(|| ctx.config.pod_dir(spec::uid(&desired)));
        let allocation = Allocation::found(&desired, dir.as_deref(), state);
        Resizing {
            desired,
            allocation,
            granted: Arc::default(),
            held: None,
            job: None,
            delay: ROUND_RETRY,
            retry_at: None,
        }
    }
}

impl Worker {
    fn generation(&self) -> i64 {
        self.pod.metadata.generation.unwrap_or_default()
    }

    /// Allocates what the pod desires, or lets it wait.
    pub(super) fn allocate(&mut self) {
        let uid = spec::uid(&self.pod).to_owned();
        if self.stage != Stage::Running || self.deleting() || self.state.terminated {
            return;
        }
        let desired = self.resizing.desired.clone();
        if self.resizing.allocation.covers(&desired) {
            self.ctx.allocations.withdraw(&uid);
            self.state.resize.pending = None;
            return;
        }
        let (now, generation) = (start::now(), self.generation());
        let wanted = Totals::of(&spec::spec(&desired));
        let old = Totals::of(&spec::spec(&self.pod));
        let priority = desired.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let since = self.state.resize.pending.as_ref().map_or(now, |pending| pending.since);
        let rank =
            node::rank(wanted.exceeds(old), priority, resources::qos_class(&spec::spec(&desired)), since);
        match self.ctx.allocations.resize(&uid, wanted, rank, &self.resizing.granted) {
            Answer::Granted => {}
            Answer::Unknown => return,
            Answer::Short(short) => {
                let message = short.to_string();
                if self.state.resize.defer(message.clone(), generation, now) {
                    let what = format!("OutOf{}", short.resource);
                    let message = event_message(&what, &desired, generation, &message);
                    self.ctx.pod_event(&desired, EventType::Warning, "ResizeDeferred", message);
                }
                return;
            }
        }
        self.resizing.held = None;
        let allocation = Allocation::of(&desired);
        if !self.store(&allocation) {
            return;
        }
        self.pod = allocation.apply(&desired);
        self.resizing.allocation = allocation;
        self.resizing.retry_at = None;
        self.resizing.delay = ROUND_RETRY;
        self.state.resize.begin(generation, now);
        let message = event_message("started", &desired, generation, "");
        self.ctx.pod_event(&desired, EventType::Normal, "ResizeStarted", message);
    }

    /// Writes down what is allocated; says whether that went well.
    fn store(&mut self, allocation: &Allocation) -> bool {
        if !self.ctx.files {
            return true;
        }
        let dir = self.ctx.config.pod_dir(spec::uid(&self.pod));
        let Err(error) = allocation.store(&dir, &self.state) else { return true };
        tracing::warn!(%error, pod = spec::name(&self.pod), "what is allocated is not written down");
        self.retry_resize();
        false
    }

    fn retry_resize(&mut self) {
        self.resizing.retry_at = Some(start::now() + signed(self.resizing.delay));
        self.resizing.delay = (self.resizing.delay * 2).min(ROUND_RETRY_MAX);
    }

    /// The pod holds of its node what is allocated and what its containers still have.
    pub(super) fn hold(&mut self) {
        let spec = spec::spec(&self.pod);
        let mut held = Totals::of(&spec);
        if resize_plan::differs(&spec, &self.state) {
            held = held.max(Totals::of(&resize_plan::given_spec(&spec, &self.state)));
        }
        if self.resizing.held.replace(held) != Some(held) {
            self.ctx.allocations.hold(spec::uid(&self.pod), held);
        }
    }

    /// Gives containers what is allocated to them.
    pub(super) fn resize(&mut self, now: Timestamp) {
        match self.resizing.retry_at {
            Some(at) if at > now => self.wake(at),
            // What was granted could not be written down.
            Some(_) if !self.resizing.allocation.covers(&self.resizing.desired) => {
                self.resizing.retry_at = None;
                self.allocate();
            }
            _ => {}
        }
        self.hold();
        let actions = resize_plan::plan(&self.pod, &self.state);
        if !actions.in_progress() {
            if let Some(done) = self.state.resize.progress.take() {
                let message = event_message("completed", &self.pod, done.generation, "");
                self.ctx.pod_event(&self.pod, EventType::Normal, "ResizeCompleted", message);
            }
            return;
        }
        if self.state.resize.progress.is_none() {
            let pending = self.state.resize.pending.take();
            self.state.resize.begin(self.generation(), now);
            self.state.resize.pending = pending;
        }
        for kill in &actions.restart {
            self.state.resize.restarting.insert(kill.id.clone());
            self.kill(kill);
        }
        if !actions.restart.is_empty() || self.resizing.job.is_some() {
            return;
        }
        if self.resizing.retry_at.is_some_and(|at| at > now) {
            return;
        }
        let (ctx, pod) = (self.ctx.clone(), self.pod.clone());
        let job = async move { Done::Resized(act::run(&ctx, &pod, &actions).await) };
        self.resizing.job = Some(self.jobs.spawn(job));
    }

    pub(super) fn resized(&mut self, outcome: Resized) {
        self.resizing.job = None;
        if !outcome.given.is_empty() {
            self.state.resize.given.extend(outcome.given);
            let allocation = self.resizing.allocation.clone();
            // Lost, it is given once more after a restart of the agent, which changes nothing.
            self.store(&allocation);
        }
        for record in outcome.records {
            self.put(record);
        }
        let Some(failure) = outcome.failure else {
            self.resizing.retry_at = None;
            self.resizing.delay = ROUND_RETRY;
            return;
        };
        self.retry_resize();
        if let Some(generation) = self.state.resize.fail(&failure, self.generation(), start::now()) {
            let message = event_message("error", &self.pod, generation, &failure);
            self.ctx.pod_event(&self.pod, EventType::Warning, "ResizeError", message);
        }
    }

    /// The pod has ended.
    pub(super) fn end_resize(&mut self) {
        self.ctx.allocations.release(spec::uid(&self.pod));
        (self.state.resize.pending, self.state.resize.progress) = (None, None);
    }
}
