//! Validation of who processes run as, what they may, and on which system
//! (`pkg/apis/core/validation/validation.go`).

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::fields::{self, below, flag, list, set, set_text, text, texts};
use super::pod_warnings::containers;
use super::volume_sources::descending;
use crate::field::{ErrorList, Path};
use crate::names;

const SYSCTL: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const MAX_SYSCTL: usize = 253;
const MAX_PROFILE: usize = 4095;
const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
/// Of a pod's context, what Windows does not have.
const LINUX_POD: [&str; 12] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
    "procMount",
];
/// Of a container's context, the same.
const LINUX_CONTAINER: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

static SYSCTL_FORM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(SYSCTL).ok());

/// Reasons to refuse the context of a pod with this spec.
pub fn of_pod(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(c) = set(spec, "securityContext") else { return };
    let path = path.child("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(c.get(field), &path.child(field), errors);
    }
    for (i, g) in list(c, "supplementalGroups").iter().enumerate() {
        id(Some(g), &path.child("supplementalGroups").index(i), errors);
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, why);
    }
    sysctls(spec, c, &path.child("sysctls"), errors);
    fields::word(c, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &path, errors);
    seccomp(c, &path, errors);
    windows_options(c, &path, errors);
    apparmor(c, &path, errors);
    fields::word(c, "supplementalGroupsPolicy", &["Merge", "Strict"], &path, errors);
    fields::word(c, "seLinuxChangePolicy", &["MountOption", "Recursive"], &path, errors);
}

