//! Carries out the planner's steps for one pod: volumes, sandbox, containers in order. Tells the worker of every
//! stage as it is reached; a failure of one container does not keep the next from being tried.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::mpsc;

use super::container_config::{Input, container_config};
use super::context::PodContext;
use super::plan::Steps;
use super::spec::{self, Kind};
use super::state::{PodState, Waiting};
use super::worker::Wakeup;
use super::{hooks, hosts, kill, resize, sandbox_config};
use crate::events::EventType;
use crate::network::host_ports;
use crate::runtime::{RunState, SandboxRecord};
use crate::volumes::Mounted;

/// How a round of steps ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Volumes that are mounted now.
    pub mounted: Option<Arc<Mounted>>,
    /// The round stopped before its containers (volumes, sandbox): everything has to be tried again.
    pub failed: bool,
}

/// One round of steps.
pub struct Round {
    /// Shared things.
    pub ctx: Arc<PodContext>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// What to do.
    pub steps: Steps,
    /// What was known when it was planned.
    pub state: PodState,
    /// Volumes mounted before.
    pub mounted: Option<Arc<Mounted>>,
    /// The worker.
    pub worker: mpsc::Sender<Wakeup>,
}

impl Round {
    async fn tell(&self, wakeup: Wakeup) {
        if self.worker.send(wakeup).await.is_err() {
            tracing::debug!(pod = spec::name(&self.pod), "the pod's worker has ended");
        }
    }

    /// Does the round.
    pub async fn run(self) -> Outcome {
        let mut outcome = Outcome { mounted: self.mounted.clone(), failed: true };
        let mounted = match &self.mounted {
            Some(mounted) => mounted.clone(),
            None => match self.ctx.volumes.mount(&self.pod, &self.ctx.facts(self.ips())).await {
                Ok(mounted) => Arc::new(mounted),
                Err(errors) => {
                    for error in errors {
                        self.ctx.pod_event(&self.pod, EventType::Warning, "FailedMount", error.to_string());
                    }
                    return outcome;
                }
            },
        };
        outcome.mounted = Some(mounted.clone());
        let limits = resize::plan::safe_limits(&spec::spec(&self.pod), &self.state);
        let cgroup_parent = match self.ctx.cgroups.create(&self.pod, &limits) {
            Ok(parent) => parent,
            Err(error) => {
                let message = format!("error: {error}: {}", error.cause());
                self.ctx.pod_event(&self.pod, EventType::Warning, "FailedCreatePodContainer", message);
                return outcome;
            }
        };
        let attempt = self.steps.sandbox.or(self.state.sandbox.as_ref().map(|s| s.attempt)).unwrap_or(0);
        let config = sandbox_config::sandbox_config(&self.ctx.config, &self.pod, attempt, &cgroup_parent);
        let sandbox = match (&self.state.sandbox, self.steps.sandbox) {
            (Some(sandbox), None) => sandbox.clone(),
            (old, _) => match self.sandbox(old.as_ref(), config.clone()).await {
                Some(sandbox) => sandbox,
                None => return outcome,
            },
        };
        outcome.failed = false;
        for name in &self.steps.start {
            let spec = spec::spec(&self.pod);
            let Some((kind, container)) = spec::find_container(&spec, name) else { continue };
            self.container(kind, &container, &sandbox, &config, &mounted).await;
        }
        outcome
    }

    fn ips(&self) -> Vec<String> {
        self.state.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }

