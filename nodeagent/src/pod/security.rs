//! Security contexts: pod and container settings merged into what the runtime is told.

use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SeccompProfile};

use super::spec;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn mode(host: bool, otherwise: v1::NamespaceMode) -> i32 {
    (if host { v1::NamespaceMode::Node } else { otherwise }) as i32
}

/// Namespaces of a pod.
pub fn namespaces(spec: &PodSpec) -> v1::NamespaceOption {
    let pid = if spec.share_process_namespace == Some(true) {
        v1::NamespaceMode::Pod
    } else {
        v1::NamespaceMode::Container
    };
    v1::NamespaceOption {
        network: mode(spec.host_network == Some(true), v1::NamespaceMode::Pod),
        pid: mode(spec.host_pid == Some(true), pid),
        ipc: mode(spec.host_ipc == Some(true), v1::NamespaceMode::Pod),
        ..v1::NamespaceOption::default()
    }
}

fn seccomp(profile: Option<&SeccompProfile>, privileged: bool) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (type_, file) = match profile.map(|profile| profile.type_.as_str()) {
        Some("RuntimeDefault") if !privileged => (ProfileType::RuntimeDefault, String::new()),
        Some("Localhost") if !privileged => (
            ProfileType::Localhost,
            profile.and_then(|profile| profile.localhost_profile.clone()).unwrap_or_default(),
        ),
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile { profile_type: type_ as i32, localhost_ref: file }
}

fn int64(value: Option<i64>) -> Option<v1::Int64Value> {
    value.map(|value| v1::Int64Value { value })
}

/// Groups every container of the pod is in besides its own.
fn supplemental_groups(spec: &PodSpec) -> Vec<i64> {
    let context = spec.security_context.as_ref();
    let mut groups = context.and_then(|context| context.supplemental_groups.clone()).unwrap_or_default();
    groups.extend(context.and_then(|context| context.fs_group));
    groups
}

/// The sandbox's security context.
pub fn sandbox(spec: &PodSpec) -> v1::LinuxSandboxSecurityContext {
    let context = spec.security_context.as_ref();
    let privileged = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .any(|container| container.security_context.as_ref().is_some_and(|c| c.privileged == Some(true)));
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(spec)),
        run_as_user: int64(context.and_then(|context| context.run_as_user)),
        run_as_group: int64(
            context.filter(|c| c.run_as_user.is_some()).and_then(|context| context.run_as_group),
        ),
        supplemental_groups: supplemental_groups(spec),
        privileged,
        seccomp: Some(seccomp(
            Some(&SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            privileged,
        )),
        ..v1::LinuxSandboxSecurityContext::default()
    }
}

/// A container's security context; `image_user` is what the image says.
pub fn container(
    pod: &Pod,
    container: &Container,
    image: Option<&v1::Image>,
) -> Result<v1::LinuxContainerSecurityContext, String> {
    let spec = spec::spec(pod);
    let pod_context = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let user = own.and_then(|c| c.run_as_user).or(pod_context.and_then(|c| c.run_as_user));
    let group = own.and_then(|c| c.run_as_group).or(pod_context.and_then(|c| c.run_as_group));
    let non_root = own.and_then(|c| c.run_as_non_root).or(pod_context.and_then(|c| c.run_as_non_root));
    let privileged = own.is_some_and(|c| c.privileged == Some(true));
    let image_uid = image.and_then(|image| image.uid.as_ref()).map(|uid| uid.value);
    let image_user = image.map(|image| image.username.clone()).unwrap_or_default();
    if non_root == Some(true) {
        check_non_root(pod, container, user, image_uid, &image_user)?;
    }
    let mut context = v1::LinuxContainerSecurityContext {
        namespace_options: Some(namespaces(&spec)),
        privileged,
        readonly_rootfs: own.is_some_and(|c| c.read_only_root_filesystem == Some(true)),
        supplemental_groups: supplemental_groups(&spec),
        no_new_privs: own.is_some_and(|c| c.allow_privilege_escalation == Some(false)),
        seccomp: Some(seccomp(
            own.and_then(|c| c.seccomp_profile.as_ref())
                .or(pod_context.and_then(|c| c.seccomp_profile.as_ref())),
            privileged,
        )),
        capabilities: own.and_then(|c| c.capabilities.as_ref()).map(|capabilities| v1::Capability {
            add_capabilities: capabilities.add.clone().unwrap_or_default(),
            drop_capabilities: capabilities.drop.clone().unwrap_or_default(),
            ..v1::Capability::default()
        }),
        ..v1::LinuxContainerSecurityContext::default()
    };
    match (user, image_uid) {
        (Some(user), _) => context.run_as_user = int64(Some(user)),
        (None, Some(uid)) => context.run_as_user = int64(Some(uid)),
        (None, None) => context.run_as_username = image_user,
    }
    context.run_as_group = int64(group);
    if !privileged && own.and_then(|c| c.proc_mount.as_deref()) != Some("Unmasked") {
        context.masked_paths = MASKED.iter().map(|path| (*path).to_owned()).collect();
        context.readonly_paths = READ_ONLY.iter().map(|path| (*path).to_owned()).collect();
    }
    Ok(context)
}

fn check_non_root(
    pod: &Pod,
    container: &Container,
    user: Option<i64>,
    image_uid: Option<i64>,
    image_user: &str,
) -> Result<(), String> {
    let about = format!("(pod: \"{}\", container: {})", spec::display(pod), container.name);
    match (user, image_uid) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {about}")),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(format!("container has runAsNonRoot and image will run as root {about}")),
        (None, Some(_)) => Ok(()),
        (None, None) if image_user.is_empty() => {
            Err(format!("container has runAsNonRoot and image will run as root {about}"))
        }
        (None, None) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root {about}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_override_the_pod_and_root_is_refused() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": {"runAsUser": 5, "fsGroup": 7, "runAsNonRoot": true}, "containers": [
                {"name": "a", "securityContext": {"runAsUser": 6}},
                {"name": "b", "securityContext": {"runAsUser": 0}},
            ]},
        }))
        .unwrap();
        let spec = pod.spec.clone().unwrap();
        let context = container(&pod, &spec.containers[0], None).unwrap();
        assert_eq!(context.run_as_user, int64(Some(6)));
        assert_eq!(context.supplemental_groups, [7]);
        assert!(container(&pod, &spec.containers[1], None).unwrap_err().contains("breaks non-root policy"));
    }
}
