//! What a controller has asked for and not yet seen in its cache.
//!
//! Until every creation and deletion it asked for was observed, a controller must not count again: a stale cache
//! would make it create or delete too much. Deletions are tracked by uid, creations by number; what was never
//! observed is forgotten after five minutes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cache::ObjectKey;

const TIMEOUT: Duration = Duration::from_secs(300);

struct Expectation {
    creations: i64,
    deletions: HashSet<Box<str>>,
    since: Instant,
}

/// Expectations by the key of the controlling object.
#[derive(Default)]
pub struct Expectations {
    map: Mutex<HashMap<ObjectKey, Expectation>>,
}

impl Expectations {
    /// Whether the cache has caught up with what was asked for.
    pub fn satisfied(&self, key: &ObjectKey) -> bool {
        let map = self.map.lock();
        let Some(expectation) = map.get(key) else { return true };
        (expectation.creations <= 0 && expectation.deletions.is_empty())
            || expectation.since.elapsed() >= TIMEOUT
    }

    /// `count` creations are about to be asked for.
    pub fn expect_creations(&self, key: &ObjectKey, count: i64) {
        self.set(key, count, HashSet::new());
    }

    /// Deletions of these objects are about to be asked for.
    pub fn expect_deletions(&self, key: &ObjectKey, uids: impl IntoIterator<Item = Box<str>>) {
        self.set(key, 0, uids.into_iter().collect());
    }

    fn set(&self, key: &ObjectKey, creations: i64, deletions: HashSet<Box<str>>) {
        self.map.lock().insert(key.clone(), Expectation { creations, deletions, since: Instant::now() });
    }

    /// A creation was seen, or was given up.
    pub fn creation_observed(&self, key: &ObjectKey) {
        self.creations_given_up(key, 1);
    }

    /// `count` creations will not happen.
    pub fn creations_given_up(&self, key: &ObjectKey, count: i64) {
        if let Some(expectation) = self.map.lock().get_mut(key) {
            expectation.creations -= count;
        }
    }

    /// A deletion was seen, or was given up.
    pub fn deletion_observed(&self, key: &ObjectKey, uid: &str) {
        if let Some(expectation) = self.map.lock().get_mut(key) {
            expectation.deletions.remove(uid);
        }
    }

    /// The controlling object is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.map.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stale_cache_is_recognised() {
        let (expectations, key) = (Expectations::default(), ObjectKey::new("ns", "rs"));
        assert!(expectations.satisfied(&key));
        expectations.expect_creations(&key, 2);
        expectations.creation_observed(&key);
        assert!(!expectations.satisfied(&key));
        expectations.creation_observed(&key);
        assert!(expectations.satisfied(&key));

        expectations.expect_deletions(&key, ["u1".into(), "u2".into()]);
        expectations.deletion_observed(&key, "u1");
        expectations.deletion_observed(&key, "u1");
        assert!(!expectations.satisfied(&key), "the same deletion counts once");
        tokio::time::advance(TIMEOUT).await;
        assert!(expectations.satisfied(&key), "what is never seen is forgotten");
    }
}