/// Reasons to refuse the context of a container; `host_users` says that its users are the host's.
pub fn of_container(c: &Value, host_users: bool, path: &Path, errors: &mut ErrorList) {
    for field in ["runAsUser", "runAsGroup"] {
        id(c.get(field), &path.child(field), errors);
    }
    if let Some(proc) = set_text(c, "procMount") {
        fields::word(c, "procMount", &["Default", "Unmasked"], path, errors);
        if host_users && proc == "Unmasked" {
            errors.invalid(&path.child("procMount"), proc, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(c, path, errors);
    if set(c, "allowPrivilegeEscalation").is_some_and(|v| *v == false) {
        if flag(c, "privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, c.clone(), why);
        }
        if texts(below(c, "capabilities"), "add").contains(&"CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, c.clone(), why);
        }
    }
    windows_options(c, path, errors);
    apparmor(c, path, errors);
}

fn id(value: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    if let Some(n) = value.and_then(Value::as_i64).filter(|n| !(0..=i64::from(i32::MAX)).contains(n)) {
        errors.invalid(path, n, "must be between 0 and 2147483647, inclusive");
    }
}

fn sysctls(spec: &Value, c: &Value, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, s) in list(c, "sysctls").iter().enumerate() {
        let (name, at) = (text(s, "name"), path.index(i).child("name"));
        let formed = name.len() <= MAX_SYSCTL && SYSCTL_FORM.as_ref().is_some_and(|r| r.is_match(name));
        if name.is_empty() {
            errors.required(&at, "");
        } else if !formed {
            let why = format!("must have at most {MAX_SYSCTL} characters and match regex {SYSCTL}");
            errors.invalid(&at, name, why);
        } else if !seen.insert(name) {
            errors.duplicate(&at, name);
        }
        let dotted = name.replace('/', ".");
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p))
            || dotted == "kernel.sem";
        if dotted.starts_with("net.") && flag(spec, "hostNetwork") {
            errors.invalid(&at, name, "may not be specified when 'hostNetwork' is true");
        } else if ipc && flag(spec, "hostIPC") {
            errors.invalid(&at, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn seccomp(c: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(p) = set(c, "seccompProfile") else { return };
    let path = path.child("seccompProfile");
    match text(p, "type") {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        _ => fields::word(p, "type", PROFILES, &path, errors),
    }
    let at = path.child("localhostProfile");
    match (text(p, "type") == "Localhost", set_text(p, "localhostProfile")) {
        (true, None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        (true, Some(file)) => descending(file, &at, errors),
        (false, Some(_)) => errors.invalid(&at, p.clone(), "can only be set when seccomp type is Localhost"),
        (false, None) => {}
    }
}

fn apparmor(c: &Value, path: &Path, errors: &mut ErrorList) {
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    let Some(p) = set(c, "appArmorProfile") else { return };
    let path = path.child("appArmorProfile");
    let (at, file) = (path.child("localhostProfile"), set_text(p, "localhostProfile"));
    match text(p, "type") {
        "Localhost" => match file {
            None | Some("") => errors.required(&at, NEEDED),
            Some(file) if file.trim() != file => {
                errors.invalid(&at, file, "must not be padded with whitespace");
            }
            Some(file) if file.len() > MAX_PROFILE => errors.too_long(&at, MAX_PROFILE),
            Some(_) => {}
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(file) = file {
                errors.invalid(&at, file, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        _ => fields::word(p, "type", PROFILES, &path, errors),
    }
}

fn windows_options(c: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(w) = set(c, "windowsOptions") else { return };
    let path = path.child("windowsOptions");
    if let Some(name) = set_text(w, "gmsaCredentialSpecName") {
        errors.invalid_all(&path.child("gmsaCredentialSpecName"), name, names::dns1123_subdomain(name));
    }
    if set_text(w, "gmsaCredentialSpec") == Some("") {
        errors.invalid(&path.child("gmsaCredentialSpec"), "", "gmsaCredentialSpec cannot be an empty string");
    }
    if set_text(w, "runAsUserName") == Some("") {
        errors.invalid(&path.child("runAsUserName"), "", "runAsUserName cannot be an empty string");
    }
}

/// Reasons to refuse a system that the pod is for, and what that system does not have.
pub fn system(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(os) = set(spec, "os") else { return };
    let all = containers(spec, path);
    let context = below(spec, "securityContext");
    match text(os, "name") {
        "" => errors.required(&path.child("os").child("name"), "cannot be empty"),
        "linux" => {
            const WHY: &str = "windows options cannot be set for a linux pod";
            if set(context, "windowsOptions").is_some() {
                errors.forbidden(&path.child("securityContext").child("windowsOptions"), WHY);
            }
            for (c, at) in all {
                if set(below(c, "securityContext"), "windowsOptions").is_some() {
                    errors.forbidden(&at.child("securityContext").child("windowsOptions"), WHY);
                }
            }
        }
        "windows" => {
            const WHY: &str = "cannot be set for a windows pod";
            for field in LINUX_POD.into_iter().filter(|f| set(context, f).is_some()) {
                errors.forbidden(&path.child("securityContext").child(field), WHY);
            }
            for field in ["hostUsers", "shareProcessNamespace"].into_iter().filter(|f| set(spec, f).is_some())
            {
                errors.forbidden(&path.child(field), WHY);
            }
            for field in ["hostPID", "hostIPC"].into_iter().filter(|f| flag(spec, f)) {
                errors.forbidden(&path.child(field), WHY);
            }
            for (c, at) in all {
                let own = below(c, "securityContext");
                for field in LINUX_CONTAINER.into_iter().filter(|f| set(own, f).is_some()) {
                    errors.forbidden(&at.child("securityContext").child(field), WHY);
                }
            }
        }
        other => errors.not_supported(&path.child("os").child("name"), other, &["linux", "windows"]),
    }
}

/// Users of its own do not go together with other things of the host.
pub fn users(spec: &Value, path: &Path, errors: &mut ErrorList) {
    const WHY: &str = "when `hostUsers` is false";
    if set(spec, "hostUsers").is_none_or(|v| *v != false) {
        return;
    }
    // Upstream's own spelling.
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if flag(spec, field) {
            errors.forbidden(&path.child(shown), WHY);
        }
    }
    for (c, at) in containers(spec, path) {
        if !list(c, "volumeDevices").is_empty() {
            errors.forbidden(&at.child("volumeDevices"), WHY);
        }
    }
}
