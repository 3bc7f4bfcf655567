//! secret volumes: like configMap, on a tmpfs so that nothing of it reaches a disk.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::config_map::{payload, read};
use super::{MountedVolume, SetUp, VolumePlugin, atomic_writer, empty_dir, mounts};
use crate::objects::Kind;
use crate::pod::spec;

/// The plugin.
#[derive(Debug)]
pub struct Secret;

#[async_trait]
impl VolumePlugin for Secret {
    fn name(&self) -> &'static str {
        "secret"
    }

    fn supports(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String> {
        let source = set_up.volume.secret.clone().unwrap_or_default();
        let name = source.secret_name.clone().unwrap_or_default();
        let optional = source.optional == Some(true);
        let data = read(&set_up, Kind::Secret, &name, optional).await?;
        let object = format!("secret {}/{name}", spec::namespace(set_up.pod));
        let payload = payload(&data, source.items.as_deref(), source.default_mode, optional, &object)?;
        in_memory(&set_up)?;
        atomic_writer::write(&set_up.dir, &payload, set_up.fs_group).map_err(|error| error.to_string())?;
        Ok(MountedVolume { path: set_up.dir, read_only: true })
    }

    fn references(&self, volume: &Volume) -> Vec<(Kind, String)> {
        let name = volume.secret.as_ref().and_then(|source| source.secret_name.clone());
        name.into_iter().map(|name| (Kind::Secret, name)).collect()
    }
}

/// Puts a tmpfs under the volume.
pub fn in_memory(set_up: &SetUp<'_>) -> Result<(), String> {
    std::fs::create_dir_all(&set_up.dir).map_err(|error| error.to_string())?;
    if !mounts::is_mount_point(&set_up.dir) {
        empty_dir::mount_tmpfs(&set_up.dir, None)?;
    }
    Ok(())
}
