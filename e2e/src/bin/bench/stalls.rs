//! The machine's own pauses: a virtual machine whose neighbours are busy, or whose pages its host walks over, is slow at
//! memory for a tenth of a second every other second. A p99 at a steady rate shows that before it shows the server.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What is touched: more than the processor's own memory holds.
const WORDS: usize = 16 << 20;
/// One look.
const WINDOW: Duration = Duration::from_millis(5);
/// Touches between two looks at the clock.
const STRIDE: usize = 500;

/// How often a machine that does nothing else is at less than half its own speed.
pub struct Stalls {
    share: f64,
    longest: Duration,
    of: Duration,
}

impl Stalls {
    /// Touches memory at random for so long and notes how much of it each window gets done.
    pub fn measure(of: Duration) -> Self {
        let mut memory = vec![1u64; WORDS];
        let mut random = 1u64;
        let mut done = Vec::new();
        let began = Instant::now();
        while began.elapsed() < of {
            let window = Instant::now();
            let mut touched = 0;
            while window.elapsed() < WINDOW {
                for _ in 0..STRIDE {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (random >> 33) as usize % WORDS;
                    memory[at] = memory[at].wrapping_add(random);
                }
                touched += STRIDE;
            }
            // A window that was overslept is as long as it was.
            done.push((touched as f64 / window.elapsed().as_secs_f64(), window.elapsed()));
        }
        black_box(&memory);
        Self::of(&done, of)
    }

    fn of(done: &[(f64, Duration)], of: Duration) -> Self {
        let speeds: Vec<_> = done.iter().map(|(speed, _)| *speed).collect();
        let half = crate::percentile(&speeds, 0.5) / 2.0;
        let (mut slow, mut longest, mut now) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for (speed, took) in done {
            if *speed < half {
                slow += *took;
                now += *took;
                longest = longest.max(now);
            } else {
                now = Duration::ZERO;
            }
        }
        Self { share: slow.as_secs_f64() / of.as_secs_f64(), longest, of }
    }
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, longest) = (self.share * 100.0, self.longest.as_millis());
        write!(f, "memory at less than half speed for {share:.1}% of {:?}, {longest} ms at a time", self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_windows_are_added_up() {
        let window = Duration::from_millis(10);
        let speeds = [10.0, 10.0, 4.0, 3.0, 10.0, 11.0, 4.9, 10.0, 10.0, 10.0];
        let done: Vec<_> = speeds.into_iter().map(|speed| (speed, window)).collect();
        let stalls = Stalls::of(&done, Duration::from_millis(100));
        assert_eq!(stalls.longest, Duration::from_millis(20));
        assert!((stalls.share - 0.3).abs() < 1e-9);
    }
}
