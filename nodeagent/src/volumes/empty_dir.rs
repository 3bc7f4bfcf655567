//! emptyDir: a directory, or a tmpfs for medium Memory, that lives as long as the pod.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use api_types::quantity::Quantity;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;
use nix::mount::{MsFlags, mount};

use super::{MountedVolume, SetUp, VolumePlugin, mounts};

/// The plugin.
#[derive(Debug)]
pub struct EmptyDir;

#[async_trait]
impl VolumePlugin for EmptyDir {
    fn name(&self) -> &'static str {
        "empty-dir"
    }

    fn supports(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String> {
        let source = set_up.volume.empty_dir.clone().unwrap_or_default();
        let dir = set_up.dir;
        let fresh = !dir.exists();
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        if source.medium.as_deref() == Some("Memory") && !mounts::is_mount_point(&dir) {
            let limit = source.size_limit.as_ref().and_then(|limit| limit.0.parse::<Quantity>().ok());
            mount_tmpfs(&dir, limit.map(|limit| limit.value()))?;
        }
        if fresh {
            open_to_all(&dir, set_up.fs_group).map_err(|error| error.to_string())?;
        }
        Ok(MountedVolume { path: dir, read_only: false })
    }
}

/// Mounts a tmpfs of at most `limit` bytes.
pub fn mount_tmpfs(dir: &Path, limit: Option<i64>) -> Result<(), String> {
    let options = limit.filter(|limit| *limit > 0).map(|limit| format!("size={limit}"));
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), options.as_deref())
        .map_err(|error| format!("cannot mount a tmpfs on {}: {error}", dir.display()))
}

fn open_to_all(dir: &Path, group: Option<u32>) -> std::io::Result<()> {
    let mut mode = 0o777;
    if group.is_some() {
        std::os::unix::fs::chown(dir, None, group)?;
        mode |= 0o2000;
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))
}
