//! downwardAPI volumes: fields of the pod and resources of its containers as files.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Pod, Volume};

use super::{FileEntry, MountedVolume, Payload, SetUp, VolumePlugin, atomic_writer, file_mode};
use crate::pod::fields::{self, Facts};
use crate::pod::spec;

/// The plugin.
#[derive(Debug)]
pub struct DownwardApi;

#[async_trait]
impl VolumePlugin for DownwardApi {
    fn name(&self) -> &'static str {
        "downward-api"
    }

    fn supports(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String> {
        let source = set_up.volume.downward_api.clone().unwrap_or_default();
        let items = source.items.as_deref().unwrap_or_default();
        let payload = payload(set_up.pod, items, source.default_mode, set_up.facts)?;
        atomic_writer::write(&set_up.dir, &payload, set_up.fs_group).map_err(|error| error.to_string())?;
        Ok(MountedVolume { path: set_up.dir, read_only: true })
    }
}

/// Files of downward API items.
pub fn payload(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
    facts: &Facts,
) -> Result<Payload, String> {
    let spec = spec::spec(pod);
    let mut payload = Payload::new();
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            fields::field(pod, &field.field_path, facts)?
        } else if let Some(selector) = &item.resource_field_ref {
            let name = selector.container_name.as_deref().unwrap_or_default();
            let (_, container) = spec::find_container(&spec, name)
                .ok_or_else(|| format!("container {name:?} not found in pod"))?;
            fields::resource(&container, selector, facts)?
        } else {
            continue;
        };
        let mode = file_mode(item.mode, default_mode);
        payload.insert(item.path.clone(), FileEntry { data: text.into_bytes(), mode });
    }
    Ok(payload)
}
