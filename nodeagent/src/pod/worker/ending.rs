//! The end of a pod: nothing is started any more, everything is killed, then what the node gave it is taken back.

use super::*;

impl Worker {
    /// Begins the end of the pod.
    pub(super) fn end_pod(&mut self) {
        if let Some(round) = self.round.take() {
            round.abort();
        }
        self.stop_probes(|_| true);
        if let Some(task) = self.volume_task.take() {
            task.abort();
        }
        let grace = spec::grace_seconds(&self.pod);
        self.stage = Stage::Ending(grace);
        self.spawn_kill_pod(grace, true);
    }

    pub(super) fn spawn_kill_pod(&mut self, grace: u64, pre_stop: bool) {
        let (ctx, pod) = (self.ctx.clone(), self.pod.clone());
        self.kill_retry_at = None;
        self.kill_pod = Some(self.jobs.spawn(async move {
            let grace = Duration::from_secs(grace);
            Done::PodKilled(kill::kill_pod(&ctx, &pod, grace, pre_stop).await)
        }));
    }

    pub(super) fn pod_ended(&mut self) {
        self.stage = Stage::Ended;
        self.end_resize();
        self.state.terminated = true;
        self.state.waiting.clear();
        if let Some(sandbox) = &mut self.state.sandbox {
            sandbox.ready = false;
        }
        let uid = spec::uid(&self.pod);
        self.ctx.volumes.unmount(uid);
        self.ctx.cgroups.remove(&self.pod);
        if let Some(ports) = self.ctx.host_ports.clone() {
            let uid = uid.to_owned();
            // Not a job of the worker: it has to be done even if the worker ends before.
            self.ctx.tasks.spawn(async move {
                if let Err(error) = ports.set(&uid, Vec::new()).await {
                    tracing::warn!(%error, uid, "host ports not closed");
                }
            });
        }
        self.mounted = None;
    }
}
