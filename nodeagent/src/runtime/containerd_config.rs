//! What our containerd is told, and where its parts are found on this machine.

use std::path::{Path, PathBuf};

/// A missing program, with what to install.
#[derive(Debug, thiserror::Error)]
#[error("{program} was not found in {searched}: install it ({hint})")]
pub struct MissingProgram {
    program: String,
    searched: String,
    hint: &'static str,
}

/// Programs a containerd of our own needs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// containerd itself.
    pub containerd: PathBuf,
    /// The OCI runtime.
    pub runc: PathBuf,
    /// Directory of the CNI reference plugins.
    pub cni: PathBuf,
}

const HINT: &str = "Debian and Ubuntu: apt install containerd runc containernetworking-plugins; \
                    Fedora: dnf install containerd runc containernetworking-plugins";
const EXTRA_DIRS: [&str; 6] = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];
const CNI_DIRS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// Finds containerd, runc and the CNI plugins, or says what to install.
pub fn find_programs() -> Result<Programs, MissingProgram> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(EXTRA_DIRS.iter().map(PathBuf::from));
    let cni_dirs: Vec<PathBuf> = CNI_DIRS.iter().map(PathBuf::from).collect();
    let bridge = find("bridge", &cni_dirs)?;
    Ok(Programs {
        containerd: find("containerd", &dirs)?,
        runc: find("runc", &dirs)?,
        cni: bridge.parent().map(Path::to_owned).unwrap_or_default(),
    })
}

fn find(program: &str, dirs: &[PathBuf]) -> Result<PathBuf, MissingProgram> {
    dirs.iter().map(|dir| dir.join(program)).find(|path| path.is_file()).ok_or_else(|| MissingProgram {
        program: program.to_owned(),
        searched: dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":"),
        hint: HINT,
    })
}

/// What the configuration file is made from.
#[derive(Debug, Clone)]
pub struct ConfigInput<'a> {
    /// Programs found.
    pub programs: &'a Programs,
    /// containerd's persistent directory.
    pub root: &'a Path,
    /// containerd's volatile directory; the socket lives in it.
    pub state: &'a Path,
    /// Directory of the CNI configuration.
    pub cni_conf: &'a Path,
    /// Name of the pause image.
    pub pause_image: &'a str,
    /// A negative oom_score_adj cannot be written here (CAP_SYS_RESOURCE is missing).
    pub restrict_oom: bool,
    /// `overlayfs`, or `native` where the root itself is an overlay.
    pub snapshotter: &'a str,
}

/// Text of containerd's configuration. Version 2 is read by 1.6 and 1.7 and migrated in memory by 2.x.
pub fn render(input: &ConfigInput<'_>) -> String {
    let ConfigInput { programs, root, state, cni_conf, pause_image, restrict_oom, snapshotter } = input;
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    format!(
        r#"version = 2
root = {root}
state = {state}
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]

[grpc]
  address = {socket}

[ttrpc]
  address = {ttrpc}

[debug]
  level = "warn"

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  restrict_oom_score_adj = {restrict_oom}
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = {runc}
        SystemdCgroup = false
"#,
        root = quoted(root),
        state = quoted(state),
        socket = quoted(&state.join("containerd.sock")),
        ttrpc = quoted(&state.join("containerd.sock.ttrpc")),
        opt = quoted(&root.join("opt")),
        cni_bin = quoted(&programs.cni),
        cni_conf = quoted(cni_conf),
        runc = quoted(&programs.runc),
    )
}

/// Whether this process may lower an oom_score_adj (CAP_SYS_RESOURCE, bit 24 of the effective set).
pub fn may_lower_oom_score() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|set| set & (1 << 24) != 0)
}

/// The snapshotter that works on the file system of `root`.
pub fn snapshotter_for(root: &Path) -> &'static str {
    match nix::sys::statfs::statfs(root) {
        Ok(stat) if stat.filesystem_type() == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC => "native",
        Ok(_) | Err(_) => "overlayfs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_our_own_directories_and_listens_on_loopback() {
        let programs = Programs {
            containerd: "/usr/bin/containerd".into(),
            runc: "/usr/sbin/runc".into(),
            cni: "/usr/lib/cni".into(),
        };
        let text = render(&ConfigInput {
            programs: &programs,
            root: Path::new("/d/containerd"),
            state: Path::new("/r/containerd"),
            cni_conf: Path::new("/d/cni/net.d"),
            pause_image: "skiff.local/pause:0.1.0",
            restrict_oom: true,
            snapshotter: "overlayfs",
        });
        assert!(text.contains(r#"address = "/r/containerd/containerd.sock""#));
        assert!(text.contains("restrict_oom_score_adj = true"));
        assert!(text.contains(r#"stream_server_address = "127.0.0.1""#));
        assert!(text.contains(r#"conf_dir = "/d/cni/net.d""#));
    }
}
