//! Workers over the runtime in memory and an API server that says yes to everything and remembers what it was asked.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::cgroups::NoCgroups;
use crate::config::Config;
use crate::events::Recorder;
use crate::images::pull::ImagePuller;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::pod::registry::Registry;
use crate::pod::resize::amounts::Totals;
use crate::pod::resize::node::NodeAllocations;
use crate::pod::service_env::ServiceEnv;
use crate::pod::status::Host;
use crate::pod::status_writer::StatusWriter;
use crate::runtime::fake::FakeRuntime;
use crate::volumes::NoVolumes;

#[path = "worker_resize_tests.rs"]
mod resizing;

type Requests = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

struct World {
    ctx: Arc<PodContext>,
    runtime: FakeRuntime,
    requests: Requests,
    changed: watch::Receiver<u64>,
    events: mpsc::Receiver<crate::events::Report>,
}

/// A client whose server answers every request with an empty object.
fn client(requests: Requests, changed: watch::Sender<u64>) -> kube::Client {
    let changed = Arc::new(changed);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (requests, changed) = (requests.clone(), changed.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let value = serde_json::from_slice(&body).unwrap_or_default();
            requests.lock().push((format!("{} {}", head.method, head.uri.path()), value));
            changed.send_modify(|count| *count += 1);
            let answer = Bytes::from_static(
                br#"{"metadata":{"name":"x"},"spec":{"containers":[]},"involvedObject":{}}"#,
            );
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(answer)))
        }
    });
    kube::Client::new(service, "default")
}

fn world(runtime: (FakeRuntime, mpsc::Receiver<crate::runtime::RuntimeEvent>)) -> World {
    let world = starting(runtime);
    world.ctx.allocations.open();
    world
}

/// A world whose agent does not know all its pods yet.
fn starting(runtime: (FakeRuntime, mpsc::Receiver<crate::runtime::RuntimeEvent>)) -> World {
    let (runtime, mut events) = runtime;
    let requests: Requests = Arc::default();
    let (sender, changed) = watch::channel(0);
    let client = client(requests.clone(), sender);
    let config = Config {
        backoff_base: Duration::from_millis(20),
        ..Config::new("n", std::net::IpAddr::from([127, 0, 0, 1]), client.clone())
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let services = ServiceEnv::new(None);
    services.assume_synced();
    let registry = Arc::new(Registry::default());
    let allocations = NodeAllocations::new(Totals { cpu: 1000, memory: 1 << 30 });
    let (recorder, reports) = Recorder::new();
    let ctx = Arc::new(PodContext {
        runtime: Arc::new(runtime.clone()),
        recorder,
        objects: Objects::new(client.clone()),
        volumes: Arc::new(NoVolumes),
        cgroups: Arc::new(NoCgroups),
        host_ports: None,
        puller: ImagePuller::default(),
        status: StatusWriter::new(client, tasks.clone(), stop.clone()),
        services,
        registry,
        allocations: Arc::new(allocations),
        metrics: Arc::new(Metrics::default()),
        host: Host { ip: "192.0.2.1".into(), runtime: "fake".into() },
        cpu_milli: 1000,
        memory: 1 << 30,
        files: false,
        tasks,
        stop,
        config,
    });
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    World { ctx, runtime, requests, changed, events: reports }
}

impl World {
    /// Waits until the API has been asked something that fits.
    async fn asked(&mut self, what: impl Fn(&str, &serde_json::Value) -> bool) {
        let wait = async {
            loop {
                self.changed.borrow_and_update();
                if self.requests.lock().iter().any(|(line, body)| what(line, body)) {
                    return;
                }
                self.changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), wait).await.is_err() {
            panic!("not asked; requests: {:#?}\ncalls: {:?}", self.requests.lock(), self.runtime.calls());
        }
    }

    async fn phase(&mut self, phase: &str) {
        self.asked(|line, body| line.starts_with("PATCH") && body["status"]["phase"] == phase).await;
    }

    fn count(&self, call: &str) -> usize {
        self.runtime.calls().iter().filter(|known| known.starts_with(call)).count()
    }
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1"},
        "spec": {
            "restartPolicy": policy, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "a", "image": "i:1"}],
        },
    }))
    .unwrap()
}

