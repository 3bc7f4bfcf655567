//! Leases for keys that expire, shared: an event storm must not make an etcd lease an event.
//!
//! As upstream does, a lease is reused for keys of the same time to live written within a short while,
//! up to a number of keys; its own time to live is longer by that while, so that no key expires early.

use std::collections::HashMap;
use std::time::Duration;

use etcd_client::{Error, LeaseClient};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A lease is reused for this long at most, and for a twentieth of its time to live at most.
const REUSE: Duration = Duration::from_secs(60);
/// Keys that share a lease at most.
const KEYS: u32 = 1_000;
/// Distinct times to live remembered at most.
const SLOTS: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Slot {
    id: i64,
    until: Instant,
    keys: u32,
}

/// Hands out leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    slots: Mutex<HashMap<u64, Slot>>,
}

impl Leases {
    /// A lease that lasts at least `ttl` from now.
    pub(super) async fn get(&self, client: &mut LeaseClient, ttl: Duration) -> Result<i64, Error> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let reuse = REUSE.min(ttl / 20).max(Duration::from_secs(1));
        // Held over the grant, so that writers of the same moment share the one grant.
        let mut slots = self.slots.lock().await;
        let now = Instant::now();
        if let Some(slot) = slots.get_mut(&seconds).filter(|slot| slot.until > now && slot.keys < KEYS) {
            slot.keys += 1;
            return Ok(slot.id);
        }
        if slots.len() >= SLOTS {
            slots.retain(|_, slot| slot.until > now);
        }
        let granted = i64::try_from(seconds + reuse.as_secs() + 1).unwrap_or(i64::MAX);
        let id = client.grant(granted, None).await?.id();
        slots.insert(seconds, Slot { id, until: now + reuse, keys: 1 });
        Ok(id)
    }

    /// Forgets a lease that etcd no longer has.
    pub(super) async fn forget(&self, id: i64) {
        self.slots.lock().await.retain(|_, slot| slot.id != id);
    }
}
