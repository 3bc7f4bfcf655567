//! A runtime in memory: records the calls made to it; containers run until told to end. For unit tests and for
//! hollow nodes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_cri::v1;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    ContainerRecord, ContainerRuntime, ExecOutput, RuntimeError, RuntimeEvent, SandboxRecord, labels,
};

#[derive(Default)]
struct World {
    next: u64,
    sandboxes: BTreeMap<String, (v1::PodSandboxConfig, bool, i64)>,
    containers: BTreeMap<String, v1::ContainerStatus>,
    owners: HashMap<String, String>,
    images: BTreeMap<String, v1::Image>,
    calls: Vec<String>,
    failures: HashMap<&'static str, String>,
    last_time: i64,
    /// Memory used by containers of these names.
    memory: HashMap<String, u64>,
    /// Exit code of containers that are stopped.
    stopped: Option<i32>,
    /// Told of every call.
    called: watch::Sender<()>,
}

impl World {
    fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}-{}", self.next)
    }

    /// Times never repeat, so that what is newer can be told from what is older.
    fn now(&mut self) -> i64 {
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
        self.last_time = now.max(self.last_time + 1);
        self.last_time
    }
}

/// The runtime.
#[derive(Clone)]
pub struct FakeRuntime {
    world: Arc<Mutex<World>>,
    events: mpsc::Sender<RuntimeEvent>,
    any_image: bool,
}

type Result<T> = std::result::Result<T, RuntimeError>;

fn error(operation: &'static str, object: &str, code: tonic::Code, message: &str) -> RuntimeError {
    RuntimeError { operation, object: object.to_owned(), code, message: message.to_owned() }
}

impl FakeRuntime {
    /// A runtime that has every image, and its events.
    pub fn new() -> (FakeRuntime, mpsc::Receiver<RuntimeEvent>) {
        let (events, receiver) = mpsc::channel(1024);
        (FakeRuntime { world: Arc::default(), events, any_image: true }, receiver)
    }

    /// A runtime that has only the images it is given or pulls.
    pub fn without_images() -> (FakeRuntime, mpsc::Receiver<RuntimeEvent>) {
        let (mut runtime, receiver) = FakeRuntime::new();
        runtime.any_image = false;
        (runtime, receiver)
    }

    /// The calls that changed something, in order, as `Operation name`.
    pub fn calls(&self) -> Vec<String> {
        self.world.lock().calls.clone()
    }

    /// Makes an operation fail with this message; `None` makes it work again.
    pub fn fail(&self, operation: &'static str, message: Option<&str>) {
        let mut world = self.world.lock();
        match message {
            Some(message) => world.failures.insert(operation, message.to_owned()),
            None => world.failures.remove(operation),
        };
    }

    /// Ends the running container of that name with an exit code.
    pub fn exit(&self, name: &str, code: i32) {
        let ended = {
            let mut world = self.world.lock();
            let now = world.now();
            let running = v1::ContainerState::ContainerRunning as i32;
            let found = world.containers.values_mut().find(|status| {
                status.state == running
                    && status.labels.get(labels::CONTAINER_NAME).is_some_and(|known| known == name)
            });
            found.map(|status| {
                status.state = v1::ContainerState::ContainerExited as i32;
                status.finished_at = now;
                status.exit_code = code;
                status.id.clone()
            })
        };
        if let Some(id) = ended {
            self.send(RuntimeEvent::Exited { id });
        }
    }

    /// Lets containers of that name use this much memory.
    pub fn use_memory(&self, name: &str, bytes: u64) {
        self.world.lock().memory.insert(name.to_owned(), bytes);
    }

    /// Lets containers that are stopped end with this code.
    pub fn stop_with(&self, code: i32) {
        self.world.lock().stopped = Some(code);
    }

    /// Changes with every call.
    pub fn called(&self) -> watch::Receiver<()> {
        self.world.lock().called.subscribe()
    }

    /// Ids of the running containers.
    pub fn list_running(&self) -> Vec<String> {
        let running = v1::ContainerState::ContainerRunning as i32;
        let world = self.world.lock();
        world
            .containers
            .values()
            .filter(|status| status.state == running)
            .map(|status| status.id.clone())
            .collect()
    }

    fn send(&self, event: RuntimeEvent) {
        if let Err(error) = self.events.try_send(event) {
            tracing::debug!(%error, "fake runtime event dropped");
        }
    }

    fn note(&self, operation: &'static str, object: &str) -> Result<()> {
        let mut world = self.world.lock();
        world.calls.push(format!("{operation} {object}"));
        world.called.send_replace(());
        match world.failures.get(operation) {
            Some(message) => Err(error(operation, object, tonic::Code::Unknown, message)),
            None => Ok(()),
        }
    }

