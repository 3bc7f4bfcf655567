//! CRI v1 over a unix socket. Every call carries a deadline; one HTTP/2 connection is shared and re-dialled lazily.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{ContainerRecord, ContainerRuntime, ExecOutput, RuntimeError, SandboxRecord, labels};

const QUERY: Duration = Duration::from_secs(15);
const CHANGE: Duration = Duration::from_secs(120);
const SANDBOX: Duration = Duration::from_secs(240);
const PULL: Duration = Duration::from_secs(1800);
const MAX_MESSAGE: usize = 16 << 20;

/// A channel to a gRPC server on a unix socket; connects on first use and again after a loss.
pub fn channel(socket: &Path) -> Channel {
    let path: PathBuf = socket.to_owned();
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    }))
}

/// The CRI client.
#[derive(Clone)]
pub struct CriRuntime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl CriRuntime {
    /// A client of the runtime listening on `socket`; does not connect yet.
    pub fn new(socket: &Path) -> CriRuntime {
        let channel = channel(socket);
        CriRuntime {
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
        }
    }

    /// The runtime's own event stream, where it has one.
    pub async fn container_events(
        &self,
    ) -> Result<tonic::Streaming<v1::ContainerEventResponse>, tonic::Status> {
        let response = self.runtime.clone().get_container_events(v1::GetEventsRequest {}).await?;
        Ok(response.into_inner())
    }

    /// Tells the runtime the pod CIDR (runtimes that make the CNI configuration themselves).
    pub async fn update_pod_cidr(&self, pod_cidr: &str) -> Result<(), RuntimeError> {
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig {
                network_config: Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() }),
            }),
        };
        let call = self.runtime.clone();
        let mut call = call;
        call.update_runtime_config(with_deadline(request, QUERY))
            .await
            .map(drop)
            .map_err(|status| failed("UpdateRuntimeConfig", pod_cidr, &status))
    }
}

fn with_deadline<T>(message: T, deadline: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline);
    request
}

fn failed(operation: &'static str, object: &str, status: &tonic::Status) -> RuntimeError {
    RuntimeError {
        operation,
        object: object.to_owned(),
        code: status.code(),
        message: status.message().to_owned(),
    }
}

fn missing(operation: &'static str, object: &str) -> RuntimeError {
    RuntimeError {
        operation,
        object: object.to_owned(),
        code: tonic::Code::Internal,
        message: "the runtime's answer is empty".to_owned(),
    }
}

/// `call!(client.method, deadline, object, request)`: clones the cheap client, sets the deadline, names the error.
macro_rules! call {
    ($client:expr, $method:ident, $name:literal, $deadline:expr, $object:expr, $request:expr) => {{
        let mut client = $client.clone();
        match client.$method(with_deadline($request, $deadline)).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(failed($name, $object, &status)),
        }
    }};
}

fn uid_selector(uid: Option<&str>) -> HashMap<String, String> {
    uid.map(|uid| (labels::POD_UID.to_owned(), uid.to_owned())).into_iter().collect()
}

#[async_trait]
impl ContainerRuntime for CriRuntime {
    async fn version(&self) -> Result<v1::VersionResponse, RuntimeError> {
        call!(self.runtime, version, "Version", QUERY, "runtime", v1::VersionRequest { version: "v1".into() })
    }

    async fn status(&self) -> Result<v1::RuntimeStatus, RuntimeError> {
        let request = v1::StatusRequest { verbose: false };
        call!(self.runtime, status, "Status", QUERY, "runtime", request)?
            .status
            .ok_or_else(|| missing("Status", "runtime"))
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig) -> Result<String, RuntimeError> {
        let object = config.metadata.as_ref().map(|m| m.name.clone()).unwrap_or_default();
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        Ok(call!(self.runtime, run_pod_sandbox, "RunPodSandbox", SANDBOX, &object, request)?.pod_sandbox_id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        call!(self.runtime, stop_pod_sandbox, "StopPodSandbox", CHANGE, id, request).map(drop)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        call!(self.runtime, remove_pod_sandbox, "RemovePodSandbox", CHANGE, id, request).map(drop)
    }

    async fn sandbox_status(&self, id: &str) -> Result<SandboxRecord, RuntimeError> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        call!(self.runtime, pod_sandbox_status, "PodSandboxStatus", QUERY, id, request)?
            .status
            .map(SandboxRecord::from_status)
            .ok_or_else(|| missing("PodSandboxStatus", id))
    }

