//! projected volumes: configMaps, secrets, downward API and tokens in one directory.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Volume, VolumeProjection};

use super::config_map::{payload, read};
use super::secret::in_memory;
use super::{
    FileEntry, MountedVolume, Payload, SetUp, VolumePlugin, atomic_writer, downward_api, file_mode, token,
};
use crate::objects::Kind;
use crate::pod::spec;

/// The plugin.
#[derive(Debug)]
pub struct Projected;

#[async_trait]
impl VolumePlugin for Projected {
    fn name(&self) -> &'static str {
        "projected"
    }

    fn supports(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String> {
        let source = set_up.volume.projected.clone().unwrap_or_default();
        let mut files = Payload::new();
        for projection in source.sources.iter().flatten() {
            files.extend(project(&set_up, projection, source.default_mode).await?);
        }
        in_memory(&set_up)?;
        atomic_writer::write(&set_up.dir, &files, set_up.fs_group).map_err(|error| error.to_string())?;
        Ok(MountedVolume { path: set_up.dir, read_only: true })
    }

    fn references(&self, volume: &Volume) -> Vec<(Kind, String)> {
        let sources = volume.projected.iter().flat_map(|source| source.sources.iter().flatten());
        sources
            .flat_map(|source| {
                let map = source.config_map.as_ref().map(|source| (Kind::ConfigMap, source.name.clone()));
                let secret = source.secret.as_ref().map(|source| (Kind::Secret, source.name.clone()));
                map.into_iter().chain(secret)
            })
            .collect()
    }

    fn refresh_after(&self, volume: &Volume) -> Option<u64> {
        let sources = volume.projected.iter().flat_map(|source| source.sources.iter().flatten());
        let seconds = sources
            .filter_map(|source| source.service_account_token.as_ref())
            .map(|token| token.expiration_seconds.unwrap_or(token::DEFAULT_SECONDS));
        // Replaced when four fifths of its life are over.
        seconds.min().and_then(|seconds| u64::try_from(seconds * 4 / 5).ok())
    }
}

async fn project(
    set_up: &SetUp<'_>,
    projection: &VolumeProjection,
    default_mode: Option<i32>,
) -> Result<Payload, String> {
    let namespace = spec::namespace(set_up.pod);
    if let Some(source) = &projection.config_map {
        let optional = source.optional == Some(true);
        let data = read(set_up, Kind::ConfigMap, &source.name, optional).await?;
        let object = format!("configmap {namespace}/{}", source.name);
        return payload(&data, source.items.as_deref(), default_mode, optional, &object);
    }
    if let Some(source) = &projection.secret {
        let optional = source.optional == Some(true);
        let data = read(set_up, Kind::Secret, &source.name, optional).await?;
        let object = format!("secret {namespace}/{}", source.name);
        return payload(&data, source.items.as_deref(), default_mode, optional, &object);
    }
    if let Some(source) = &projection.downward_api {
        let items = source.items.as_deref().unwrap_or_default();
        return downward_api::payload(set_up.pod, items, default_mode, set_up.facts);
    }
    if let Some(source) = &projection.service_account_token {
        let token = token::request(set_up.client, set_up.pod, source).await?;
        // A token is its reader's alone, unless a group shares the volume or a user is set.
        let mode = if set_up.fs_group.is_some() { 0o640 } else { file_mode(None, default_mode) };
        let entry = FileEntry { data: token.into_bytes(), mode };
        return Ok(Payload::from([(source.path.clone(), entry)]));
    }
    Err("a projected source of this kind is not supported".to_owned())
}
