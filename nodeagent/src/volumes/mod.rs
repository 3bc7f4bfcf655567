//! Volumes of pods: one plugin a file behind [`VolumePlugin`]; [`manager`] mounts, follows and unmounts them.

pub mod atomic_writer;
pub mod config_map;
pub mod downward_api;
pub mod empty_dir;
pub mod host_path;
pub mod manager;
pub mod mounts;
pub mod projected;
pub mod secret;
pub mod subpath;
pub mod token;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::objects::{Kind, Objects};
use crate::pod::fields::Facts;

pub use manager::VolumeManager;

/// A volume ready to be bound into containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedVolume {
    /// Host path.
    pub path: PathBuf,
    /// Containers may not write to it whatever their mount says.
    pub read_only: bool,
}

/// Volumes of a pod by name.
pub type Mounted = HashMap<String, MountedVolume>;

/// A volume that could not be set up; the text is upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {problem}")]
pub struct MountError {
    /// Name of the volume.
    pub volume: String,
    /// Why.
    pub problem: String,
}

/// What pod workers need of volumes.
#[async_trait]
pub trait PodVolumes: Send + Sync + 'static {
    /// Sets up all volumes of a pod; may be repeated.
    async fn mount(&self, pod: &Pod, facts: &Facts) -> Result<Mounted, Vec<MountError>>;
    /// Keeps volumes that show API objects up to date for as long as it is polled.
    fn follow(&self, pod: &Arc<Pod>, facts: Facts) -> Option<BoxFuture<'static, ()>>;
    /// Takes everything down that was set up for a pod.
    fn unmount(&self, uid: &str);
}

/// No volumes: hollow nodes and tests.
#[derive(Debug, Default)]
pub struct NoVolumes;

#[async_trait]
impl PodVolumes for NoVolumes {
    async fn mount(&self, pod: &Pod, _facts: &Facts) -> Result<Mounted, Vec<MountError>> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        Ok(volumes
            .map(|volume| {
                (volume.name.clone(), MountedVolume { path: PathBuf::from("/nonexistent"), read_only: false })
            })
            .collect())
    }

    fn follow(&self, _pod: &Arc<Pod>, _facts: Facts) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn unmount(&self, _uid: &str) {}
}

/// What a plugin sets a volume up with.
pub struct SetUp<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The volume.
    pub volume: &'a Volume,
    /// Directory of the volume.
    pub dir: PathBuf,
    /// Group that owns it.
    pub fs_group: Option<u32>,
    /// Node facts and addresses.
    pub facts: &'a Facts,
    /// API objects.
    pub objects: &'a Arc<Objects>,
    /// API client (service account tokens).
    pub client: &'a kube::Client,
}

/// One kind of volume.
#[async_trait]
pub trait VolumePlugin: Send + Sync {
    /// Name as in the volume's directory, without `kubernetes.io~`.
    fn name(&self) -> &'static str;
    /// Whether the volume is of this kind.
    fn supports(&self, volume: &Volume) -> bool;
    /// Sets the volume up, or brings it up to date.
    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String>;
    /// Objects the volume shows: it is set up again when one changes.
    fn references(&self, volume: &Volume) -> Vec<(Kind, String)> {
        let _ = volume;
        Vec::new()
    }
    /// Seconds after which the volume is brought up to date without any change (tokens).
    fn refresh_after(&self, volume: &Volume) -> Option<u64> {
        let _ = volume;
        None
    }
}

/// A file a volume shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Content.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Files of a volume by relative path.
pub type Payload = BTreeMap<String, FileEntry>;

/// Mode of a file: its own, the volume's, upstream's default.
pub fn file_mode(own: Option<i32>, volume: Option<i32>) -> u32 {
    u32::try_from(own.or(volume).unwrap_or(0o644)).unwrap_or(0o644) & 0o777
}

/// Removes a directory tree of ours; what is mounted below it is not followed, for it is unmounted first.
pub fn remove_dir(dir: &Path) {
    mounts::unmount_below(dir);
    match std::fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, dir = %dir.display(), "directory not removed"),
    }
}
