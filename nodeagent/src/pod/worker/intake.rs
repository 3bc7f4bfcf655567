//! Taking in what woke the worker: every wake-up and finished operation becomes a change of what is known.

use super::*;

impl Worker {
    pub(super) fn woken(&mut self, wakeup: Wakeup) {
        match wakeup {
            Wakeup::Ended(id) => self.ended(id),
            Wakeup::Resync => self.relist(),
            Wakeup::Sandbox(sandbox) => {
                if let Some(old) = self.state.sandbox.replace(sandbox) {
                    self.state.old_sandboxes.push(old.id);
                }
            }
            Wakeup::Created { id } => tracing::trace!(id, "container made"),
            Wakeup::Container(record) => self.put(*record),
            Wakeup::Waiting { name, waiting, pull_failed } => {
                self.failed_to_start(name, waiting, pull_failed)
            }
            Wakeup::Probe { id, kind, success } => self.probed(&id, kind, success),
        }
    }

    pub(super) fn relist(&mut self) {
        self.relist_at = None;
        let (ctx, uid) = (self.ctx.clone(), spec::uid(&self.pod).to_owned());
        self.jobs.spawn(async move { Done::Relist(kill::read_pod(&ctx, &uid).await) });
    }

    pub(super) fn ended(&mut self, id: String) {
        let ctx = self.ctx.clone();
        if self.state.sandbox.as_ref().is_some_and(|sandbox| sandbox.id == id) {
            self.jobs.spawn(async move {
                let mut delay = Duration::from_millis(5);
                for _ in 0..8 {
                    match ctx.runtime.sandbox_status(&id).await {
                        Ok(record) if record.ready => {}
                        Ok(record) => return Done::Sandbox(Some(record)),
                        Err(_) => return Done::Sandbox(None),
                    }
                    tokio::time::sleep(delay).await;
                    delay *= 2;
                }
                Done::Sandbox(None)
            });
        } else {
            self.jobs.spawn(async move {
                let record = kill::read_ended(&ctx, &id).await;
                Done::Read(id, record.map(Box::new))
            });
        }
    }

    pub(super) fn put(&mut self, record: ContainerRecord) {
        // A read that began earlier must not bring an ended container back to life.
        if self
            .state
            .by_id(&record.id)
            .is_some_and(|known| known.state == RunState::Exited && record.state != RunState::Exited)
        {
            return;
        }
        let name = record.name.clone();
        if record.started_at.is_some() && record.reason != "StartError" {
            self.state.waiting.remove(&name);
            self.state.retry_at.remove(&name);
            self.pull_failures.remove(&name);
        }
        if record.state != RunState::Running {
            let id = record.id.clone();
            self.state.probes.remove(&id);
            self.stop_probes(|known| known == id);
        }
        self.state.put(record);
        if let Some(records) = self.state.containers.get_mut(&name) {
            records.truncate(KEPT_RECORDS);
        }
        self.state.forget_gone();
    }

    pub(super) fn failed_to_start(&mut self, name: String, waiting: Waiting, pull_failed: bool) {
        let now = start::now();
        let ended = self.state.latest(&name).is_some_and(|record| record.state == RunState::Exited);
        if waiting.reason == "RunContainerError" && ended {
            // The container has ended, if only in vain: the back-off of restarts is what delays the next try.
            self.state.waiting.insert(name, waiting);
            return;
        }
        let retry = if pull_failed {
            self.pull_backoff.next(&name, now);
            let until = now + signed(self.pull_backoff.delay(&name));
            self.pull_failures.insert(name.clone(), (now, until));
            until
        } else {
            self.backoff.next(&name, now);
            // Configuration mistakes are looked at again soon: mending them costs the user one edit.
            now + signed(self.backoff.delay(&name).min(Duration::from_secs(10)))
        };
        self.state.retry_at.insert(name.clone(), retry);
        self.state.waiting.insert(name, waiting);
    }

