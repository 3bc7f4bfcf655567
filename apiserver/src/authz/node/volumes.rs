//! Which secrets persistent volumes need, and for whose claims.
//!
//! Fed by the watch of volumes: a node that may see a claim may see the secrets of the volume it is bound to.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::follow::follow;
use super::volume_refs::volume_refs;
use crate::cache::{CacheEvent, CachedObject, EventKind, ResourceCache, Snapshot};

/// By secret, how many volumes of each claim need it; both as `namespace/name`.
type Claims = HashMap<Box<str>, HashMap<Box<str>, u32>>;

/// The secrets of all bound volumes.
#[derive(Debug)]
pub struct VolumeSecrets {
    claims: RwLock<Claims>,
    loaded: watch::Sender<bool>,
}

impl VolumeSecrets {
    /// Empty until [`VolumeSecrets::run`] has read the volumes.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { claims: RwLock::default(), loaded: watch::Sender::new(false) })
    }

    /// The claims bound to volumes that need the secret.
    #[must_use]
    pub fn claims(&self, secret: &str) -> Vec<Box<str>> {
        let claims = self.claims.read();
        claims.get(secret).into_iter().flat_map(|claims| claims.keys().cloned()).collect()
    }

    /// Waits until the volumes have been read.
    pub async fn ready(&self) {
        // Cannot fail: `self` keeps the sender.
        drop(self.loaded.subscribe().wait_for(|loaded| *loaded).await);
    }

    /// Follows the volumes until `stop`. The cache must be ready.
    pub async fn run(self: Arc<Self>, volumes: Arc<ResourceCache>, stop: CancellationToken) {
        let read = |snapshot: &Snapshot| {
            let mut claims = Claims::new();
            snapshot.iter().for_each(|volume| add(&mut claims, volume));
            *self.claims.write() = claims;
            self.loaded.send_replace(true);
        };
        follow(&volumes, &stop, read, |event| self.apply(event)).await;
    }

    fn apply(&self, event: &CacheEvent) {
        let mut claims = self.claims.write();
        // First the new ones, so that what stays is never gone in between.
        if event.kind != EventKind::Deleted {
            add(&mut claims, &event.object);
        }
        if let Some(old) = &event.previous {
            remove(&mut claims, old);
        }
    }
}

fn add(claims: &mut Claims, volume: &CachedObject) {
    let Some(refs) = volume_refs(&volume.bytes) else { return };
    for secret in refs.secrets {
        *claims.entry(secret.into()).or_default().entry(refs.claim.as_str().into()).or_default() += 1;
    }
}

fn remove(claims: &mut Claims, volume: &CachedObject) {
    let Some(refs) = volume_refs(&volume.bytes) else { return };
    for secret in refs.secrets {
        let Some(of) = claims.get_mut(secret.as_str()) else { continue };
        if let Some(count) = of.get_mut(refs.claim.as_str()) {
            *count -= 1;
            if *count == 0 {
                of.remove(refs.claim.as_str());
            }
        }
        if of.is_empty() {
            claims.remove(secret.as_str());
        }
    }
}
