//! From a pod's creation to Running, and what the runtime alone takes for the same pods in the same run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::Cluster;
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{Table, percentile};

const IMAGE: &str = "skiff.local/hello:1";

/// Measures both ways.
pub fn measure(cluster: &Cluster, count: usize, table: &mut Table) -> Result<()> {
    let api = cluster.api()?;
    let client = api.client.clone();
    // The first pod of a cluster also makes the bridge.
    api.wait(batch(&client, "warm", 1)).context("a first pod")?;
    let mut alone = Vec::new();
    for n in 0..count {
        let time = api.wait(batch(&client, &format!("single-{n}"), 1))?;
        alone.push(time.as_secs_f64() * 1000.0);
    }
    table.row(
        &format!("pod from create to Running, one at a time, p50 / p99 of {count}"),
        format!("{:.0} / {:.0} ms", percentile(&alone, 0.5), percentile(&alone, 0.99)),
        "p50 < 500 ms",
    );
    // In turns, so that a disk's mood meets both.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let socket = cluster.runtime_socket();
    for round in 0..3 {
        ours.push(api.wait(batch(&client, &format!("burst-{round}"), count))?.as_secs_f64());
        theirs.push(api.wait(direct(socket.clone(), cluster, round, count))?.as_secs_f64());
    }
    let (ours, theirs) = (percentile(&ours, 0.5), percentile(&theirs, 0.5));
    table.row(
        &format!("{count} pods at once, until the last one is Running"),
        format!("{ours:.2} s; over CRI directly {theirs:.2} s; ratio {:.2}", ours / theirs),
        "ratio < 1.25",
    );
    Ok(())
}

/// Creates pods at once, waits until all run, removes them; tells the time to the last one.
async fn batch(client: &Client, name: &str, count: usize) -> Result<Duration> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let label = format!("bench={name}");
    let from =
        pods.list(&ListParams::default().labels(&label)).await?.metadata.resource_version.unwrap_or_default();
    let mut events = pods.watch(&WatchParams::default().labels(&label), &from).await?.boxed();
    let began = Instant::now();
    let mut created = JoinSet::new();
    for n in 0..count {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": format!("{name}-{n}"), "labels": {"bench": name}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "env": [{"name": "DRAIN_MS", "value": "0"}]}
            ]},
        }))?;
        let pods = pods.clone();
        created.spawn(async move { pods.create(&PostParams::default(), &pod).await });
    }
    while let Some(made) = created.join_next().await {
        made??;
    }
    let mut running = BTreeMap::new();
    let limit = tokio::time::timeout(Duration::from_secs(120), async {
        while running.len() < count {
            let event = events.try_next().await?.context("the watch has ended")?;
            if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
                if phase == Some("Running") {
                    running.insert(pod.metadata.name.clone().unwrap_or_default(), began.elapsed());
                }
            }
        }
        anyhow::Ok(())
    });
    limit.await.with_context(|| format!("{} of {count} run", running.len()))??;
    let took = running.values().max().copied().unwrap_or_default();
    let all = ListParams::default().labels(&label);
    for n in 0..count {
        pods.delete(&format!("{name}-{n}"), &DeleteParams::default()).await?;
    }
    tokio::time::timeout(Duration::from_secs(60), async {
        while !pods.list(&all).await?.items.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    })
    .await
    .context("pods are still being deleted")??;
    Ok(took)
}

/// The same pods as three calls each to the runtime.
async fn direct(socket: PathBuf, cluster: &Cluster, round: usize, count: usize) -> Result<Duration> {
    let endpoint = Endpoint::from_static("http://localhost");
    let channel: Channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    }));
    let runtime = RuntimeServiceClient::new(channel);
    quiet(runtime.clone()).await?;
    let logs = cluster.dir().join("direct");
    let began = Instant::now();
    let mut started = JoinSet::new();
    for n in 0..count {
        let config = v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: format!("direct-{n}"),
                uid: format!("direct-{round}-{n}"),
                namespace: "direct".into(),
                attempt: 0,
            }),
            hostname: format!("direct-{n}"),
            log_directory: logs.join(n.to_string()).display().to_string(),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}/direct-{round}-{n}", cluster.slot().name()),
                ..Default::default()
            }),
            ..Default::default()
        };
        started.spawn(one(runtime.clone(), config));
    }
    let mut sandboxes = Vec::new();
    while let Some(sandbox) = started.join_next().await {
        sandboxes.push(sandbox??);
    }
    let took = began.elapsed();
    for id in sandboxes {
        let mut runtime = runtime.clone();
        runtime.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await?;
        runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: id }).await?;
    }
    Ok(took)
}

/// Waits until the runtime has nothing left of what was measured before.
async fn quiet(mut runtime: RuntimeServiceClient<Channel>) -> Result<()> {
    let empty = async {
        while !runtime
            .list_pod_sandbox(v1::ListPodSandboxRequest::default())
            .await?
            .into_inner()
            .items
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), empty)
        .await
        .context("sandboxes of removed pods are left")?
}

async fn one(mut runtime: RuntimeServiceClient<Channel>, config: v1::PodSandboxConfig) -> Result<String> {
    let request = v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    let sandbox =
        runtime.run_pod_sandbox(request).await.context("RunPodSandbox")?.into_inner().pod_sandbox_id;
    let container = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: IMAGE.into(), ..Default::default() }),
        log_path: "c.log".into(),
        linux: Some(v1::LinuxContainerConfig::default()),
        ..Default::default()
    };
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: sandbox.clone(),
        config: Some(container),
        sandbox_config: Some(config),
    };
    let id = runtime.create_container(request).await.context("CreateContainer")?.into_inner().container_id;
    runtime
        .start_container(v1::StartContainerRequest { container_id: id })
        .await
        .context("StartContainer")?;
    Ok(sandbox)
}
