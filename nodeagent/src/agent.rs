//! Assembles a node agent and runs it: runtime, node, network, pods, server, in parallel where they can be.

mod shutdown;
mod startup;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroups::{Cgroupfs, NoCgroups, PodCgroups};
use crate::config::Config;
use crate::events::Recorder;
use crate::images::{containerd_store, import, pause, pull::ImagePuller};
use crate::metrics::Metrics;
use crate::network::cni::{self, CniConfig};
use crate::network::host_ports::HostPorts;
use crate::network::{cleanup, masquerade};
use crate::node::conditions::Health;
use crate::node::machine::Machine;
use crate::node::{lease, status};
use crate::objects::Objects;
use crate::pod::context::PodContext;
use crate::pod::manager::Manager;
use crate::pod::registry::Registry;
use crate::pod::resize::node::NodeAllocations;
use crate::pod::service_env::ServiceEnv;
use crate::pod::status::Host;
use crate::pod::status_writer::StatusWriter;
use crate::runtime::containerd::{Containerd, ContainerdError};
use crate::runtime::cri::CriRuntime;
use crate::runtime::{ContainerRuntime, RuntimeError, RuntimeEvent, events};
use crate::server;
use crate::volumes::{NoVolumes, PodVolumes, VolumeManager};

pub use shutdown::shutdown_all;
use startup::{Startup, watch_health};

