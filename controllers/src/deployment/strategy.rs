//! One step of a rollout: what the two strategies, a resize and the end of a rollout do.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::cache::Index;

use super::{
    Controller, Error, Look,
    revision::{revision, set_replicas},
    rolling, scaling, status,
};

impl Controller {
    /// A step of a rolling update: first up, then down, one of them at a time.
    pub(super) async fn roll(&self, look: &mut Look) -> Result<(), Error> {
        let new = self.ensure_new_set(look).await?;
        if let Some(size) = rolling::scale_new(&look.deployment, &look.all(), &new) {
            self.scale(look, &new, size).await?;
            return self.write_rollout_status(look).await;
        }
        let resizes = rolling::scale_old(&look.deployment, &look.all(), &look.old, &new);
        if !resizes.is_empty() {
            for (set, size) in resizes {
                self.scale(look, &set, size).await?;
            }
            return self.write_rollout_status(look).await;
        }
        self.finish(look).await
    }

    /// A step of a recreation: all old pods have to be gone before the first new one is made.
    pub(super) async fn recreate(&self, look: &mut Look) -> Result<(), Error> {
        let active: Vec<Arc<ReplicaSet>> =
            look.old.iter().filter(|set| set_replicas(set) > 0).cloned().collect();
        if look.new.is_some() {
            self.ensure_new_set(look).await?;
        }
        if !active.is_empty() {
            for set in active {
                self.scale(look, &set, 0).await?;
            }
            return self.write_rollout_status(look).await;
        }
        if self.old_pods_run(look) {
            return self.write_rollout_status(look).await;
        }
        let new = self.ensure_new_set(look).await?;
        let wanted = look.replicas();
        if set_replicas(&new) != wanted {
            self.scale(look, &new, wanted).await?;
        }
        self.finish(look).await
    }

    fn old_pods_run(&self, look: &Look) -> bool {
        let uids = look.old.iter().filter_map(|set| set.metadata.uid.as_deref());
        let mut pods = uids.flat_map(|uid| self.pods.store().by(Index::Controller, uid));
        pods.any(|pod| !pod.is_terminal())
    }

    /// After `replicas` changed, or while paused: sizes only, no new template.
    pub(super) async fn resize(&self, look: &mut Look, paused: bool) -> Result<(), Error> {
        if look.new.is_some() {
            self.ensure_new_set(look).await?;
        }
        for (set, size) in scaling::plan(&look.deployment, look.new.as_ref(), &look.old) {
            self.scale(look, &set, size).await?;
        }
        if paused {
            self.clean_up(look).await?;
        }
        self.write_plain_status(look).await
    }

    async fn finish(&self, look: &mut Look) -> Result<(), Error> {
        let status = status::rolled_out(look);
        if status::is_complete(&look.deployment, &status) {
            self.clean_up(look).await?;
        }
        self.write_rollout_status(look).await
    }

    /// Removes the oldest empty sets beyond the history limit.
    async fn clean_up(&self, look: &Look) -> Result<(), Error> {
        let limit = look.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
        if limit == i32::MAX {
            return Ok(());
        }
        for set in expendable(&look.old, usize::try_from(limit).unwrap_or(0)) {
            self.delete_set(look, &set).await?;
        }
        Ok(())
    }
}

/// Of the old sets, those beyond the `limit` newest that are certainly empty.
fn expendable(old: &[Arc<ReplicaSet>], limit: usize) -> Vec<Arc<ReplicaSet>> {
    let mut sets: Vec<Arc<ReplicaSet>> =
        old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).cloned().collect();
    sets.sort_by_key(|set| revision(set));
    sets.truncate(sets.len().saturating_sub(limit));
    sets.retain(|set| {
        let status = set.status.as_ref();
        status.is_none_or(|status| status.replicas == 0)
            && set_replicas(set) == 0
            && set.metadata.generation <= status.and_then(|status| status.observed_generation)
    });
    sets
}

#[cfg(test)]
mod tests {
    use super::{super::rolling::tests::set, *};
    use crate::deployment::revision::REVISION;

    #[test]
    fn history_goes_oldest_first_and_only_when_empty() {
        let with_revision = |name: &str, size: i32, revision: i64| {
            let mut set = (*set(name, size, size)).clone();
            set.metadata.annotations = Some([(REVISION.to_owned(), revision.to_string())].into());
            Arc::new(set)
        };
        let old = [
            with_revision("c", 0, 3),
            with_revision("a", 0, 1),
            with_revision("b", 2, 2),
            with_revision("d", 0, 4),
        ];
        let names = |limit| -> Vec<String> {
            expendable(&old, limit).iter().filter_map(|set| set.metadata.name.clone()).collect()
        };
        assert_eq!(names(10), Vec::<String>::new());
        assert_eq!(names(2), ["a"]);
        assert_eq!(names(0), ["a", "c", "d"]);
    }
}