    pub(super) fn probed(&mut self, id: &str, kind: ProbeKind, success: bool) {
        let Some(record) = self.state.by_id(id) else { return };
        let name = record.name.clone();
        let results = self.state.probes.entry(id.to_owned()).or_default();
        match (kind, success) {
            (ProbeKind::Readiness, _) => results.ready = Some(success),
            (ProbeKind::Startup, true) => results.started = true,
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                let spec = spec::spec(&self.pod);
                let grace = spec::find_container(&spec, &name)
                    .and_then(|(_, container)| kind.of(&container)?.termination_grace_period_seconds)
                    .and_then(|seconds| u64::try_from(seconds).ok());
                results.failed = Some(ProbeFailure { probe: kind.as_str(), grace });
            }
        }
    }

    pub(super) fn finished(&mut self, done: Done) {
        match done {
            Done::Round(outcome) => {
                self.round = None;
                if let Some(mounted) = outcome.mounted {
                    self.mount_done(mounted);
                }
                if outcome.failed {
                    self.round_retry_at = Some(start::now() + signed(self.round_delay));
                    self.round_delay = (self.round_delay * 2).min(ROUND_RETRY_MAX);
                } else {
                    self.round_delay = ROUND_RETRY;
                    self.round_retry_at = None;
                }
            }
            Done::Killed(id) => {
                self.killing.remove(&id);
                self.ended(id);
            }
            Done::Read(_, Some(record)) => self.put(*record),
            Done::Read(id, None) => {
                for records in self.state.containers.values_mut() {
                    records.retain(|record| record.id != id || record.state == RunState::Exited);
                }
            }
            Done::Sandbox(record) => match record {
                Some(record) => {
                    if self.state.sandbox.as_ref().is_some_and(|sandbox| sandbox.id == record.id) {
                        self.state.sandbox = Some(record);
                    }
                }
                None => {
                    if let Some(sandbox) = &mut self.state.sandbox {
                        sandbox.ready = false;
                    }
                }
            },
            Done::Nothing => {}
            Done::Resized(outcome) => self.resized(outcome),
            Done::Refreshed => {
                if self.stage == Stage::Running {
                    self.follow_volumes();
                }
            }
            Done::Relist(Ok(known)) => self.take(known),
            Done::Relist(Err(error)) => {
                tracing::debug!(%error, "cannot read a pod from the runtime, will be tried again");
                self.relist_at = Some(start::now() + SignedDuration::from_millis(500));
            }
            Done::PodKilled(Ok(known)) => {
                self.kill_pod = None;
                self.take(known);
                self.pod_ended();
            }
            Done::PodKilled(Err(error)) => {
                tracing::debug!(%error, pod = spec::name(&self.pod), "pod not ended, will be tried again");
                self.kill_pod = None;
                self.kill_retry_at = Some(start::now() + SignedDuration::from_secs(1));
            }
            Done::Removed(result) => {
                if let Err(error) = result {
                    tracing::debug!(%error, pod = spec::name(&self.pod), "left-overs will be tried again");
                    self.stage = Stage::Ended;
                    self.kill_retry_at = Some(start::now() + SignedDuration::from_secs(1));
                } else {
                    self.stage = Stage::Removing;
                    // Once more: the runtime may have been slow to leave its own cgroups below.
                    self.ctx.cgroups.remove(&self.pod);
                    self.remove_files();
                }
            }
        }
    }

    pub(super) fn take(&mut self, known: Known) {
        for record in known.containers.into_values().flatten().rev() {
            self.put(record);
        }
        if known.sandbox.is_some() {
            self.state.sandbox = known.sandbox.map(|mut sandbox| {
                if spec::host_network(&self.pod) {
                    sandbox.ips = vec![self.ctx.host.ip.clone()];
                }
                sandbox
            });
        } else if let Some(sandbox) = &mut self.state.sandbox {
            sandbox.ready = false;
        }
    }
}
