//! How many pods the controllers of some pods want together.

use std::{collections::HashMap, sync::Arc};

use http::Request;
use serde_json::Value;

use crate::{
    cache::{ObjectKey, Owner, views::Pod},
    discovery,
    pods::is_not_found,
};

use super::Controller;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    /// It cannot be: the budget fits these pods badly.
    #[error("{0}")]
    Never(String),
    /// The server could not be asked.
    #[error("asking for the scale of {owner}")]
    Api {
        owner: String,
        #[source]
        source: kube::Error,
    },
}

impl Controller {
    /// The sum over the controllers of `pods`; pods without one count for nothing.
    pub(super) async fn expected_scale(&self, namespace: &str, pods: &[Arc<Pod>]) -> Result<i32, Unknown> {
        let mut scales: HashMap<Box<str>, i32> = HashMap::new();
        let mut direct: HashMap<Box<str>, ()> = HashMap::new();
        for pod in pods {
            let Some(owner) = pod.metadata.controller() else { continue };
            if direct.insert(owner.uid.clone(), ()).is_some() {
                continue;
            }
            let Some((uid, scale)) = self.scale_of(namespace, owner).await? else {
                return Err(Unknown::Never(format!("found no controllers for pod {:?}", pod.metadata.name)));
            };
            scales.insert(uid, scale);
        }
        Ok(scales.values().fold(0, |sum, scale| sum.saturating_add(*scale)))
    }

    /// (uid, replicas) of a controller, or of the deployment that it belongs to.
    async fn scale_of(&self, namespace: &str, owner: &Owner) -> Result<Option<(Box<str>, i32)>, Unknown> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        if group != "apps" || &*owner.kind != "ReplicaSet" {
            return self.scale_on_the_server(namespace, group, owner).await;
        }
        let Some(set) = self.replica_sets.store().get(&ObjectKey::new(namespace, &owner.name)) else {
            return Ok(None);
        };
        if set.metadata.uid.as_deref() != Some(&*owner.uid) {
            return Ok(None);
        }
        let owners = set.metadata.owner_references.as_deref().unwrap_or_default();
        let above = owners.iter().find(|o| o.controller == Some(true) && o.kind == "Deployment");
        let deployment = above.and_then(|above| {
            let found = self.deployments.store().get(&ObjectKey::new(namespace, &above.name))?;
            (found.metadata.uid.as_deref() == Some(&*above.uid)).then_some(found)
        });
        let own = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        Ok(Some(match deployment {
            Some(deployment) => {
                let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
                (uid.into(), deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
            }
            None => (owner.uid.clone(), own),
        }))
    }

    async fn scale_on_the_server(
        &self,
        namespace: &str,
        group: &str,
        owner: &Owner,
    ) -> Result<Option<(Box<str>, i32)>, Unknown> {
        let shown = format!("{} {namespace}/{}", owner.kind, owner.name);
        let failed = |source| Unknown::Api { owner: shown.clone(), source };
        let served = discovery::served(&self.client).await.map_err(failed)?;
        let kind =
            served.resources.iter().find(|resource| resource.group == group && resource.kind == *owner.kind);
        let Some(kind) = kind else { return Ok(None) };
        let path = format!("{}/{}/scale", kind.path(namespace), owner.name);
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|error| failed(kube::Error::HttpError(error)))?;
        let scale: Value = match self.client.request(request).await {
            Ok(scale) => scale,
            Err(error) if is_not_found(&error) => {
                let (plural, group) =
                    (&kind.plural, if group.is_empty() { String::new() } else { format!(".{group}") });
                return Err(Unknown::Never(format!(
                    "{plural}{group} does not implement the scale subresource"
                )));
            }
            Err(error) => return Err(failed(error)),
        };
        let uid = scale.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        if uid != &*owner.uid {
            return Ok(None);
        }
        let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
        Ok(Some((owner.uid.clone(), i32::try_from(replicas).unwrap_or(i32::MAX))))
    }
}
