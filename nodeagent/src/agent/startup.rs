//! Bringing an agent up: the runtime and its pause image, the node and its network, side by side; and the watch
//! over the node's health afterwards.

use super::*;

pub(super) struct Startup<'a> {
    pub(super) config: &'a Config,
    pub(super) machine: &'a Machine,
    pub(super) state: &'a watch::Sender<AgentState>,
    pub(super) stop: &'a CancellationToken,
}

impl Startup<'_> {
    /// Brings the runtime up and gives it the pause image.
    pub(super) async fn runtime(
        &self,
        containerd: Option<&Arc<Containerd>>,
        runtime: &dyn ContainerRuntime,
        hollow: bool,
    ) -> Result<k8s_cri::v1::VersionResponse, AgentError> {
        let socket = self.config.runtime_socket();
        if let Some(containerd) = containerd {
            containerd.start().await?;
        }
        let failed = |source| AgentError::Runtime { socket: socket.clone(), source };
        let version = runtime.version().await.map_err(failed)?;
        if !hollow && containerd.is_some() {
            let name = pause::image_name();
            if runtime.image(&name).await.map_err(failed)?.is_none() {
                let archive = pause::archive().map_err(AgentError::PauseArchive)?;
                import::import_bytes(&socket, &name, &archive).await.map_err(AgentError::Pause)?;
                tracing::debug!(image = name, chunk = containerd_store::CHUNK, "pause image imported");
            }
        }
        self.state.send_modify(|state| state.runtime_up = true);
        Ok(version)
    }

    /// Registers the node, then configures its network with the pod CIDR.
    pub(super) async fn node_and_network(&self, hollow: bool) -> Result<Node, AgentError> {
        let reporter = status::Reporter {
            config: self.config.clone(),
            machine: self.machine.clone(),
            runtime_version: String::new(),
        };
        let health = Health {
            runtime: "container runtime status check may not have completed yet".to_owned(),
            ..Health::good()
        };
        let register = async {
            let mut delay = Duration::from_millis(50);
            loop {
                match reporter.register(&health).await {
                    Ok(node) => return Ok(node),
                    Err(kube::Error::Api(answer)) if matches!(answer.code, 401 | 403 | 422) => {
                        return Err(kube::Error::Api(answer));
                    }
                    Err(error) => tracing::debug!(%error, "node not registered yet"),
                }
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(Duration::from_secs(5));
            }
        };
        let register = async {
            let node = register.await.map_err(|source| AgentError::Register {
                node: self.config.node_name.clone(),
                source: Box::new(source),
            })?;
            self.state.send_modify(|state| state.registered = true);
            Ok::<_, AgentError>(node)
        };
        if hollow {
            return register.await;
        }
        if let Some(cidr) = &self.config.pod_cidr {
            let (node, ()) = tokio::try_join!(register, self.network(cidr))?;
            return Ok(node);
        }
        let node = register.await?;
        match node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()) {
            Some(cidr) => self.network(&cidr).await?,
            None => self.await_pod_cidr(),
        }
        Ok(node)
    }

    async fn network(&self, cidr: &str) -> Result<(), AgentError> {
        configure_network(self.config, cidr).await
    }

    /// The pod CIDR comes from a controller later; until then pods wait for their network.
    fn await_pod_cidr(&self) {
        let (config, stop) = (self.config.clone(), self.stop.clone());
        tokio::spawn(async move {
            let api: Api<Node> = Api::all(config.client.clone());
            let wanted = watcher::Config::default().fields(&format!("metadata.name={}", config.node_name));
            let mut nodes = std::pin::pin!(watcher::watcher(api, wanted).default_backoff());
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    event = nodes.next() => event,
                };
                let node = match event {
                    Some(Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node))) => node,
                    Some(_) => continue,
                    None => return,
                };
                let Some(cidr) = node.spec.and_then(|spec| spec.pod_cidr) else { continue };
                match configure_network(&config, &cidr).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "no pod network"),
                }
            }
        });
    }
}

async fn configure_network(config: &Config, cidr: &str) -> Result<(), AgentError> {
    cni::enable_forwarding();
    let file = CniConfig {
        conf_dir: config.data_dir.join("cni/net.d"),
        data_dir: config.data_dir.join("cni/ipam"),
        bridge: config.bridge.clone(),
        pod_cidr: cidr.to_owned(),
        mtu: config.mtu,
    };
    file.write().map_err(AgentError::Cni)?;
    if let Err(error) = masquerade::install(&config.bridge, cidr).await {
        tracing::warn!(%error, "pods cannot reach addresses outside the cluster");
    }
    Ok(())
}

/// Keeps the health up to date: quickly until the runtime and its network are ready, then rarely.
pub(super) async fn watch_health(
    runtime: Arc<dyn ContainerRuntime>,
    health: watch::Sender<Health>,
    data_dir: PathBuf,
    stop: CancellationToken,
) {
    const CALM: Duration = Duration::from_secs(20);
    let mut delay = Duration::from_millis(10);
    loop {
        let mut now = Health::good();
        match runtime.status().await {
            Ok(status) => {
                for condition in status.conditions.iter().filter(|condition| !condition.status) {
                    let text = format!(
                        "container runtime {}: {}={}: reason:{} message:{}",
                        if condition.r#type == "NetworkReady" { "network not ready" } else { "not ready" },
                        condition.r#type,
                        condition.status,
                        condition.reason,
                        condition.message
                    );
                    match condition.r#type.as_str() {
                        "RuntimeReady" => now.runtime = text,
                        "NetworkReady" => now.network = text,
                        _ => {}
                    }
                }
            }
            Err(error) => now.runtime = format!("container runtime is down: {}", error.message),
        }
        crate::node::status::pressure(&mut now, &data_dir);
        let ready = now.ready();
        health.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        // There is no event for "the network became ready": short retries until it is.
        delay = if ready { CALM } else { (delay * 3 / 2).min(Duration::from_millis(250)) };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
        if ready {
            delay = Duration::from_millis(10);
        }
    }
}
