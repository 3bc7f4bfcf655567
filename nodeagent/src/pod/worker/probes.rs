//! Which probes run: the startup probe first, the others once the container has started, none when it has ended.

use super::*;
use crate::probes::{self as prober, ProbeKind};

impl Worker {
    pub(super) fn run_probes(&mut self) {
        let spec = spec::spec(&self.pod).into_owned();
        let ip = self.ips().into_iter().next().unwrap_or_default();
        for (kind, container) in spec::all_containers(&spec) {
            let Some(record) = self.state.latest(&container.name) else { continue };
            if record.state != RunState::Running {
                continue;
            }
            let (id, started_at) = (record.id.clone(), record.started_at);
            let started = self.state.started(record, container.startup_probe.is_some());
            for probe_kind in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
                let wanted =
                    started != (probe_kind == ProbeKind::Startup) && probe_kind.of(&container).is_some();
                let key = (id.clone(), probe_kind);
                if !wanted {
                    if let Some(task) = self.probes.remove(&key) {
                        task.abort();
                    }
                    continue;
                }
                if self.probes.contains_key(&key) {
                    continue;
                }
                let target = prober::Target {
                    ctx: self.ctx.clone(),
                    pod: self.pod.clone(),
                    container: container.clone().into_owned(),
                    list: kind,
                    id: id.clone(),
                    ip: ip.clone(),
                    started_at: started_at.unwrap_or_default(),
                };
                let worker = self.wakeups.clone();
                let task = self.jobs.spawn(async move {
                    prober::run(target, probe_kind, worker).await;
                    std::future::pending::<Done>().await
                });
                self.probes.insert(key, task);
            }
        }
    }

    pub(super) fn stop_probes(&mut self, which: impl Fn(&str) -> bool) {
        self.probes.retain(|(id, _), task| {
            let stop = which(id);
            if stop {
                task.abort();
            }
            !stop
        });
    }
}