/// Why an agent could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The containerd of our own.
    #[error("cannot bring up containerd")]
    Containerd(#[from] ContainerdError),
    /// The runtime did not answer.
    #[error("the container runtime at {socket} failed")]
    Runtime {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: RuntimeError,
    },
    /// The pause image.
    #[error("cannot import the pause image")]
    Pause(#[source] import::ImportError),
    /// The pause image could not be made.
    #[error("cannot make the pause image")]
    PauseArchive(#[source] std::io::Error),
    /// The port of the server is taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The TLS files of the server.
    #[error(transparent)]
    Tls(#[from] server::tls::TlsError),
    /// A directory.
    #[error("cannot make {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The node could not be registered.
    #[error("cannot register node {node}")]
    Register {
        /// Its name.
        node: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The CNI configuration.
    #[error("cannot write the CNI configuration")]
    Cni(#[source] std::io::Error),
}

/// How far an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentState {
    /// The container runtime answers and has the pause image.
    pub runtime_up: bool,
    /// The Node object exists.
    pub registered: bool,
    /// The Node has been reported Ready.
    pub ready: bool,
}

/// Replaces the machine under an agent: a runtime in memory, no files (hollow nodes, tests).
pub struct Hollow {
    /// The runtime.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Its events.
    pub events: mpsc::Receiver<RuntimeEvent>,
}

/// A node agent, ready to run: its sockets are bound, its programs are found.
pub struct Agent {
    config: Config,
    containerd: Option<Arc<Containerd>>,
    hollow: Option<Hollow>,
    server: Option<server::Bound>,
    state: watch::Sender<AgentState>,
}

/// Checks the configuration, finds the programs, binds the server.
pub async fn build(config: Config) -> Result<Agent, AgentError> {
    for path in [&config.data_dir, &config.run_dir, &config.data_dir.join("pods"), &config.pod_log_dir] {
        std::fs::create_dir_all(path)
            .map_err(|source| AgentError::Directory { path: path.clone(), source })?;
    }
    let containerd = match &config.runtime_endpoint {
        Some(_) => None,
        None => Some(Arc::new(Containerd::find(&config)?)),
    };
    let server = bind(&config).await?;
    Ok(Agent { config, containerd, hollow: None, server, state: watch::Sender::default() })
}

/// The same agent over a runtime in memory: nothing on this machine is touched.
pub async fn build_hollow(config: Config, hollow: Hollow) -> Result<Agent, AgentError> {
    let server = bind(&config).await?;
    Ok(Agent { config, containerd: None, hollow: Some(hollow), server, state: watch::Sender::default() })
}

async fn bind(config: &Config) -> Result<Option<server::Bound>, AgentError> {
    let Some(ip) = config.listen else { return Ok(None) };
    let address = SocketAddr::new(ip, config.port);
    let tls = config.server_tls.as_ref().map(server::tls::acceptor).transpose()?;
    let listener =
        TcpListener::bind(address).await.map_err(|source| AgentError::Listen { address, source })?;
    Ok(Some(server::Bound { listener, tls }))
}

struct Machinery {
    runtime: Arc<dyn ContainerRuntime>,
    events: mpsc::Receiver<RuntimeEvent>,
    volumes: Arc<dyn PodVolumes>,
    cgroups: Arc<dyn PodCgroups>,
}

impl Agent {
    /// How far the agent is; closes when it has ended.
    pub fn state(&self) -> watch::Receiver<AgentState> {
        self.state.subscribe()
    }

    /// Runs until cancelled. Containers and containerd go on: the next agent takes them over.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AgentError> {
        let Agent { config, containerd, hollow, server, state } = self;
        let tasks = TaskTracker::new();
        let objects = Objects::new(config.client.clone());
        let hollow_node = hollow.is_some();
        let (recorder, event_queue) = Recorder::new();
        let event_writer =
            crate::events::run(config.client.clone(), config.node_name.clone(), event_queue, stop.clone());
        tasks.spawn(event_writer);
        let services = ServiceEnv::new(config.kubernetes_service.clone());
        {
            let (services, client, stop) = (services.clone(), config.client.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = services.run(client) => {}
                }
            });
        }
        let machine = Machine::read(&config.data_dir);
        let socket = config.runtime_socket();
        let machinery = match hollow {
            Some(Hollow { runtime, events }) => {
                Machinery { runtime, events, volumes: Arc::new(NoVolumes), cgroups: Arc::new(NoCgroups) }
            }
            None => {
                let runtime = CriRuntime::new(&socket);
                let (sink, receiver) = mpsc::channel(1024);
                if containerd.is_none() {
                    tasks.spawn(events::run(socket.clone(), runtime.clone(), sink, stop.clone()));
                } else {
                    // Our own containerd is not up yet: its stream is opened as soon as it is.
                    let (runtime, socket, stop) = (runtime.clone(), socket.clone(), stop.clone());
                    let mut up = state.subscribe();
                    tasks.spawn(async move {
                        if up.wait_for(|state| state.runtime_up).await.is_ok() {
                            events::run(socket, runtime, sink, stop).await;
                        }
                    });
                }
                Machinery {
                    runtime: Arc::new(runtime),
                    events: receiver,
                    volumes: Arc::new(VolumeManager::new(
                        config.data_dir.join("pods"),
                        objects.clone(),
                        config.client.clone(),
                    )),
                    cgroups: Arc::new(Cgroupfs::new(&config.cgroup_root)),
                }
            }
        };
        let up = Startup { config: &config, machine: &machine, state: &state, stop: &stop };
        let started = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            started = async {
                tokio::try_join!(
                    up.runtime(containerd.as_ref(), machinery.runtime.as_ref(), hollow_node),
                    up.node_and_network(hollow_node),
                )
            } => started,
        };
        let (version, node) = started?;
        let (health, health_view) = watch::channel(Health {
            runtime: String::new(),
            network: "container runtime network not ready".to_owned(),
            ..Health::good()
        });
        let reporter = status::Reporter {
            config: config.clone(),
            machine: machine.clone(),
            runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
        };
        let status_writer = StatusWriter::new(config.client.clone(), tasks.clone(), stop.clone());
        let ctx = Arc::new(PodContext {
            runtime: machinery.runtime.clone(),
            recorder,
            objects,
            volumes: machinery.volumes,
            cgroups: machinery.cgroups,
            host_ports: containerd.as_ref().map(|_| Arc::new(HostPorts::new(&config.bridge))),
            puller: ImagePuller::default(),
            status: status_writer,
            services,
            registry: Arc::new(Registry::default()),
            allocations: Arc::new(NodeAllocations::new(reporter.allocatable())),
            metrics: Arc::new(Metrics::default()),
            host: Host { ip: config.node_ip.to_string(), runtime: version.runtime_name.clone() },
            cpu_milli: machine.cpus * 1000,
            memory: machine.memory,
            files: !hollow_node,
            tasks: tasks.clone(),
            stop: stop.clone(),
            config: config.clone(),
        });
        if let Some(containerd) = &containerd {
            tasks.spawn(containerd.clone().supervise(stop.clone()));
        }
        if let Some(server) = server {
            tasks.spawn(server::serve(server, ctx.clone()));
        }
        tasks.spawn(lease::run(config.client.clone(), node.clone(), stop.clone()));
        let (reported, mut reported_view) = watch::channel(None::<Health>);
        {
            let (runtime, data_dir, stop) = (ctx.runtime.clone(), config.data_dir.clone(), stop.clone());
            tasks.spawn(watch_health(runtime, health, data_dir, stop));
        }
        if !hollow_node {
            tasks.spawn(crate::logs::rotate::run(ctx.clone()));
        }
        let manager = Manager::new(ctx.clone())
            .await
            .map_err(|source| AgentError::Runtime { socket: socket.clone(), source })?;
        // The first report waits for the health to be known, so that a healthy node is written once.
        let mut first = health_view.clone();
        let settled = async {
            let good = first.wait_for(Health::ready);
            match tokio::time::timeout(Duration::from_secs(2), good).await {
                Ok(_) | Err(_) => {}
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = settled => {}
        }
        // Pods begin now: before, each would fail once for want of a network.
        tasks.spawn(manager.run(machinery.events));
        tasks.spawn(reporter.run(node, health_view, reported, stop.clone()));
        {
            let state = &state;
            let follow = async {
                loop {
                    let ready = reported_view.borrow_and_update().as_ref().is_some_and(Health::ready);
                    state.send_if_modified(|state| std::mem::replace(&mut state.ready, ready) != ready);
                    if reported_view.changed().await.is_err() {
                        stop.cancelled().await;
                        return;
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow => {}
            }
        }
        tasks.close();
        if tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "some tasks of the node agent did not end in time");
        }
        Ok(())
    }
}
