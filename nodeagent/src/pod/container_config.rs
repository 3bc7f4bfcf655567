//! A container as the runtime is asked for it: command, environment, mounts, resources, labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::context::PodContext;
use super::expand::expand;
use super::fields::Facts;
use super::resize::amounts::Amounts;
use super::{env, resources, sandbox_config, security, spec};
use crate::runtime::labels;
use crate::volumes::{Mounted, subpath};

/// What a container is made from besides its specification.
pub struct Input<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// Restart count.
    pub attempt: u32,
    /// The image, as the runtime knows it.
    pub image: &'a v1::Image,
    /// Where the pod's volumes are.
    pub volumes: &'a Mounted,
    /// Addresses and node facts.
    pub facts: &'a Facts,
    /// The host file that becomes /etc/hosts.
    pub hosts_file: Option<&'a Path>,
}

/// The container's configuration; the error is the message of `CreateContainerConfigError`.
pub async fn container_config(ctx: &PodContext, input: Input<'_>) -> Result<v1::ContainerConfig, String> {
    let Input { pod, container, attempt, image, volumes, facts, hosts_file } = input;
    let spec = spec::spec(pod);
    let environment = env::environment(ctx, pod, container, facts).await?;
    let known: HashMap<&str, &str> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let lookup = |name: &str| known.get(name).map(|value| (*value).to_owned());
    let expanded = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter().flatten().map(|text| expand(text, lookup)).collect()
    };
    let mut mounts = Vec::new();
    for (number, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let target = ctx
            .config
            .pod_dir(spec::uid(pod))
            .join("volume-subpaths")
            .join(&mount.name)
            .join(&container.name)
            .join(number.to_string());
        mounts.push(volume_mount(mount, volumes, &target, &lookup)?);
    }
    let has = |mounts: &[v1::Mount], path: &str| mounts.iter().any(|mount| mount.container_path == path);
    if let Some(path) = hosts_file.filter(|_| !has(&mounts, "/etc/hosts")) {
        mounts.push(bind(path, "/etc/hosts", false));
    }
    let termination_path =
        container.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".to_owned());
    if ctx.files {
        let file = termination_file(ctx, pod, container, attempt)?;
        mounts.push(bind(&file, &termination_path, false));
    }
    let qos = resources::qos_class(&spec);
    let mut labels_ = sandbox_config::pod_labels(pod);
    labels_.insert(labels::CONTAINER_NAME.to_owned(), container.name.clone());
    let made_with = serde_json::to_string(&Amounts::of(container)).map_err(|error| error.to_string())?;
    let annotations = HashMap::from([
        (labels::HASH.to_owned(), spec::container_hash(container)),
        (labels::RESOURCES.to_owned(), made_with),
        (labels::RESTART_COUNT.to_owned(), attempt.to_string()),
        (labels::TERMINATION_PATH.to_owned(), termination_path),
        (
            labels::TERMINATION_POLICY.to_owned(),
            container.termination_message_policy.clone().unwrap_or_else(|| "File".to_owned()),
        ),
        (labels::POD_GRACE.to_owned(), spec::grace_seconds(pod).to_string()),
    ]);
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(v1::ImageSpec {
            image: image.id.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..v1::ImageSpec::default()
        }),
        command: expanded(container.command.as_ref()),
        args: expanded(container.args.as_ref()),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: environment
            .iter()
            .map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone() })
            .collect(),
        mounts,
        labels: labels_,
        annotations,
        log_path: format!("{}/{attempt}.log", container.name),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::container_resources(container, qos, facts.memory)),
            security_context: Some(security::container(pod, container, Some(image))?),
        }),
        ..v1::ContainerConfig::default()
    })
}

fn bind(host: &Path, container: &str, readonly: bool) -> v1::Mount {
    v1::Mount {
        host_path: host.display().to_string(),
        container_path: container.to_owned(),
        readonly,
        ..v1::Mount::default()
    }
}

fn volume_mount(
    mount: &VolumeMount,
    volumes: &Mounted,
    target: &Path,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<v1::Mount, String> {
    let volume = volumes
        .get(&mount.name)
        .ok_or_else(|| format!("cannot find volume {:?} to mount into container", mount.name))?;
    let sub = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => Some(path.clone()),
        (_, Some(expression)) if !expression.is_empty() => {
            let path = expand(expression, lookup);
            if path.contains("$(") {
                return Err(format!("failed to expand subPath {expression:?}"));
            }
            Some(path)
        }
        _ => None,
    };
    let path: PathBuf = match sub {
        Some(sub) => subpath::bind(&volume.path, &sub, target).map_err(|error| {
            format!("failed to prepare subPath for volumeMount {:?}: {error}", mount.name)
        })?,
        None => volume.path.clone(),
    };
    let container_path = if mount.mount_path.starts_with('/') {
        mount.mount_path.clone()
    } else {
        format!("/{}", mount.mount_path)
    };
    let propagation = match mount.mount_propagation.as_deref() {
        Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
        Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
        _ => v1::MountPropagation::PropagationPrivate,
    };
    Ok(v1::Mount {
        propagation: propagation as i32,
        ..bind(&path, &container_path, mount.read_only == Some(true) || volume.read_only)
    })
}

/// Makes the file the container writes its termination message to.
fn termination_file(
    ctx: &PodContext,
    pod: &Pod,
    container: &Container,
    attempt: u32,
) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let dir = ctx.config.pod_dir(spec::uid(pod)).join("containers").join(&container.name);
    let file = dir.join(format!("termination-{attempt}"));
    let make = || -> std::io::Result<()> {
        std::fs::create_dir_all(&dir)?;
        std::fs::write(&file, b"")?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))
    };
    make().map_err(|error| format!("cannot make {}: {error}", file.display()))?;
    Ok(file)
}
