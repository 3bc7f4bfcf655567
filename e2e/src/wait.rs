//! Waiting with a deadline that tells what was seen last.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `look` gives something; its error is the state that is reported when the time is over.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match look() {
            Ok(value) => return Ok(value),
            Err(e) => e,
        };
        if Instant::now() >= deadline {
            return Err(anyhow!("{what}: not within {:.1} s; last seen: {last:#}", limit.as_secs_f64()));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Seconds, shorter to write.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
