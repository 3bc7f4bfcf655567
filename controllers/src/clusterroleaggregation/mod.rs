//! Cluster roles with an `aggregationRule` have the rules of the roles that it selects.
//!
//! Owns: `rules` of those cluster roles.
//! Woken by: cluster roles. A role wakes those that select it by its labels, before or after the change; what is put
//! together may itself be a part of another.
//! Invariant: rules are applied when they differ from what they must be, and only then.

mod plan;

use std::{collections::HashMap, sync::Arc};

use api_types::selector::Selector;
use kube::Client;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    cache::{Change, Informer, Object, ObjectKey, Source},
    context::Context,
    queue::WorkQueue,
    rest,
};

use plan::ClusterRole;

/// Identity, and manager of the fields.
const NAME: &str = "clusterrole-aggregation-controller";
const PATH: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// The rules of a role could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("applying the rules of cluster role {role}")]
pub struct Error {
    role: Arc<str>,
    source: kube::Error,
}

struct Controller {
    client: Client,
    roles: Arc<Informer<ClusterRole>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    /// The roles that are put together, and what they select.
    aggregated: Mutex<HashMap<ObjectKey, Vec<Selector>>>,
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let controller = Arc::new(Controller {
        client: client.clone(),
        roles: Informer::new(Source::new(PATH)),
        queue: WorkQueue::new(context.metrics.queue("ClusterRoleAggregator")),
        aggregated: Mutex::default(),
    });
    let this = controller.clone();
    controller.roles.on_change(move |change| this.role_changed(change));
    context.tasks.spawn(controller.roles.clone().run(client, context.token.clone()));
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    context.spawn(async move {
        controller.roles.synced().await;
        let queue = controller.queue.clone();
        queue.spawn_workers("clusterrole-aggregation", workers, &tasks, &token, move |key| {
            let this = controller.clone();
            async move { this.reconcile(&key).await }
        });
    });
}

impl Controller {
    fn role_changed(&self, change: &Change<ClusterRole>) {
        let before = match change {
            Change::Updated { old, new } if old.counts_as(new) => return,
            Change::Updated { old, .. } => Some(old),
            Change::Added(_) | Change::Deleted(_) => None,
        };
        let role = change.object();
        let key = ObjectKey::of(&**role);
        let mut aggregated = self.aggregated.lock();
        match role.selectors().filter(|_| !matches!(change, Change::Deleted(_))) {
            Some(selectors) => {
                aggregated.insert(key.clone(), selectors);
                self.queue.add(key);
            }
            None => drop(aggregated.remove(&key)),
        }
        for (whole, selectors) in aggregated.iter() {
            let part = |role: &ClusterRole| plan::selects(selectors, &role.metadata.labels);
            if part(role) || before.is_some_and(|before| part(before)) {
                self.queue.add(whole.clone());
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(role) = self.roles.store().get(key) else { return Ok(()) };
        let all = self.roles.store().all();
        let Some(rules) = plan::rules(&role, all.iter().map(|role| &**role)) else { return Ok(()) };
        // With its uid, so that one that was deleted meanwhile is not made again.
        let configuration = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": &*key.name, "uid": role.uid()}, "rules": rules});
        match rest::apply(&self.client, &format!("{PATH}/{}", key.name), NAME, &configuration).await {
            // Its deletion is on the way to the cache.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            result => result.map_err(|source| Error { role: key.name.clone(), source }),
        }
    }
}
