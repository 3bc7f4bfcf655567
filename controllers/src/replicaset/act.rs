//! The writes: pods created and deleted, adopted and released.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{ObjectReference, Pod as ApiPod},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    cache::{ObjectKey, views::Pod},
    pods::{
        controller_reference, delete_exactly, from_template, is_namespace_terminating, is_not_found,
        name_prefix, object_reference,
    },
    recorder::EventType::{Normal, Warning},
};
use api_types::selector::Selector;

use super::{Controller, Error, plan::Action};

/// Names what went wrong while managing pods; see [`super::status`].
pub(super) struct ManageError;

fn reference(set: &ReplicaSet) -> ObjectReference {
    object_reference("apps/v1", "ReplicaSet", &set.metadata)
}

impl Controller {
    pub(super) async fn act(&self, key: &ObjectKey, set: &ReplicaSet, action: Action) -> Result<(), Error> {
        match action {
            Action::Nothing => Ok(()),
            Action::Create(count) => self.create(key, set, count).await,
            Action::Delete(pods) => self.delete(key, set, pods).await,
        }
    }

    async fn create(&self, key: &ObjectKey, set: &ReplicaSet, count: usize) -> Result<(), Error> {
        let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return Ok(()) };
        let owner = controller_reference("apps/v1", "ReplicaSet", &set.metadata);
        let pod = from_template(template, name_prefix(&key.name), owner);
        let pods: Api<ApiPod> = Api::namespaced(self.client.clone(), &key.namespace);
        self.expectations.expect_creations(key, i64::try_from(count).unwrap_or(i64::MAX));
        let mut left = count;
        let mut batch = 1;
        while left > 0 {
            batch = batch.min(left);
            let results = join_all((0..batch).map(|_| self.create_one(&pods, set, &pod))).await;
            let failures: Vec<kube::Error> = results.into_iter().filter_map(Result::err).collect();
            for _ in &failures {
                self.expectations.creation_observed(key);
            }
            left -= batch;
            batch *= 2;
            if let Some(source) = failures.into_iter().next() {
                self.expectations.creations_given_up(key, i64::try_from(left).unwrap_or(i64::MAX));
                if is_namespace_terminating(&source) {
                    return Ok(());
                }
                return Err(Error::Api { operation: "creating a pod", set: key.clone(), source });
            }
        }
        Ok(())
    }

    async fn create_one(
        &self,
        pods: &Api<ApiPod>,
        set: &ReplicaSet,
        pod: &ApiPod,
    ) -> Result<(), kube::Error> {
        match pods.create(&PostParams::default(), pod).await {
            Ok(created) => {
                let name = created.metadata.name.unwrap_or_default();
                self.recorder.event(
                    reference(set),
                    Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {name}"),
                );
                Ok(())
            }
            Err(error) => {
                if !is_namespace_terminating(&error) {
                    let message = format!("Error creating: {}", answer(&error));
                    self.recorder.event(reference(set), Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, set: &ReplicaSet, pods: Vec<Arc<Pod>>) -> Result<(), Error> {
        self.expectations.expect_deletions(key, pods.iter().map(|pod| pod.metadata.uid.clone()));
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), &key.namespace);
        let results = join_all(pods.iter().map(|pod| self.delete_one(&api, key, set, pod))).await;
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(source) => Err(Error::Api { operation: "deleting a pod", set: key.clone(), source }),
        }
    }

    async fn delete_one(
        &self,
        api: &Api<ApiPod>,
        key: &ObjectKey,
        set: &ReplicaSet,
        pod: &Pod,
    ) -> Result<(), kube::Error> {
        let name = &pod.metadata.name;
        match api.delete(name, &delete_exactly(&pod.metadata.uid)).await {
            Ok(_) => {
                self.recorder.event(
                    reference(set),
                    Normal,
                    "SuccessfulDelete",
                    format!("Deleted pod: {name}"),
                );
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, &pod.metadata.uid);
                if is_not_found(&error) {
                    return Ok(());
                }
                let message = format!("Error deleting: {}", answer(&error));
                self.recorder.event(reference(set), Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    /// Of `pods`, those the set controls, after adopting orphans that match and releasing what does not.
    pub(super) async fn claim(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        selector: &Selector,
        pods: Vec<Arc<Pod>>,
    ) -> Result<Vec<Arc<Pod>>, Error> {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let deleting = set.metadata.deletion_timestamp.is_some();
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), &key.namespace);
        let mut owned = Vec::with_capacity(pods.len());
        let mut proven = false;
        for pod in pods {
            let matches = selector.matches(&pod.metadata.labels);
            let result = match pod.metadata.controller() {
                Some(owner) if &*owner.uid == uid && (matches || deleting) => {
                    if matches {
                        owned.push(pod);
                    }
                    continue;
                }
                Some(owner) if &*owner.uid == uid => {
                    let patch = json!({"metadata": {"uid": &*pod.metadata.uid,
                        "ownerReferences": [{"$patch": "delete", "uid": uid}]}});
                    api.patch(&pod.metadata.name, &PatchParams::default(), &Patch::Strategic(patch)).await
                }
                Some(_) => continue,
                None if deleting || !matches || !pod.is_active() => continue,
                None => {
                    if !proven {
                        self.prove_alive(key, uid).await?;
                        proven = true;
                    }
                    let owner = controller_reference("apps/v1", "ReplicaSet", &set.metadata);
                    let patch = json!({"metadata": {"uid": &*pod.metadata.uid, "ownerReferences": [owner]}});
                    let result = api
                        .patch(&pod.metadata.name, &PatchParams::default(), &Patch::Strategic(patch))
                        .await;
                    if result.is_ok() {
                        owned.push(pod.clone());
                    }
                    result
                }
            };
            match result {
                Ok(_) => {}
                // Gone, or another pod of the same name by now.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
                Err(source) => {
                    return Err(Error::Api { operation: "claiming a pod", set: key.clone(), source });
                }
            }
        }
        Ok(owned)
    }

    /// Asks the server, not the cache, before something is adopted: a set that is gone must adopt nothing.
    async fn prove_alive(&self, key: &ObjectKey, uid: &str) -> Result<(), Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let live = sets.get_opt(&key.name).await.map_err(|source| Error::Api {
            operation: "reading the live object",
            set: key.clone(),
            source,
        })?;
        let same = live.is_some_and(|live| {
            live.metadata.uid.as_deref() == Some(uid) && live.metadata.deletion_timestamp.is_none()
        });
        if same { Ok(()) } else { Err(Error::Stale(key.clone())) }
    }
}

/// What the server said.
fn answer(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