    async fn list_sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, RuntimeError> {
        let filter = v1::PodSandboxFilter { label_selector: uid_selector(pod_uid), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        let object = pod_uid.unwrap_or("all");
        Ok(call!(self.runtime, list_pod_sandbox, "ListPodSandbox", QUERY, object, request)?.items)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, RuntimeError> {
        let object = config.metadata.as_ref().map(|m| m.name.clone()).unwrap_or_default();
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(call!(self.runtime, create_container, "CreateContainer", CHANGE, &object, request)?.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<(), RuntimeError> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        call!(self.runtime, start_container, "StartContainer", CHANGE, id, request).map(drop)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout };
        call!(self.runtime, stop_container, "StopContainer", grace + CHANGE, id, request).map(drop)
    }

    async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        call!(self.runtime, remove_container, "RemoveContainer", CHANGE, id, request).map(drop)
    }

    async fn container_status(&self, id: &str) -> Result<ContainerRecord, RuntimeError> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        call!(self.runtime, container_status, "ContainerStatus", QUERY, id, request)?
            .status
            .map(ContainerRecord::from_status)
            .ok_or_else(|| missing("ContainerStatus", id))
    }

    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>, RuntimeError> {
        let filter = v1::ContainerFilter { label_selector: uid_selector(pod_uid), ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        let object = pod_uid.unwrap_or("all");
        Ok(call!(self.runtime, list_containers, "ListContainers", QUERY, object, request)?.containers)
    }

    async fn update_container(
        &self,
        id: &str,
        resources: v1::LinuxContainerResources,
    ) -> Result<(), RuntimeError> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(resources),
            ..Default::default()
        };
        call!(self.runtime, update_container_resources, "UpdateContainerResources", CHANGE, id, request)
            .map(drop)
    }

    async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        let seconds = i64::try_from(timeout.as_secs().max(1)).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command, timeout: seconds };
        let answer = call!(self.runtime, exec_sync, "ExecSync", timeout + QUERY, id, request)?;
        Ok(ExecOutput { exit_code: answer.exit_code, stdout: answer.stdout, stderr: answer.stderr })
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String, RuntimeError> {
        let object = request.container_id.clone();
        Ok(call!(self.runtime, exec, "Exec", QUERY, &object, request)?.url)
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String, RuntimeError> {
        let object = request.container_id.clone();
        Ok(call!(self.runtime, attach, "Attach", QUERY, &object, request)?.url)
    }

    async fn port_forward(&self, sandbox_id: &str, ports: Vec<i32>) -> Result<String, RuntimeError> {
        let request = v1::PortForwardRequest { pod_sandbox_id: sandbox_id.to_owned(), port: ports };
        Ok(call!(self.runtime, port_forward, "PortForward", QUERY, sandbox_id, request)?.url)
    }

    async fn image(&self, image: &str) -> Result<Option<v1::Image>, RuntimeError> {
        let spec = v1::ImageSpec { image: image.to_owned(), ..Default::default() };
        let request = v1::ImageStatusRequest { image: Some(spec), verbose: false };
        Ok(call!(self.images, image_status, "ImageStatus", QUERY, image, request)?.image)
    }

    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String, RuntimeError> {
        let spec = v1::ImageSpec { image: image.to_owned(), ..Default::default() };
        let request = v1::PullImageRequest { image: Some(spec), auth, sandbox_config: sandbox };
        Ok(call!(self.images, pull_image, "PullImage", PULL, image, request)?.image_ref)
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>, RuntimeError> {
        let request = v1::ListImagesRequest { filter: None };
        Ok(call!(self.images, list_images, "ListImages", QUERY, "all", request)?.images)
    }

    async fn reopen_log(&self, id: &str) -> Result<(), RuntimeError> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        call!(self.runtime, reopen_container_log, "ReopenContainerLog", QUERY, id, request).map(drop)
    }

    async fn list_stats(&self) -> Result<Vec<v1::ContainerStats>, RuntimeError> {
        let request = v1::ListContainerStatsRequest { filter: None };
        Ok(call!(self.runtime, list_container_stats, "ListContainerStats", QUERY, "all", request)?.stats)
    }
}
