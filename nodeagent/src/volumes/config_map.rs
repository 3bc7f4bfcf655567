//! configMap volumes.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{KeyToPath, Volume};

use super::{FileEntry, MountedVolume, Payload, SetUp, VolumePlugin, atomic_writer, file_mode};
use crate::objects::{Data, Kind, ObjectError};
use crate::pod::spec;

/// The plugin.
#[derive(Debug)]
pub struct ConfigMap;

#[async_trait]
impl VolumePlugin for ConfigMap {
    fn name(&self) -> &'static str {
        "configmap"
    }

    fn supports(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String> {
        let source = set_up.volume.config_map.clone().unwrap_or_default();
        let optional = source.optional == Some(true);
        let data = read(&set_up, Kind::ConfigMap, &source.name, optional).await?;
        let payload = payload(
            &data,
            source.items.as_deref(),
            source.default_mode,
            optional,
            &format!("configmap {}/{}", spec::namespace(set_up.pod), source.name),
        )?;
        atomic_writer::write(&set_up.dir, &payload, set_up.fs_group).map_err(|error| error.to_string())?;
        Ok(MountedVolume { path: set_up.dir, read_only: true })
    }

    fn references(&self, volume: &Volume) -> Vec<(Kind, String)> {
        volume.config_map.iter().map(|source| (Kind::ConfigMap, source.name.clone())).collect()
    }
}

/// Reads an object a volume shows; an optional one that is missing is empty.
pub async fn read(set_up: &SetUp<'_>, kind: Kind, name: &str, optional: bool) -> Result<Data, String> {
    match set_up.objects.get(kind, spec::namespace(set_up.pod), name).await {
        Ok(data) => Ok(data),
        Err(ObjectError::NotFound(_)) if optional => Ok(Data::default()),
        Err(ObjectError::NotFound(_)) => Err(format!("{} {name:?} not found", kind.as_str())),
        Err(ObjectError::Api(message)) => Err(message),
    }
}

/// Files of an object: all keys, or the chosen ones under their paths.
pub fn payload(
    data: &Data,
    items: Option<&[KeyToPath]>,
    default_mode: Option<i32>,
    optional: bool,
    object: &str,
) -> Result<Payload, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let mode = file_mode(None, default_mode);
        return Ok(data
            .entries
            .iter()
            .map(|(key, value)| (key.clone(), FileEntry { data: value.clone(), mode }))
            .collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.entries.get(&item.key) {
            Some(value) => {
                let mode = file_mode(item.mode, default_mode);
                payload.insert(item.path.clone(), FileEntry { data: value.clone(), mode });
            }
            None if optional => {}
            None => return Err(format!("{object} references non-existent key: {}", item.key)),
        }
    }
    Ok(payload)
}
