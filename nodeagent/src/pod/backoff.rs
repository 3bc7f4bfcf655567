//! Exponential back-off per key, as upstream counts it: doubled at every use, forgotten after twice the maximum.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

/// Delays by key.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    entries: HashMap<String, Entry>,
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Backoff {
    /// Delays from `base` to `max`.
    pub fn new(base: Duration, max: Duration) -> Backoff {
        Backoff { base, max, entries: HashMap::new() }
    }

    fn current(&self, key: &str, at: Timestamp) -> Option<Entry> {
        let entry = *self.entries.get(key)?;
        (at.duration_since(entry.updated) <= signed(self.max * 2)).then_some(entry)
    }

    /// Until when the key has to wait, counted from `since`; `None` when it may go on now.
    pub fn until(&self, key: &str, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.current(key, since)?;
        let until = since + signed(entry.delay);
        (now < until).then_some(until)
    }

    /// The delay that applies now.
    pub fn delay(&self, key: &str) -> Duration {
        self.entries.get(key).map_or(self.base, |entry| entry.delay)
    }

    /// Counts one more use at `now`.
    pub fn next(&mut self, key: &str, now: Timestamp) {
        let delay = self.current(key, now).map_or(self.base, |entry| (entry.delay * 2).min(self.max));
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// Forgets a key.
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn it_doubles_to_the_maximum_and_is_forgotten_after_a_quiet_time() {
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        assert_eq!(backoff.until("a", at(0), at(0)), None);
        backoff.next("a", at(0));
        assert_eq!(backoff.until("a", at(1), at(2)), Some(at(11)));
        assert_eq!(backoff.until("a", at(1), at(11)), None);
        for _ in 0..10 {
            backoff.next("a", at(20));
        }
        assert_eq!(backoff.delay("a"), Duration::from_secs(300));
        assert_eq!(backoff.until("a", at(700), at(701)), None);
        backoff.next("a", at(700));
        assert_eq!(backoff.delay("a"), Duration::from_secs(10));
    }
}
