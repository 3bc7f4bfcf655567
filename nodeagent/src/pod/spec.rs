//! Questions asked of a pod's specification in several places.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// Which list a container is in and how it is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Runs to its end before the next one.
    Init,
    /// An init container with restartPolicy Always: starts in order, runs as long as the pod.
    Sidecar,
    /// A regular container.
    Regular,
    /// Added to debug.
    Ephemeral,
}

impl Kind {
    /// Name of the list in the specification.
    pub fn list(self) -> &'static str {
        match self {
            Kind::Init | Kind::Sidecar => "initContainers",
            Kind::Regular => "containers",
            Kind::Ephemeral => "ephemeralContainers",
        }
    }
}

/// When ended containers are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always.
    Always,
    /// Only after a failure.
    OnFailure,
    /// Never.
    Never,
}

/// The pod's restart policy.
pub fn restart_policy(spec: &PodSpec) -> RestartPolicy {
    match spec.restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

/// The specification, or an empty one.
pub fn spec(pod: &Pod) -> Cow<'_, PodSpec> {
    pod.spec.as_ref().map_or_else(|| Cow::Owned(PodSpec::default()), Cow::Borrowed)
}

/// Init containers with their kind, in order.
pub fn init_containers(spec: &PodSpec) -> impl DoubleEndedIterator<Item = (Kind, &Container)> {
    spec.init_containers.iter().flatten().map(|container| (init_kind(container), container))
}

fn init_kind(container: &Container) -> Kind {
    if container.restart_policy.as_deref() == Some("Always") { Kind::Sidecar } else { Kind::Init }
}

/// All containers with their kind: init, regular, ephemeral.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = (Kind, Cow<'_, Container>)> {
    init_containers(spec)
        .map(|(kind, container)| (kind, Cow::Borrowed(container)))
        .chain(spec.containers.iter().map(|container| (Kind::Regular, Cow::Borrowed(container))))
        .chain(
            spec.ephemeral_containers
                .iter()
                .flatten()
                .map(|container| (Kind::Ephemeral, Cow::Owned(from_ephemeral(container)))),
        )
}

/// A container of any kind by name.
pub fn find_container<'a>(spec: &'a PodSpec, name: &str) -> Option<(Kind, Cow<'a, Container>)> {
    all_containers(spec).find(|(_, container)| container.name == name)
}

/// An ephemeral container as a container: the fields are the same, minus probes, ports and resources.
fn from_ephemeral(container: &EphemeralContainer) -> Container {
    Container {
        name: container.name.clone(),
        image: container.image.clone(),
        command: container.command.clone(),
        args: container.args.clone(),
        working_dir: container.working_dir.clone(),
        env: container.env.clone(),
        env_from: container.env_from.clone(),
        volume_mounts: container.volume_mounts.clone(),
        termination_message_path: container.termination_message_path.clone(),
        termination_message_policy: container.termination_message_policy.clone(),
        image_pull_policy: container.image_pull_policy.clone(),
        security_context: container.security_context.clone(),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        ..Container::default()
    }
}

/// Hash of what makes a running container outdated: its image.
pub fn container_hash(container: &Container) -> String {
    let mut hasher = DefaultHasher::new();
    container.name.hash(&mut hasher);
    container.image.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// Uid of the pod.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Name of the pod.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Namespace of the pod.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, as messages show a pod.
pub fn display(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// Seconds the pod has to end: those of its deletion, else of its specification, at least one.
pub fn grace_seconds(pod: &Pod) -> u64 {
    let seconds = if pod.metadata.deletion_timestamp.is_some() {
        pod.metadata.deletion_grace_period_seconds
    } else {
        pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).or(Some(30))
    };
    u64::try_from(seconds.unwrap_or(1)).unwrap_or(0).max(1)
}

/// Whether the pod shares the host's network.
pub fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
}
