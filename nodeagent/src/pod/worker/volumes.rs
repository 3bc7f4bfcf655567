//! The pod's volumes and files while it runs, and their removal with it.

use super::*;

impl Worker {
    /// Volumes may show what has changed about the pod.
    pub(super) fn refresh_volumes(&mut self) {
        if self.stage != Stage::Running || self.mounted.is_none() {
            return;
        }
        let (ctx, pod, facts) = (self.ctx.clone(), self.pod.clone(), self.ctx.facts(self.ips()));
        self.jobs.spawn(async move {
            match ctx.volumes.mount(&pod, &facts).await {
                Ok(_) => {}
                Err(errors) => {
                    tracing::debug!(?errors, pod = spec::name(&pod), "volumes not brought up to date")
                }
            }
            Done::Refreshed
        });
    }

    pub(super) fn mount_done(&mut self, mounted: Arc<Mounted>) {
        if self.mounted.is_none() {
            self.mounted = Some(mounted);
            self.follow_volumes();
        }
    }

    pub(super) fn follow_volumes(&mut self) {
        if let Some(task) = self.volume_task.take() {
            task.abort();
        }
        if let Some(follow) = self.ctx.volumes.follow(&self.pod, self.ctx.facts(self.ips())) {
            let handle = self.jobs.spawn(async move {
                follow.await;
                std::future::pending::<Done>().await
            });
            self.volume_task = Some(handle);
        }
    }

    pub(super) fn remove_files(&self) {
        if !self.ctx.files {
            return;
        }
        let uid = spec::uid(&self.pod);
        for dir in
            [crate::pod::sandbox_config::log_dir(&self.ctx.config, &self.pod), self.ctx.config.pod_dir(uid)]
        {
            crate::volumes::remove_dir(&dir);
        }
    }
}
