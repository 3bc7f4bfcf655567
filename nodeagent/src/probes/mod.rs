//! Probes: one task per container and probe, with its own timer; the worker hears of crossed thresholds only.

pub mod grpc;
pub mod http;
pub mod tcp;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::sync::mpsc;

use crate::events::EventType;
use crate::pod::context::PodContext;
use crate::pod::spec::Kind;
use crate::pod::worker::Wakeup;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// Restarts the container when it fails.
    Liveness,
    /// Takes the pod out of its services while it fails.
    Readiness,
    /// Holds the other two back until it succeeds.
    Startup,
}

impl ProbeKind {
    /// As messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Startup => "startup",
        }
    }

    fn title(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
            ProbeKind::Startup => "Startup",
        }
    }

    /// This probe of a container.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
            ProbeKind::Startup => container.startup_probe.as_ref(),
        }
    }
}

/// What is probed.
pub struct Target {
    /// Shared things.
    pub ctx: Arc<PodContext>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container.
    pub container: Container,
    /// Its list.
    pub list: Kind,
    /// Its runtime id.
    pub id: String,
    /// The pod's address.
    pub ip: String,
    /// When it started.
    pub started_at: Timestamp,
}

/// Outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It answered well.
    Success,
    /// It answered badly, or not at all; with what it said.
    Failure(String),
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}

/// Probes until its task is aborted or a startup probe has decided.
pub async fn run(target: Target, kind: ProbeKind, worker: mpsc::Sender<Wakeup>) {
    let Some(probe) = kind.of(&target.container).cloned() else { return };
    let since_start = Timestamp::now().duration_since(target.started_at);
    let initial = seconds(probe.initial_delay_seconds, 0);
    tokio::time::sleep(initial.saturating_sub(Duration::try_from(since_start).unwrap_or_default())).await;
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let success_threshold = probe.success_threshold.unwrap_or(1).max(1);
    let failure_threshold = probe.failure_threshold.unwrap_or(3).max(1);
    // Readiness is false until the first success, the others count as well until they fail.
    let mut state = (kind == ProbeKind::Liveness).then_some(true);
    let mut run: (bool, i32) = (true, 0);
    loop {
        timer.tick().await;
        let success = match attempt(&target, &probe, timeout).await {
            Ok(Outcome::Success) => true,
            Ok(Outcome::Failure(output)) => {
                report(&target, format!("{} probe failed: {output}", kind.title()));
                false
            }
            Err(error) => {
                report(
                    &target,
                    format!("{} probe errored and resulted in unknown state: {error}", kind.title()),
                );
                false
            }
        };
        run = if run.0 == success { (success, run.1 + 1) } else { (success, 1) };
        let threshold = if success { success_threshold } else { failure_threshold };
        if run.1 < threshold || state == Some(success) {
            continue;
        }
        state = Some(success);
        let wakeup = Wakeup::Probe { id: target.id.clone(), kind, success };
        if worker.send(wakeup).await.is_err() || kind == ProbeKind::Startup {
            return;
        }
        if kind == ProbeKind::Liveness && !success {
            return;
        }
    }
}

fn report(target: &Target, message: String) {
    let (ctx, name) = (&target.ctx, &target.container.name);
    ctx.container_event(&target.pod, target.list, name, EventType::Warning, "Unhealthy", message);
}

async fn attempt(target: &Target, probe: &Probe, timeout: Duration) -> Result<Outcome, String> {
    if let Some(exec) = &probe.exec {
        return exec_probe(target, exec.command.clone().unwrap_or_default(), timeout).await;
    }
    if let Some(get) = &probe.http_get {
        let request = http::Request::new(&target.pod, &target.container, get, &target.ip, "kube-probe/1.36")?;
        return Ok(match request.send(timeout).await {
            Ok(status) if (200..400).contains(&status) => Outcome::Success,
            Ok(status) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
            Err(error) => Outcome::Failure(error),
        });
    }
    if let Some(socket) = &probe.tcp_socket {
        let port = port_of(&target.container, &socket.port)?;
        let host = socket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&target.ip);
        return Ok(tcp::probe(host, port, timeout).await);
    }
    if let Some(check) = &probe.grpc {
        let port = u16::try_from(check.port).map_err(|_| format!("invalid port {}", check.port))?;
        let service = check.service.clone().unwrap_or_default();
        return Ok(grpc::probe(&target.ip, port, service, timeout).await);
    }
    Err(format!("missing probe handler for {}", target.container.name))
}

async fn exec_probe(target: &Target, command: Vec<String>, timeout: Duration) -> Result<Outcome, String> {
    let shown = command.join(" ");
    let call = target.ctx.runtime.exec_sync(&target.id, command, timeout);
    match tokio::time::timeout(timeout + Duration::from_secs(1), call).await {
        Ok(Ok(output)) if output.exit_code == 0 => Ok(Outcome::Success),
        Ok(Ok(output)) => {
            let mut text = output.stdout;
            text.extend_from_slice(&output.stderr);
            text.truncate(10 * 1024);
            Ok(Outcome::Failure(String::from_utf8_lossy(&text).into_owned()))
        }
        Ok(Err(error)) if error.code == tonic::Code::DeadlineExceeded => Ok(Outcome::Failure(format!(
            "command timed out: {shown:?} timed out after {}s",
            timeout.as_secs()
        ))),
        Ok(Err(error)) => Err(error.message),
        Err(_) => Ok(Outcome::Failure(format!(
            "command timed out: {shown:?} timed out after {}s",
            timeout.as_secs()
        ))),
    }
}

/// A port given by number or by the name of one of the container's ports.
pub fn port_of(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("invalid port number: {port:?}"))
}
