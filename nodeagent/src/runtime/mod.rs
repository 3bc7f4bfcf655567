//! The container runtime as the pod workers need it.
//!
//! [`ContainerRuntime`] is the boundary: [`cri`] implements it over a CRI v1 socket, [`fake`] in memory (for unit
//! tests and hollow nodes). [`containerd`] supervises a runtime of our own; [`events`] turns what the runtime
//! reports into wake-ups for the workers.

pub mod containerd;
pub mod containerd_config;
pub mod cri;
pub mod events;
pub mod fake;
pub mod labels;
pub mod record;

use std::time::Duration;

use async_trait::async_trait;
use k8s_cri::v1;

pub use record::{Actual, ContainerRecord, RunState, SandboxRecord};

/// A failed call of the runtime. Names the call and the object; the text is the runtime's own.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {object}: {message}")]
pub struct RuntimeError {
    /// The CRI call.
    pub operation: &'static str,
    /// What it was about: a sandbox, container or image.
    pub object: String,
    /// gRPC code.
    pub code: tonic::Code,
    /// The runtime's message.
    pub message: String,
}

impl RuntimeError {
    /// The object was not there.
    pub fn is_not_found(&self) -> bool {
        self.code == tonic::Code::NotFound
    }
}

/// Outcome of a command run in a container.
#[derive(Debug, Clone, Default)]
pub struct ExecOutput {
    /// Exit code of the command.
    pub exit_code: i32,
    /// Standard output, at most what the runtime keeps.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// A container or sandbox changed, as the runtime reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The process of this container or sandbox ended.
    Exited {
        /// Container or sandbox id.
        id: String,
    },
    /// Events may have been lost (reconnection): everything has to be looked at again.
    Resync,
}

/// What pod workers need of a container runtime. All calls have a deadline of their own.
#[async_trait]
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Name and version of the runtime.
    async fn version(&self) -> Result<v1::VersionResponse, RuntimeError>;
    /// Conditions `RuntimeReady` and `NetworkReady`.
    async fn status(&self) -> Result<v1::RuntimeStatus, RuntimeError>;
    /// Makes and starts a sandbox and gives its id.
    async fn run_sandbox(&self, config: v1::PodSandboxConfig) -> Result<String, RuntimeError>;
    /// Ends a sandbox and everything in it; may be repeated.
    async fn stop_sandbox(&self, id: &str) -> Result<(), RuntimeError>;
    /// Removes a sandbox and its containers; may be repeated.
    async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError>;
    /// State and address of a sandbox.
    async fn sandbox_status(&self, id: &str) -> Result<SandboxRecord, RuntimeError>;
    /// Sandboxes of one pod, or all.
    async fn list_sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, RuntimeError>;
    /// Makes a container in a sandbox and gives its id.
    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, RuntimeError>;
    /// Starts a created container.
    async fn start_container(&self, id: &str) -> Result<(), RuntimeError>;
    /// Stops a container: its stop signal, after `grace` SIGKILL. Returns when it has ended.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), RuntimeError>;
    /// Removes an ended container.
    async fn remove_container(&self, id: &str) -> Result<(), RuntimeError>;
    /// State of a container.
    async fn container_status(&self, id: &str) -> Result<ContainerRecord, RuntimeError>;
    /// Containers of one pod, or all.
    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>, RuntimeError>;
    /// Gives a running container other resources.
    async fn update_container(
        &self,
        id: &str,
        resources: v1::LinuxContainerResources,
    ) -> Result<(), RuntimeError>;
    /// Runs a command in a container and waits for it.
    async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError>;
    /// Prepares a streaming exec and gives the URL to connect to.
    async fn exec(&self, request: v1::ExecRequest) -> Result<String, RuntimeError>;
    /// Prepares a streaming attach and gives the URL to connect to.
    async fn attach(&self, request: v1::AttachRequest) -> Result<String, RuntimeError>;
    /// Prepares a port-forward and gives the URL to connect to.
    async fn port_forward(&self, sandbox_id: &str, ports: Vec<i32>) -> Result<String, RuntimeError>;
    /// The image of this name, if the runtime has it.
    async fn image(&self, image: &str) -> Result<Option<v1::Image>, RuntimeError>;
    /// Pulls an image and gives its reference.
    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String, RuntimeError>;
    /// All images.
    async fn list_images(&self) -> Result<Vec<v1::Image>, RuntimeError>;
    /// Makes the runtime reopen a log file that was renamed.
    async fn reopen_log(&self, id: &str) -> Result<(), RuntimeError>;
    /// CPU and memory use of all containers.
    async fn list_stats(&self) -> Result<Vec<v1::ContainerStats>, RuntimeError>;
}
