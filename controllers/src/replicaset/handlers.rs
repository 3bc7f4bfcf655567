//! Which sets a change concerns.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::cache::{Change, Index, Object, ObjectKey, views::Pod};
use api_types::selector::Selector;

use super::Controller;

pub(super) fn register(controller: &Arc<Controller>) {
    let this = controller.clone();
    controller.sets.on_change(move |change| {
        let key = ObjectKey::of(&**change.object());
        if let Change::Deleted(_) = change {
            this.expectations.forget(&key);
        }
        this.queue.add(key);
    });
    let this = controller.clone();
    controller.pods.on_change(move |change| match change {
        Change::Added(pod) if pod.metadata.deletion_timestamp.is_some() => this.pod_gone(pod),
        Change::Added(pod) => this.pod_added(pod),
        Change::Updated { old, new } => this.pod_updated(old, new),
        Change::Deleted(pod) => this.pod_gone(pod),
    });
}

impl Controller {
    fn controller_of(&self, pod: &Pod) -> Option<Arc<ReplicaSet>> {
        let owner = pod.metadata.controller().filter(|owner| &*owner.kind == "ReplicaSet")?;
        let set = self.sets.store().get(&ObjectKey::new(&pod.metadata.namespace, &owner.name))?;
        (set.uid() == &*owner.uid).then_some(set)
    }

    fn add_matching(&self, pod: &Pod) {
        for set in self.sets.store().by(Index::Namespace, &pod.metadata.namespace) {
            let selector =
                set.spec.as_ref().and_then(|spec| Selector::from_label_selector(&spec.selector).ok());
            if selector.is_some_and(|selector| selector.matches(&pod.metadata.labels)) {
                self.queue.add(ObjectKey::of(&*set));
            }
        }
    }

    fn pod_added(&self, pod: &Pod) {
        if pod.metadata.controller().is_none() {
            return self.add_matching(pod);
        }
        if let Some(owner) = pod.metadata.controller().filter(|owner| &*owner.kind == "ReplicaSet") {
            // By name, not through the cache: the set may be known to the server and not yet here.
            let key = ObjectKey::new(&pod.metadata.namespace, &owner.name);
            self.expectations.creation_observed(&key);
            self.queue.add(key);
        }
    }

    fn pod_updated(&self, old: &Pod, new: &Pod) {
        if new.metadata.uid != old.metadata.uid {
            self.pod_gone(old);
            return self.pod_added(new);
        }
        if new.metadata.deletion_timestamp.is_some() {
            self.pod_gone(new);
            return;
        }
        let (before, after) = (old.metadata.controller(), new.metadata.controller());
        if before != after
            && let Some(set) = self.controller_of(old)
        {
            self.queue.add(ObjectKey::of(&*set));
        }
        if after.is_some() {
            let Some(set) = self.controller_of(new) else { return };
            let key = ObjectKey::of(&*set);
            self.queue.add(key.clone());
            let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
            if !old.is_ready() && new.is_ready() && min_ready > 0 {
                // A second more than asked for: times in conditions have whole seconds.
                self.queue.add_after(key, Duration::from_secs(min_ready.unsigned_abs().into()));
            }
            return;
        }
        if old.metadata.labels != new.metadata.labels || before != after {
            self.add_matching(new);
        }
    }

    fn pod_gone(&self, pod: &Pod) {
        if let Some(set) = self.controller_of(pod) {
            let key = ObjectKey::of(&*set);
            self.expectations.deletion_observed(&key, &pod.metadata.uid);
            self.queue.add(key);
        }
    }
}