fn deleted(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
    pod.metadata.deletion_grace_period_seconds = Some(1);
    pod
}

#[tokio::test]
async fn a_pod_is_started_reported_and_taken_away() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, Arc::new(pod("Always")), Known::default());
    world.phase("Running").await;
    assert_eq!(world.count("CreateContainer"), 1);
    let gone = Arc::new(deleted(pod("Always")));
    handle.updates.send_replace(Update { pod: gone.clone(), removed: false });
    world
        .asked(|line, body| {
            line == "DELETE /api/v1/namespaces/ns/pods/p"
                && body["gracePeriodSeconds"] == 0
                && body["preconditions"]["uid"] == "u1"
        })
        .await;
    assert_eq!(world.count("StopContainer"), 1);
    assert_eq!(world.count("RemovePodSandbox"), 0);
    handle.updates.send_replace(Update { pod: gone, removed: true });
    // The manager lets go at once; the worker still cleans up.
    let wakeups = handle.wakeups.clone();
    drop(handle);
    tokio::time::timeout(Duration::from_secs(10), wakeups.closed()).await.unwrap();
    assert_eq!(world.count("RemovePodSandbox"), 1);
}

#[tokio::test]
async fn a_new_worker_takes_over_what_runs() {
    let mut world = world(FakeRuntime::new());
    let first = spawn(&world.ctx, Arc::new(pod("Always")), Known::default());
    world.phase("Running").await;
    drop(first);
    let known = kill::read_pod(&world.ctx, "u1").await.unwrap();
    world.requests.lock().clear();
    let _second = spawn(&world.ctx, Arc::new(pod("Always")), known);
    world.ctx.status.forget("u1");
    let state = world.ctx.registry.get("ns", "p").unwrap().state.borrow().clone();
    assert_eq!(state.latest("a").unwrap().state, RunState::Running);
    assert_eq!((world.count("RunPodSandbox"), world.count("CreateContainer")), (1, 1));
}

#[tokio::test]
async fn a_container_that_ends_is_started_again_with_its_count() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, Arc::new(pod("Always")), Known::default());
    world.phase("Running").await;
    world.runtime.exit("a", 3);
    let id = world.runtime.list_running().pop().unwrap_or_default();
    assert!(id.is_empty());
    let ended = world.ctx.registry.get("ns", "p").unwrap().state.borrow().latest("a").unwrap().id.clone();
    handle.wakeups.send(Wakeup::Ended(ended)).await.unwrap();
    world
        .asked(|_, body| {
            let status = &body["status"]["containerStatuses"][0];
            status["restartCount"] == 1 && status["lastState"]["terminated"]["exitCode"] == 3
        })
        .await;
}

#[tokio::test]
async fn a_pod_that_is_done_has_succeeded() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, Arc::new(pod("Never")), Known::default());
    world.phase("Running").await;
    world.runtime.exit("a", 0);
    let ended = world.ctx.registry.get("ns", "p").unwrap().state.borrow().latest("a").unwrap().id.clone();
    handle.wakeups.send(Wakeup::Ended(ended)).await.unwrap();
    world.phase("Succeeded").await;
    assert_eq!(world.count("StopPodSandbox"), 1);
    assert_eq!(world.count("CreateContainer"), 1);
}

#[tokio::test]
async fn a_failed_pull_is_reported_and_repeated() {
    let mut world = world(FakeRuntime::without_images());
    world.runtime.fail("PullImage", Some("no such host"));
    let _handle = spawn(&world.ctx, Arc::new(pod("Always")), Known::default());
    world
        .asked(|_, body| {
            let waiting = &body["status"]["containerStatuses"][0]["state"]["waiting"];
            waiting["reason"] == "ErrImagePull" && waiting["message"] == "no such host"
        })
        .await;
    world.runtime.fail("PullImage", None);
    world.phase("Running").await;
}
