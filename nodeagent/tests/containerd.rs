//! The parts that need a real containerd. Skipped, saying why, without root or without the programs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use k8s_cri::v1;
use nodeagent::agent::shutdown_all;
use nodeagent::images::oci_archive::{File, Image};
use nodeagent::images::{import::import_bytes, pause};
use nodeagent::runtime::containerd::Containerd;
use nodeagent::runtime::cri::CriRuntime;
use nodeagent::runtime::{ContainerRuntime, RunState, RuntimeEvent, events, labels};
use nodeagent::{Config, build};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A configuration with everything below one directory; its API server answers nothing useful.
fn config(dir: &Path) -> Config {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        let answer = http::Response::builder().status(503).body(Full::new(Bytes::new()));
        Ok::<_, std::convert::Infallible>(answer.unwrap_or_default())
    });
    let id = std::process::id();
    Config {
        data_dir: dir.join("data"),
        run_dir: dir.join("run"),
        pod_log_dir: dir.join("logs"),
        cgroup_root: format!("skiff-test-{id}"),
        bridge: format!("skt{id}"),
        listen: None,
        pod_cidr: Some("10.253.0.0/24".into()),
        ..Config::new("test", IpAddr::from([127, 0, 0, 1]), kube::Client::new(service, "default"))
    }
}

fn runnable(config: &Config) -> Option<Containerd> {
    if !nix::unistd::Uid::effective().is_root() {
        api_types::testing::skipped("this needs root");
        return None;
    }
    Containerd::find(config).inspect_err(|error| api_types::testing::skipped(error)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_containerd_runs_a_container_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let Some(containerd) = runnable(&config) else { return };
    let body = tokio::spawn(run_a_container(containerd.clone(), config.clone(), dir.path().to_owned())).await;
    // Also after a failure nothing stays behind.
    shutdown_all(&config).await.unwrap();
    body.unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&dir.path().display().to_string()), "{mounts}");
    assert!(!containerd.is_running());
}

async fn run_a_container(containerd: Containerd, config: Config, dir: PathBuf) {
    containerd.start().await.unwrap();
    let socket = config.runtime_socket();
    import_bytes(&socket, "pause", &pause::archive().unwrap()).await.unwrap();
    let runtime = CriRuntime::new(&socket);
    let image = Image {
        name: "skiff.local/test:1".into(),
        files: vec![File::directory("tmp", 0o777)],
        ..Image::default()
    };
    let names = import_bytes(&socket, "test", &image.to_archive().unwrap()).await.unwrap();
    assert_eq!(names, ["skiff.local/test:1"]);
    assert!(runtime.image("skiff.local/test:1").await.unwrap().is_some());

    let (sink, mut seen) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let stream = tokio::spawn(events::run(socket.clone(), runtime.clone(), sink, stop.clone()));
    assert_eq!(next(&mut seen).await, RuntimeEvent::Resync);
    // The pause program itself is the test's container: it runs until it is told to end.
    let node = v1::NamespaceMode::Node as i32;
    let sandbox_config = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: "p".into(),
            uid: "u".into(),
            namespace: "n".into(),
            attempt: 0,
        }),
        log_directory: dir.join("logs").display().to_string(),
        labels: [(labels::POD_UID.to_owned(), "u".to_owned())].into(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: format!("/{}/podu", config.cgroup_root),
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(v1::NamespaceOption { network: node, ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let sandbox = runtime.run_sandbox(sandbox_config.clone()).await.unwrap();
    assert!(runtime.sandbox_status(&sandbox).await.unwrap().ready);
    let container_config = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: pause::image_name(), ..Default::default() }),
        log_path: "c.log".into(),
        ..Default::default()
    };
    let container = runtime.create_container(&sandbox, container_config, sandbox_config).await.unwrap();
    runtime.start_container(&container).await.unwrap();
    assert_eq!(runtime.container_status(&container).await.unwrap().state, RunState::Running);
    runtime.stop_container(&container, Duration::from_secs(5)).await.unwrap();
    loop {
        if next(&mut seen).await == (RuntimeEvent::Exited { id: container.clone() }) {
            break;
        }
    }
    // It ends by itself when told to, or by the signal, where that came before it had begun to listen.
    let code = runtime.container_status(&container).await.unwrap().exit_code;
    assert!([0, 128 + 15].contains(&code), "{code}");
    stop.cancel();
    stream.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stops_leaves_containerd_running_and_the_next_adopts_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let Some(containerd) = runnable(&config) else { return };
    let pid = || std::fs::read_to_string(dir.path().join("run/containerd/containerd.pid")).unwrap();
    let mut pids = Vec::new();
    for _ in 0..2 {
        let agent = build(config.clone()).await.unwrap();
        let mut state = agent.state();
        let stop = CancellationToken::new();
        let running = tokio::spawn(agent.run(stop.clone()));
        let up = state.wait_for(|state| state.runtime_up);
        tokio::time::timeout(Duration::from_secs(30), up).await.unwrap().unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(containerd.is_running());
        pids.push(pid());
    }
    assert_eq!(pids[0], pids[1]);
    shutdown_all(&config).await.unwrap();
    assert!(!containerd.is_running());
}

async fn next(seen: &mut mpsc::Receiver<RuntimeEvent>) -> RuntimeEvent {
    tokio::time::timeout(Duration::from_secs(10), seen.recv()).await.unwrap().unwrap()
}
