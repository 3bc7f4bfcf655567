//! The writes: ReplicaSets made, resized and removed, and the status.

use std::sync::Arc;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{PostParams, PropagationPolicy},
};

use crate::{
    pods::{controller_reference, delete_exactly, is_namespace_terminating, is_not_found, object_reference},
    recorder::EventType::Normal,
};

use super::{
    Controller, Error, Look,
    revision::{
        self, HASH_LABEL, REVISION, annotation, hash, next_revision, same_template, set_replicas,
        size_annotations,
    },
    rolling, status,
};

impl Controller {
    fn failed(look: &Look, operation: &'static str) -> impl FnOnce(kube::Error) -> Error {
        let deployment = look.key.clone();
        move |source| Error::Api { operation, deployment, source }
    }

    fn set_api(&self, look: &Look) -> Api<ReplicaSet> {
        Api::namespaced(self.client.clone(), &look.key.namespace)
    }

    /// The set of the current template, made or brought up to date.
    pub(super) async fn ensure_new_set(&self, look: &mut Look) -> Result<Arc<ReplicaSet>, Error> {
        let wanted = next_revision(&look.old);
        let set = match look.new.clone() {
            Some(set) => self.refresh_new_set(look, set, wanted).await?,
            None => self.create_new_set(look, wanted).await?,
        };
        self.note_revision(look, annotation(&set, REVISION).unwrap_or_default().to_owned()).await?;
        look.new = Some(set.clone());
        Ok(set)
    }

    async fn refresh_new_set(
        &self,
        look: &mut Look,
        set: Arc<ReplicaSet>,
        wanted: i64,
    ) -> Result<Arc<ReplicaSet>, Error> {
        let existing = set.metadata.annotations.clone().unwrap_or_default();
        let annotations = revision::new_set_annotations(&look.deployment, Some(&existing), wanted);
        let min_ready = look.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let known = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let name = set.metadata.name.clone().unwrap_or_default();
        status::note_new_set(&mut look.deployment, false, &name, look.now);
        if annotations == existing && min_ready == known {
            return Ok(set);
        }
        let mut changed = (*set).clone();
        changed.metadata.annotations = Some(annotations);
        if let Some(spec) = changed.spec.as_mut() {
            spec.min_ready_seconds = (min_ready != 0).then_some(min_ready);
        }
        let written = self.set_api(look).replace(&name, &PostParams::default(), &changed).await;
        Ok(Arc::new(written.map_err(Self::failed(look, "updating the new replica set"))?))
    }

    async fn create_new_set(&self, look: &mut Look, wanted: i64) -> Result<Arc<ReplicaSet>, Error> {
        let new = new_set(look, wanted);
        let name = new.metadata.name.clone().unwrap_or_default();
        let size = set_replicas(&new);
        let (set, created) = match self.set_api(look).create(&PostParams::default(), &new).await {
            Ok(set) => (set, true),
            Err(kube::Error::Api(answer)) if answer.code == 409 => {
                (self.existing_set(look, &name, &new).await?, false)
            }
            Err(error) => {
                if !is_namespace_terminating(&error) {
                    let text = match &error {
                        kube::Error::Api(answer) => answer.message.clone(),
                        other => other.to_string(),
                    };
                    status::note_create_error(&mut look.deployment, &name, &text, look.now);
                    let status = look.deployment.status.clone().unwrap_or_default();
                    self.write_status(look, status).await?;
                }
                return Err(Self::failed(look, "creating the new replica set")(error));
            }
        };
        if created && size > 0 {
            self.told(look, format!("Scaled up replica set {name} from 0 to {size}"));
        }
        status::note_new_set(&mut look.deployment, true, &name, look.now);
        Ok(Arc::new(set))
    }