    async fn sandbox(
        &self,
        old: Option<&SandboxRecord>,
        config: v1::PodSandboxConfig,
    ) -> Option<SandboxRecord> {
        if let Some(old) = old {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.ctx.pod_event(&self.pod, EventType::Normal, "SandboxChanged", message);
            let grace = std::time::Duration::from_secs(spec::grace_seconds(&self.pod));
            if let Err(error) = kill::kill_pod(&self.ctx, &self.pod, grace, true).await {
                tracing::debug!(%error, sandbox = old.id, "cannot stop the old sandbox");
            }
        }
        if self.ctx.files
            && let Err(error) = std::fs::create_dir_all(&config.log_directory)
        {
            tracing::warn!(%error, path = config.log_directory, "cannot make a log directory");
        }
        let made = match self.ctx.runtime.run_sandbox(config).await {
            Ok(id) => self.ctx.runtime.sandbox_status(&id).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(mut sandbox) => {
                if spec::host_network(&self.pod) {
                    sandbox.ips = vec![self.ctx.host.ip.clone()];
                }
                if let Err(error) = open_host_ports(&self.ctx, &self.pod, &sandbox).await {
                    let message = format!("Failed to open host ports: {error}");
                    self.ctx.pod_event(&self.pod, EventType::Warning, "FailedHostPorts", message);
                }
                self.tell(Wakeup::Sandbox(sandbox.clone())).await;
                Some(sandbox)
            }
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {}", error.message);
                self.ctx.pod_event(&self.pod, EventType::Warning, "FailedCreatePodSandBox", message);
                None
            }
        }
    }

    async fn waiting(&self, name: &str, reason: &str, message: String, pull_failed: bool) {
        let waiting = Waiting::new(reason, message);
        self.tell(Wakeup::Waiting { name: name.to_owned(), waiting, pull_failed }).await;
    }

    async fn container(
        &self,
        kind: Kind,
        container: &Container,
        sandbox: &SandboxRecord,
        sandbox_config: &v1::PodSandboxConfig,
        mounted: &Mounted,
    ) {
        let (ctx, pod, name) = (&self.ctx, &*self.pod, &container.name);
        let event = |type_, reason: &str, message: String| {
            ctx.container_event(pod, kind, name, type_, reason, message);
        };
        let image = match ctx.puller.ensure(ctx, pod, kind, container, sandbox_config).await {
            Ok(image) => image,
            Err(error) => {
                return self.waiting(name, &error.waiting.reason, error.waiting.message, error.tried).await;
            }
        };
        let attempt = self.attempt(name);
        self.remove_older(name).await;
        let hosts_file = self.hosts_file(sandbox);
        let facts = ctx.facts(sandbox.ips.clone());
        let input = Input {
            pod,
            container,
            attempt,
            image: &image,
            volumes: mounted,
            facts: &facts,
            hosts_file: hosts_file.as_deref(),
        };
        let config = match container_config(ctx, input).await {
            Ok(config) => config,
            Err(message) => {
                event(EventType::Warning, "Failed", format!("Error: {message}"));
                return self.waiting(name, "CreateContainerConfigError", message, false).await;
            }
        };
        let id = match ctx.runtime.create_container(&sandbox.id, config, sandbox_config.clone()).await {
            Ok(id) => id,
            Err(error) => {
                event(EventType::Warning, "Failed", format!("Error: {}", error.message));
                return self.waiting(name, "CreateContainerError", error.message, false).await;
            }
        };
        event(EventType::Normal, "Created", "Container created".to_owned());
        self.tell(Wakeup::Created { id: id.clone() }).await;
        if let Err(error) = ctx.runtime.start_container(&id).await {
            event(EventType::Warning, "Failed", format!("Error: {}", error.message));
            if let Ok(record) = kill::read_container(ctx, &id).await {
                self.tell(Wakeup::Container(Box::new(record))).await;
            }
            return self.waiting(name, "RunContainerError", error.message, false).await;
        }
        event(EventType::Normal, "Started", "Container started".to_owned());
        ctx.metrics.containers_started.inc();
        match kill::read_container(ctx, &id).await {
            Ok(record) => self.tell(Wakeup::Container(Box::new(record))).await,
            Err(error) => tracing::debug!(%error, container = name, "cannot read a container just started"),
        }
        self.post_start(kind, container, &id, sandbox).await;
    }

    async fn post_start(&self, kind: Kind, container: &Container, id: &str, sandbox: &SandboxRecord) {
        let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref())
        else {
            return;
        };
        let ip = sandbox.ips.first().map(String::as_str);
        if let Err(error) = hooks::run(&self.ctx, &self.pod, container, id, ip, hook).await {
            tracing::debug!(error, container = container.name, "postStart hook failed");
            let event = |reason, message| {
                self.ctx.container_event(
                    &self.pod,
                    kind,
                    &container.name,
                    EventType::Warning,
                    reason,
                    message,
                );
            };
            event("FailedPostStartHook", "PostStartHook failed");
            let grace = std::time::Duration::from_secs(spec::grace_seconds(&self.pod));
            let message = "FailedPostStartHook".to_owned();
            if let Err(error) =
                kill::kill_container(&self.ctx, &self.pod, id, &container.name, message, grace, true).await
            {
                tracing::debug!(%error, container = container.name, "cannot end a container after its hook");
            }
        }
    }

    /// The restart count of the container about to be made.
    fn attempt(&self, name: &str) -> u32 {
        if let Some(record) = self.state.latest(name) {
            // A container that was made but never tried to run is made again under the same number.
            return if record.state == RunState::Created { record.attempt } else { record.attempt + 1 };
        }
        let status = self.pod.status.as_ref();
        let statuses = status.into_iter().flat_map(|status| {
            status.container_statuses.iter().chain(&status.init_container_statuses).flatten()
        });
        let known = statuses
            .filter(|status| status.name == name && status.container_id.is_some())
            .map(|status| u32::try_from(status.restart_count).unwrap_or(0) + 1);
        known.max().unwrap_or(0)
    }

    /// Keeps the newest ended container (its log is `--previous`), removes what is older.
    async fn remove_older(&self, name: &str) {
        let Some(records) = self.state.containers.get(name) else { return };
        let keep = usize::from(records.first().is_some_and(|record| record.state != RunState::Created));
        for record in records.iter().skip(keep) {
            if let Err(error) = self.ctx.runtime.remove_container(&record.id).await {
                tracing::debug!(%error, "cannot remove an old container");
            }
            if self.ctx.files && !record.log_path.is_empty() {
                crate::logs::rotate::remove_with_rotated(record.log_path.as_ref());
            }
        }
    }

    /// Writes the pod's /etc/hosts; containers share it.
    fn hosts_file(&self, sandbox: &SandboxRecord) -> Option<PathBuf> {
        if !self.ctx.files {
            return None;
        }
        let path = self.ctx.config.pod_dir(spec::uid(&self.pod)).join("etc-hosts");
        let host = if spec::host_network(&self.pod) {
            std::fs::read_to_string("/etc/hosts").unwrap_or_default()
        } else {
            String::new()
        };
        let (name, domain) = hosts::names(&self.pod, &self.ctx.config.cluster_domain);
        let text = hosts::file(&self.pod, &sandbox.ips, &name, domain.as_deref(), &host);
        // Rewritten only when it differs: a running container has it mounted.
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Some(path);
        }
        match std::fs::write(&path, text) {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot write a pod's hosts file");
                None
            }
        }
    }
}

/// Makes the node's ports lead to the pod.
pub async fn open_host_ports(
    ctx: &PodContext,
    pod: &Pod,
    sandbox: &SandboxRecord,
) -> Result<(), crate::network::masquerade::NftError> {
    let (Some(ports), Some(ip)) = (&ctx.host_ports, sandbox.ips.first()) else { return Ok(()) };
    ports.set(spec::uid(pod), host_ports::mappings(pod, ip)).await
}

/// The message of a container waiting for its restart.
pub fn crash_loop_message(pod: &Pod, container: &str, delay: std::time::Duration) -> String {
    format!(
        "back-off {} restarting failed container={container} pod={}",
        go_duration(delay),
        spec::display(pod)
    )
}

/// A duration as upstream's messages show it: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) if seconds == 0 => format!("{}ms", duration.as_millis()),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Now; the one place workers take the time from.
pub fn now() -> Timestamp {
    Timestamp::now()
}
