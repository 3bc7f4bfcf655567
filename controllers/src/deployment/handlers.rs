//! Which deployments a change concerns.

use std::sync::Arc;

use api_types::selector::Selector;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use crate::cache::{Change, Index, Object, ObjectKey, views::Pod};

use super::{Controller, claim};

pub(super) fn register(controller: &Arc<Controller>) {
    let this = controller.clone();
    controller.deployments.on_change(move |change| this.queue.add(ObjectKey::of(&**change.object())));
    let this = controller.clone();
    controller.sets.on_change(move |change| match change {
        Change::Added(set) | Change::Deleted(set) => this.set_changed(set),
        Change::Updated { old, new } => {
            if old.controller_uid() != new.controller_uid() {
                this.add_controller_of(old);
            }
            this.set_changed(new);
        }
    });
    let this = controller.clone();
    controller.pods.on_change(move |change| {
        if let Change::Deleted(pod) = change {
            this.pod_gone(pod);
        } else if let Change::Updated { old, new } = change
            && new.is_terminal()
            && !old.is_terminal()
        {
            this.pod_gone(new);
        }
    });
}

impl Controller {
    fn owner_of(&self, set: &ReplicaSet) -> Option<Arc<Deployment>> {
        let owners = set.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        if owner.kind != "Deployment" {
            return None;
        }
        let deployment = self.deployments.store().get(&ObjectKey::new(set.namespace(), &owner.name))?;
        (deployment.uid() == owner.uid).then_some(deployment)
    }

    fn add_controller_of(&self, set: &ReplicaSet) {
        if let Some(deployment) = self.owner_of(set) {
            self.queue.add(ObjectKey::of(&*deployment));
        }
    }

    fn set_changed(&self, set: &ReplicaSet) {
        if set.controller_uid().is_some() {
            return self.add_controller_of(set);
        }
        for deployment in self.deployments.store().by(Index::Namespace, set.namespace()) {
            let Some(spec) = deployment.spec.as_ref() else { continue };
            let selector = Selector::from_label_selector(&spec.selector);
            if selector.is_ok_and(|selector| claim::matches(set, &selector)) {
                self.queue.add(ObjectKey::of(&*deployment));
            }
        }
    }

    /// A recreated deployment waits for its last old pod.
    fn pod_gone(&self, pod: &Pod) {
        let Some(owner) = pod.metadata.controller().filter(|owner| &*owner.kind == "ReplicaSet") else {
            return;
        };
        let key = ObjectKey::new(&pod.metadata.namespace, &owner.name);
        let Some(set) = self.sets.store().get(&key) else { return };
        let Some(deployment) = self.owner_of(&set) else { return };
        let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            self.queue.add(ObjectKey::of(&*deployment));
        }
    }
}
