//! Taking down what agents have brought up: for `down`, not for a restart.

use super::*;
use crate::volumes::mounts;

/// Takes down everything an agent with this configuration has brought up: pods, containerd, mounts, cgroups,
/// links. Images and other data stay. Needs no API server.
pub async fn shutdown_all(config: &Config) -> Result<(), AgentError> {
    let owned = match &config.runtime_endpoint {
        Some(_) => None,
        None => Some(Containerd::find(config)?),
    };
    let socket = config.runtime_socket();
    if let Some(containerd) = &owned
        && !containerd.is_running()
        && config.run_dir.join("containerd").exists()
    {
        // Only containerd knows how to take its sandboxes and their networks apart.
        containerd.start().await?;
    }
    if socket.exists() {
        let runtime = CriRuntime::new(&socket);
        match runtime.list_sandboxes(None).await {
            Ok(sandboxes) => {
                futures::stream::iter(sandboxes)
                    .for_each_concurrent(16, |sandbox| remove_sandbox(&runtime, config, sandbox))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "sandboxes not removed"),
        }
    }
    if let Some(containerd) = &owned {
        containerd.stop().await;
    }
    // Before anything is unmounted: nobody uses it any more then.
    Cgroupfs::new(&config.cgroup_root).remove_all().await;
    let state = config.run_dir.join("containerd");
    if owned.is_some() {
        crate::volumes::remove_dir(&state);
        mounts::unmount_below(&config.data_dir.join("containerd"));
    }
    crate::volumes::remove_dir(&config.data_dir.join("pods"));
    cleanup::remove(&config.bridge, &config.data_dir.join("cni"), &state).await;
    Ok(())
}

async fn remove_sandbox(runtime: &CriRuntime, config: &Config, sandbox: k8s_cri::v1::PodSandbox) {
    for result in [runtime.stop_sandbox(&sandbox.id).await, runtime.remove_sandbox(&sandbox.id).await] {
        if let Err(error) = result {
            tracing::warn!(%error, "sandbox not removed");
        }
    }
    if let Some(metadata) = &sandbox.metadata {
        let name = format!("{}_{}_{}", metadata.namespace, metadata.name, metadata.uid);
        crate::volumes::remove_dir(&config.pod_log_dir.join(name));
    }
}
