//! Lifecycle hooks: commands, HTTP requests and pauses around a container's life.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use super::context::PodContext;
use crate::probes::http;

const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs a hook in (or against) a running container.
pub async fn run(
    ctx: &PodContext,
    pod: &Pod,
    container: &Container,
    id: &str,
    pod_ip: Option<&str>,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let shown = command.join(" ");
        let output = ctx.runtime.exec_sync(id, command, LIMIT).await.map_err(|error| error.message)?;
        if output.exit_code == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("command '{shown}' exited with {}: {text}", output.exit_code));
    }
    if let Some(get) = &hook.http_get {
        let request =
            http::Request::new(pod, container, get, pod_ip.unwrap_or_default(), "kube-lifecycle/1.36")?;
        return request.send(Duration::from_secs(30)).await.map(drop);
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}