    fn end(&self, id: &str, code: i32) {
        let ended = {
            let mut world = self.world.lock();
            let now = world.now();
            let running = v1::ContainerState::ContainerRunning as i32;
            world.containers.get_mut(id).filter(|status| status.state == running).map(|status| {
                status.state = v1::ContainerState::ContainerExited as i32;
                status.finished_at = now;
                status.exit_code = code;
            })
        };
        if ended.is_some() {
            self.send(RuntimeEvent::Exited { id: id.to_owned() });
        }
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn version(&self) -> Result<v1::VersionResponse> {
        Ok(v1::VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "fake".into(),
            runtime_version: "1".into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self) -> Result<v1::RuntimeStatus> {
        let condition = |type_: &str| v1::RuntimeCondition {
            r#type: type_.to_owned(),
            status: true,
            ..v1::RuntimeCondition::default()
        };
        Ok(v1::RuntimeStatus { conditions: vec![condition("RuntimeReady"), condition("NetworkReady")] })
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig) -> Result<String> {
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        self.note("RunPodSandbox", &name)?;
        let mut world = self.world.lock();
        let id = world.id("sandbox");
        let now = world.now();
        world.sandboxes.insert(id.clone(), (config, true, now));
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<()> {
        self.note("StopPodSandbox", id)?;
        let inside: Vec<String> = {
            let mut world = self.world.lock();
            if let Some(sandbox) = world.sandboxes.get_mut(id) {
                sandbox.1 = false;
            }
            world
                .owners
                .iter()
                .filter(|(_, owner)| *owner == id)
                .map(|(container, _)| container.clone())
                .collect()
        };
        for container in inside {
            self.end(&container, 137);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        self.note("RemovePodSandbox", id)?;
        let mut world = self.world.lock();
        world.sandboxes.remove(id);
        let inside: Vec<String> = world
            .owners
            .iter()
            .filter(|(_, owner)| *owner == id)
            .map(|(container, _)| container.clone())
            .collect();
        for container in inside {
            world.owners.remove(&container);
            world.containers.remove(&container);
        }
        Ok(())
    }

    async fn sandbox_status(&self, id: &str) -> Result<SandboxRecord> {
        let world = self.world.lock();
        let (config, ready, created_at) = world
            .sandboxes
            .get(id)
            .ok_or_else(|| error("PodSandboxStatus", id, tonic::Code::NotFound, "not found"))?;
        let number: u64 = id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(1);
        Ok(SandboxRecord::from_status(v1::PodSandboxStatus {
            id: id.to_owned(),
            metadata: config.metadata.clone(),
            state: if *ready {
                v1::PodSandboxState::SandboxReady
            } else {
                v1::PodSandboxState::SandboxNotready
            } as i32,
            created_at: *created_at,
            network: Some(v1::PodSandboxNetworkStatus {
                ip: format!("10.88.{}.{}", number / 250 % 250, number % 250 + 2),
                additional_ips: Vec::new(),
            }),
            ..v1::PodSandboxStatus::default()
        }))
    }

    async fn list_sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>> {
        let world = self.world.lock();
        let wanted = |labels_: &HashMap<String, String>| {
            pod_uid.is_none_or(|uid| labels_.get(labels::POD_UID).is_some_and(|known| known == uid))
        };
        Ok(world
            .sandboxes
            .iter()
            .filter(|(_, (config, ..))| wanted(&config.labels))
            .map(|(id, (config, ready, created_at))| v1::PodSandbox {
                id: id.clone(),
                metadata: config.metadata.clone(),
                state: i32::from(!*ready),
                created_at: *created_at,
                labels: config.labels.clone(),
                ..v1::PodSandbox::default()
            })
            .collect())
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        _sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        self.note("CreateContainer", &name)?;
        let mut world = self.world.lock();
        let id = world.id(&name);
        let created_at = world.now();
        world.owners.insert(id.clone(), sandbox_id.to_owned());
        let status = v1::ContainerStatus {
            id: id.clone(),
            metadata: config.metadata,
            state: v1::ContainerState::ContainerCreated as i32,
            created_at,
            image: config.image.clone(),
            image_ref: config.image.map(|image| image.image).unwrap_or_default(),
            labels: config.labels,
            annotations: config.annotations,
            resources: config.linux.map(|linux| v1::ContainerResources {
                linux: linux.resources,
                ..v1::ContainerResources::default()
            }),
            ..v1::ContainerStatus::default()
        };
        world.containers.insert(id.clone(), status);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.note("StartContainer", id)?;
        let mut world = self.world.lock();
        let now = world.now();
        let status = world
            .containers
            .get_mut(id)
            .ok_or_else(|| error("StartContainer", id, tonic::Code::NotFound, "not found"))?;
        status.state = v1::ContainerState::ContainerRunning as i32;
        status.started_at = now;
        Ok(())
    }

    async fn stop_container(&self, id: &str, _grace: Duration) -> Result<()> {
        self.note("StopContainer", id)?;
        let code = self.world.lock().stopped.unwrap_or(143);
        self.end(id, code);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.note("RemoveContainer", id)?;
        let mut world = self.world.lock();
        world.containers.remove(id);
        world.owners.remove(id);
        Ok(())
    }

    async fn container_status(&self, id: &str) -> Result<ContainerRecord> {
        let world = self.world.lock();
        let status = world.containers.get(id).cloned();
        status
            .map(ContainerRecord::from_status)
            .ok_or_else(|| error("ContainerStatus", id, tonic::Code::NotFound, "not found"))
    }

    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>> {
        let world = self.world.lock();
        Ok(world
            .containers
            .values()
            .filter(|status| {
                pod_uid.is_none_or(|uid| status.labels.get(labels::POD_UID).is_some_and(|known| known == uid))
            })
            .map(|status| v1::Container {
                id: status.id.clone(),
                pod_sandbox_id: world.owners.get(&status.id).cloned().unwrap_or_default(),
                metadata: status.metadata.clone(),
                state: status.state,
                created_at: status.created_at,
                labels: status.labels.clone(),
                annotations: status.annotations.clone(),
                ..v1::Container::default()
            })
            .collect())
    }

    async fn update_container(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<()> {
        let v1::LinuxContainerResources { cpu_shares, cpu_quota, memory_limit_in_bytes, .. } = resources;
        let said = format!("{id} shares={cpu_shares} quota={cpu_quota} memory={memory_limit_in_bytes}");
        self.note("UpdateContainerResources", &said)?;
        let mut world = self.world.lock();
        let status = world
            .containers
            .get_mut(id)
            .ok_or_else(|| error("UpdateContainerResources", id, tonic::Code::NotFound, "not found"))?;
        status.resources.get_or_insert_default().linux = Some(resources);
        Ok(())
    }

    async fn exec_sync(&self, id: &str, command: Vec<String>, _timeout: Duration) -> Result<ExecOutput> {
        self.note("ExecSync", &format!("{id} {}", command.join(" ")))?;
        Ok(ExecOutput::default())
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String> {
        Err(error("Exec", &request.container_id, tonic::Code::Unimplemented, "not in a fake runtime"))
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String> {
        Err(error("Attach", &request.container_id, tonic::Code::Unimplemented, "not in a fake runtime"))
    }

    async fn port_forward(&self, sandbox_id: &str, _ports: Vec<i32>) -> Result<String> {
        Err(error("PortForward", sandbox_id, tonic::Code::Unimplemented, "not in a fake runtime"))
    }

    async fn image(&self, image: &str) -> Result<Option<v1::Image>> {
        let world = self.world.lock();
        let known = world.images.get(image).cloned();
        let any = || v1::Image { id: image.to_owned(), ..v1::Image::default() };
        Ok(known.or_else(|| self.any_image.then(any)))
    }

    async fn pull_image(
        &self,
        image: &str,
        _auth: Option<v1::AuthConfig>,
        _sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        self.note("PullImage", image)?;
        let made = v1::Image { id: image.to_owned(), ..v1::Image::default() };
        self.world.lock().images.insert(image.to_owned(), made);
        Ok(image.to_owned())
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>> {
        Ok(self.world.lock().images.values().cloned().collect())
    }

    async fn reopen_log(&self, id: &str) -> Result<()> {
        self.note("ReopenContainerLog", id)
    }

    async fn list_stats(&self) -> Result<Vec<v1::ContainerStats>> {
        let world = self.world.lock();
        let running = v1::ContainerState::ContainerRunning as i32;
        let used = |status: &v1::ContainerStatus| {
            let name = status.labels.get(labels::CONTAINER_NAME);
            name.and_then(|name| world.memory.get(name)).copied().unwrap_or_default()
        };
        let one = |status: &v1::ContainerStatus| v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: status.id.clone(),
                metadata: status.metadata.clone(),
                labels: status.labels.clone(),
                annotations: status.annotations.clone(),
            }),
            memory: Some(v1::MemoryUsage {
                usage_bytes: Some(v1::UInt64Value { value: used(status) }),
                ..v1::MemoryUsage::default()
            }),
            ..v1::ContainerStats::default()
        };
        Ok(world.containers.values().filter(|status| status.state == running).map(one).collect())
    }
}
