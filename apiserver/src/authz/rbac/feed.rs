//! Keeps the policy in step with the cached roles and bindings.
//!
//! One loop a kind: read everything, then follow the watch; a watch that ends starts over. An object
//! that cannot be parsed grants nothing.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Rbac;
use super::policy::{Binding, Policy, Role};
use crate::cache::{CachedObject, EventKind, ResourceCache, WatchEnded, WatchScope};
use crate::storage::Revision;

/// The caches of the four kinds.
#[derive(Debug, Clone)]
pub struct RbacCaches {
    /// Of `roles`.
    pub roles: Arc<ResourceCache>,
    /// Of `clusterroles`.
    pub cluster_roles: Arc<ResourceCache>,
    /// Of `rolebindings`.
    pub role_bindings: Arc<ResourceCache>,
    /// Of `clusterrolebindings`.
    pub cluster_role_bindings: Arc<ResourceCache>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Role,
    Binding,
}

impl Rbac {
    /// Follows the caches until `stop`. Run it once.
    pub async fn run(self: Arc<Self>, caches: RbacCaches, stop: CancellationToken) {
        let caches = self.caches.get_or_init(|| caches);
        let follow = |at, cache, kind| follow(&self, at, cache, kind, &stop);
        tokio::join!(
            follow(0, &caches.cluster_roles, Kind::Role),
            follow(1, &caches.roles, Kind::Role),
            follow(2, &caches.cluster_role_bindings, Kind::Binding),
            follow(3, &caches.role_bindings, Kind::Binding),
        );
    }

    /// Waits until what the caches hold at the time of the call counts; at once if it is not running.
    pub async fn ready(&self) {
        if let Some(caches) = self.caches.get() {
            self.caught_up(caches.roles.snapshot().revision()).await;
        }
    }

    /// Waits until everything up to `revision`, which the cache must have applied, counts.
    pub async fn caught_up(&self, revision: Revision) {
        let mut seen = self.seen.subscribe();
        self.nudge.send_replace(());
        let all =
            |seen: &[Option<Revision>; 4]| seen.iter().all(|seen| seen.is_some_and(|seen| seen >= revision));
        // Cannot fail: `self` keeps the sender.
        drop(seen.wait_for(all).await);
    }

    fn saw(&self, at: usize, revision: Option<Revision>) {
        self.seen.send_if_modified(|seen| {
            let newer = revision > seen[at];
            seen[at] = seen[at].max(revision);
            newer
        });
    }
}

async fn follow(rbac: &Rbac, at: usize, cache: &ResourceCache, kind: Kind, stop: &CancellationToken) {
    let mut nudged = rbac.nudge.subscribe();
    loop {
        let snapshot = cache.snapshot();
        // The snapshot may have left the ring meanwhile; a newer one has not.
        let Ok(mut watcher) = cache.watch(WatchScope::default(), snapshot.revision()) else {
            tokio::task::yield_now().await;
            continue;
        };
        let namespaced = cache.config().namespaced;
        rbac.change(|policy| {
            match kind {
                Kind::Role => policy.clear_roles(namespaced),
                Kind::Binding => policy.clear_bindings(namespaced),
            }
            snapshot.iter().for_each(|object| set(policy, kind, object, true));
        });
        rbac.saw(at, Some(snapshot.revision()));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = watcher.next() => match event {
                    Ok(event) => {
                        rbac.change(|policy| set(policy, kind, &event.object, event.kind != EventKind::Deleted));
                    }
                    Err(WatchEnded::Stopped) => return,
                    Err(WatchEnded::TooSlow | WatchEnded::Relisted) => break,
                },
                nudge = nudged.changed() => if nudge.is_err() {
                    return;
                },
            }
            rbac.saw(at, watcher.progress());
        }
    }
}

fn set(policy: &mut Policy, kind: Kind, object: &CachedObject, exists: bool) {
    let (namespace, name) = (object.namespace(), object.name());
    match kind {
        Kind::Role => policy.set_role(namespace, name, exists.then(|| parse::<Role>(object)).flatten()),
        Kind::Binding => {
            policy.set_binding(namespace, name, exists.then(|| parse::<Binding>(object)).flatten())
        }
    }
}

fn parse<T: DeserializeOwned>(object: &CachedObject) -> Option<T> {
    serde_json::from_slice(&object.bytes)
        .inspect_err(
            |error| tracing::error!(key = %object.key, %error, "ignoring an RBAC object that cannot be read"),
        )
        .ok()
}
