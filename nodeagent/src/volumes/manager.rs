//! Mounts the volumes of pods with the plugin that fits, and brings them up to date when what they show changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{
    MountError, Mounted, MountedVolume, PodVolumes, SetUp, VolumePlugin, config_map, downward_api, empty_dir,
    host_path, projected, secret,
};
use crate::objects::{Objects, Watching};
use crate::pod::fields::Facts;
use crate::pod::spec;

static PLUGINS: [&dyn VolumePlugin; 6] = [
    &empty_dir::EmptyDir,
    &host_path::HostPath,
    &config_map::ConfigMap,
    &secret::Secret,
    &downward_api::DownwardApi,
    &projected::Projected,
];

fn plugin(volume: &Volume) -> Option<&'static dyn VolumePlugin> {
    PLUGINS.iter().copied().find(|plugin| plugin.supports(volume))
}

struct Inner {
    pods_dir: PathBuf,
    objects: Arc<Objects>,
    client: kube::Client,
}

/// The volumes of this machine.
#[derive(Clone)]
pub struct VolumeManager {
    inner: Arc<Inner>,
}

impl VolumeManager {
    /// Volumes below `pods_dir`.
    pub fn new(pods_dir: PathBuf, objects: Arc<Objects>, client: kube::Client) -> VolumeManager {
        VolumeManager { inner: Arc::new(Inner { pods_dir, objects, client }) }
    }

    async fn set_up(&self, pod: &Pod, volume: &Volume, facts: &Facts) -> Result<MountedVolume, MountError> {
        let failed = |problem: String| MountError { volume: volume.name.clone(), problem };
        let plugin = plugin(volume).ok_or_else(|| failed("no volume plugin matched".to_owned()))?;
        let dir = self
            .inner
            .pods_dir
            .join(spec::uid(pod))
            .join("volumes")
            .join(format!("kubernetes.io~{}", plugin.name()))
            .join(&volume.name);
        let group = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.fs_group);
        let set_up = SetUp {
            pod,
            volume,
            dir,
            fs_group: group.and_then(|group| u32::try_from(group).ok()),
            facts,
            objects: &self.inner.objects,
            client: &self.inner.client,
        };
        plugin.set_up(set_up).await.map_err(failed)
    }
}

#[async_trait]
impl PodVolumes for VolumeManager {
    async fn mount(&self, pod: &Pod, facts: &Facts) -> Result<Mounted, Vec<MountError>> {
        let dir = self.inner.pods_dir.join(spec::uid(pod));
        if let Err(error) = std::fs::create_dir_all(&dir) {
            let problem = format!("cannot make {}: {error}", dir.display());
            return Err(vec![MountError { volume: String::new(), problem }]);
        }
        let spec = spec::spec(pod);
        let volumes: Vec<&Volume> = spec.volumes.iter().flatten().collect();
        let results = join_all(volumes.iter().map(|volume| self.set_up(pod, volume, facts))).await;
        let mut mounted = Mounted::new();
        let mut errors = Vec::new();
        for (volume, result) in volumes.iter().zip(results) {
            match result {
                Ok(ready) => {
                    mounted.insert(volume.name.clone(), ready);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(mounted) } else { Err(errors) }
    }

    fn follow(&self, pod: &Arc<Pod>, facts: Facts) -> Option<BoxFuture<'static, ()>> {
        let spec = spec::spec(pod);
        let namespace = spec::namespace(pod);
        let mut sources = Vec::new();
        for volume in spec.volumes.iter().flatten() {
            let Some(plugin) = plugin(volume) else { continue };
            let watches: Vec<Watching> = plugin
                .references(volume)
                .into_iter()
                .map(|(kind, name)| self.inner.objects.watch(kind, namespace, &name))
                .collect();
            let refresh = plugin.refresh_after(volume);
            if !watches.is_empty() || refresh.is_some() {
                sources.push((volume.clone(), watches, refresh));
            }
        }
        if sources.is_empty() {
            return None;
        }
        let (this, pod) = (self.clone(), pod.clone());
        Some(Box::pin(async move {
            let tasks: FuturesUnordered<_> = sources
                .into_iter()
                .map(|(volume, watches, refresh)| this.keep_up(&pod, volume, watches, refresh, &facts))
                .collect();
            tasks.collect::<()>().await;
        }))
    }

    fn unmount(&self, uid: &str) {
        let dir = self.inner.pods_dir.join(uid);
        super::remove_dir(&dir.join("volume-subpaths"));
        super::remove_dir(&dir.join("volumes"));
    }
}

impl VolumeManager {
    async fn keep_up(
        &self,
        pod: &Pod,
        volume: Volume,
        mut watches: Vec<Watching>,
        refresh: Option<u64>,
        facts: &Facts,
    ) {
        loop {
            let refresh = async {
                match refresh {
                    Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                    None => std::future::pending().await,
                }
            };
            let changed = async {
                if watches.is_empty() {
                    std::future::pending::<()>().await;
                }
                let any: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.changed())).collect();
                futures::future::select_all(any).await;
            };
            tokio::select! {
                () = refresh => {}
                () = changed => {}
            }
            if let Err(error) = self.set_up(pod, &volume, facts).await {
                tracing::debug!(%error, pod = spec::name(pod), "volume not brought up to date");
            }
        }
    }
}
