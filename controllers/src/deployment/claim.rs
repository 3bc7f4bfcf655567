//! Which ReplicaSets a deployment controls: orphans that match are adopted, what no longer matches is released.

use std::{collections::BTreeMap, sync::Arc};

use api_types::selector::Selector;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    cache::{Object, ObjectKey},
    pods::controller_reference,
};

use super::{Controller, Error};

pub(super) fn matches(set: &ReplicaSet, selector: &Selector) -> bool {
    match set.metadata.labels.as_ref() {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&BTreeMap::new()),
    }
}

pub(super) fn is_matching_orphan(set: &ReplicaSet, selector: &Selector) -> bool {
    set.controller_uid().is_none() && matches(set, selector)
}

impl Controller {
    pub(super) async fn claim(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        selector: &Selector,
        sets: Vec<Arc<ReplicaSet>>,
    ) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let mut owned = Vec::with_capacity(sets.len());
        let mut proven = false;
        for set in sets {
            let matches = matches(&set, selector);
            let ours = set.controller_uid() == Some(uid);
            if ours && (matches || deleting) {
                owned.push(set);
                continue;
            }
            let patch = if ours {
                json!({"metadata": {"uid": set.uid(), "ownerReferences": [{"$patch": "delete", "uid": uid}]}})
            } else if deleting || !matches || set.metadata.deletion_timestamp.is_some() {
                continue;
            } else {
                if !proven {
                    self.prove_alive(key, uid).await?;
                    proven = true;
                }
                let owner = controller_reference("apps/v1", "Deployment", &deployment.metadata);
                json!({"metadata": {"uid": set.uid(), "ownerReferences": [owner]}})
            };
            match api.patch(set.name(), &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(written) if !ours => owned.push(Arc::new(written)),
                Ok(_) => {}
                // Gone, or another set of the same name by now.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
                Err(source) => {
                    let deployment = key.clone();
                    return Err(Error::Api { operation: "claiming a replica set", deployment, source });
                }
            }
        }
        Ok(owned)
    }

    /// Asks the server, not the cache, before something is adopted.
    async fn prove_alive(&self, key: &ObjectKey, uid: &str) -> Result<(), Error> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
        let live = api.get_opt(&key.name).await.map_err(|source| Error::Api {
            operation: "reading the live object",
            deployment: key.clone(),
            source,
        })?;
        let same = live.is_some_and(|live| {
            live.metadata.uid.as_deref() == Some(uid) && live.metadata.deletion_timestamp.is_none()
        });
        if same { Ok(()) } else { Err(Error::Stale(key.clone())) }
    }
}