    /// The name is taken: by our own set that the cache does not show yet, or by a collision of hashes.
    async fn existing_set(&self, look: &mut Look, name: &str, new: &ReplicaSet) -> Result<ReplicaSet, Error> {
        let live =
            self.set_api(look).get(name).await.map_err(Self::failed(look, "reading the new replica set"))?;
        let uid = look.deployment.metadata.uid.as_deref();
        let ours = live
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && Some(owner.uid.as_str()) == uid);
        let template = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone());
        if let (true, Some(a), Some(b)) = (ours, template(&live), template(new))
            && same_template(&a, &b)
        {
            return Ok(live);
        }
        let mut status = look.deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(look, status).await?;
        Err(Error::HashCollision { name: name.to_owned(), deployment: look.key.clone() })
    }

    /// The deployment carries the revision of its template.
    async fn note_revision(&self, look: &mut Look, revision: String) -> Result<(), Error> {
        let known = look.deployment.metadata.annotations.as_ref().and_then(|map| map.get(REVISION));
        if revision.is_empty() || known == Some(&revision) {
            return Ok(());
        }
        let status = look.deployment.status.clone();
        let mut changed = (*look.cached).clone();
        changed.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision);
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &look.key.namespace);
        let written = api.replace(&look.key.name, &PostParams::default(), &changed).await;
        let mut written = written.map_err(Self::failed(look, "setting the revision"))?;
        written.status = status;
        look.deployment = written;
        Ok(())
    }

    /// Makes `set` that size and says so.
    pub(super) async fn scale(&self, look: &mut Look, set: &Arc<ReplicaSet>, size: i32) -> Result<(), Error> {
        let before = set_replicas(set);
        let sizes = size_annotations(&look.deployment);
        let noted = sizes.iter().all(|(key, value)| annotation(set, key) == Some(value));
        if before == size && noted {
            return Ok(());
        }
        let mut changed = (**set).clone();
        if let Some(spec) = changed.spec.as_mut() {
            spec.replicas = Some(size);
        }
        changed.metadata.annotations.get_or_insert_default().extend(sizes);
        let name = set.metadata.name.clone().unwrap_or_default();
        let written = self.set_api(look).replace(&name, &PostParams::default(), &changed).await;
        let written = written.map_err(Self::failed(look, "scaling a replica set"))?;
        if before != size {
            let direction = if size > before { "up" } else { "down" };
            self.told(look, format!("Scaled {direction} replica set {name} from {before} to {size}"));
        }
        look.replace(written);
        Ok(())
    }

    pub(super) async fn delete_set(&self, look: &Look, set: &ReplicaSet) -> Result<(), Error> {
        let mut parameters = delete_exactly(set.metadata.uid.as_deref().unwrap_or_default());
        parameters.propagation_policy = Some(PropagationPolicy::Background);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        match self.set_api(look).delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(Self::failed(look, "deleting an old replica set")(error)),
        }
    }

    fn told(&self, look: &Look, message: String) {
        let about = object_reference("apps/v1", "Deployment", &look.deployment.metadata);
        self.recorder.event(about, Normal, "ScalingReplicaSet", message);
    }

    pub(super) async fn write_rollout_status(&self, look: &mut Look) -> Result<(), Error> {
        let status = status::rolled_out(look);
        self.write_status(look, status.clone()).await?;
        look.deployment.status = Some(status);
        self.watch_deadline(look);
        Ok(())
    }

    pub(super) async fn write_plain_status(&self, look: &Look) -> Result<(), Error> {
        self.write_status(look, status::counted(look)).await
    }

    async fn write_status(&self, look: &Look, status: DeploymentStatus) -> Result<(), Error> {
        if look.cached.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = look.deployment.clone();
        changed.status = Some(status);
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &look.key.namespace);
        match api.replace_status(&look.key.name, &PostParams::default(), &changed).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(Self::failed(look, "updating the status")(error)),
        }
    }
}

/// The set of the deployment's template, not made yet.
fn new_set(look: &Look, revision: i64) -> ReplicaSet {
    let deployment = &look.deployment;
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let size = rolling::new_set_size(deployment, revision::sum(&look.old), 0);
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", look.key.name)),
            namespace: Some(look.key.namespace.to_string()),
            labels: Some(labels),
            annotations: Some(revision::new_set_annotations(deployment, None, revision)),
            owner_references: Some(vec![controller_reference("apps/v1", "Deployment", &deployment.metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}
