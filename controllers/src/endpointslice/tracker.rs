//! What was written and is not in the cache yet: planning on an older state would make a second slice.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cache::ObjectKey;

/// After this long the cache is believed: what was written may have been removed before it was ever seen.
const PATIENCE: Duration = Duration::from_secs(10);

struct Written {
    version: u64,
    at: Instant,
}

/// Written slices by service and name.
#[derive(Default)]
pub(super) struct Tracker {
    map: Mutex<HashMap<ObjectKey, HashMap<Box<str>, Written>>>,
}

impl Tracker {
    /// `slice` was written and got that resource version.
    pub(super) fn expect(&self, service: &ObjectKey, slice: &str, version: &str) {
        let written = Written { version: number(version), at: Instant::now() };
        self.map.lock().entry(service.clone()).or_default().insert(slice.into(), written);
    }

    /// The cache shows `slice` (or its removal) at that resource version.
    pub(super) fn seen(&self, service: &ObjectKey, slice: &str, version: &str) {
        let mut map = self.map.lock();
        let Some(slices) = map.get_mut(service) else { return };
        if slices.get(slice).is_some_and(|written| written.version <= number(version)) {
            slices.remove(slice);
        }
        if slices.is_empty() {
            map.remove(service);
        }
    }

    /// How much longer to wait for the cache, if it lags behind.
    pub(super) fn stale_for(&self, service: &ObjectKey) -> Option<Duration> {
        let mut map = self.map.lock();
        let slices = map.get_mut(service)?;
        slices.retain(|_, written| written.at.elapsed() < PATIENCE);
        let longest = slices.values().map(|written| PATIENCE.saturating_sub(written.at.elapsed())).max();
        if longest.is_none() {
            map.remove(service);
        }
        longest
    }
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_until_the_cache_has_caught_up() {
        let (tracker, key) = (Tracker::default(), ObjectKey::new("ns", "web"));
        assert_eq!(tracker.stale_for(&key), None);
        tracker.expect(&key, "web-1", "12");
        tracker.seen(&key, "web-1", "9");
        assert!(tracker.stale_for(&key).is_some());
        tracker.seen(&key, "web-1", "13");
        assert_eq!(tracker.stale_for(&key), None);
        tracker.expect(&key, "web-2", "20");
        tokio::time::advance(PATIENCE).await;
        assert_eq!(tracker.stale_for(&key), None);
    }
}
