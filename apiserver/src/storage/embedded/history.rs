//! How much history to keep: a pure policy over marks of time, revision and bytes.
//!
//! Invariant: no timer is wanted while there is nothing to compact.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::storage::Revision;

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// When its first write was made.
    opened: Instant,
    /// When its last one was: everything up to `revision` is at least as old.
    at: Instant,
    revision: Revision,
    superseded: u64,
}

/// Decides up to which revision history may be forgotten.
#[derive(Debug)]
pub(super) struct History {
    window: Duration,
    max_bytes: u64,
    marks: VecDeque<Mark>,
    /// Bytes superseded since the store was opened, and how many of them have been compacted.
    superseded: u64,
    compacted: u64,
}

impl History {
    /// `revision` is the current one: what precedes it ages from now on.
    pub(super) fn new(window: Duration, max_bytes: u64, revision: Revision, now: Instant) -> Self {
        let mut marks = VecDeque::new();
        if revision > 0 {
            marks.push_back(Mark { opened: now, at: now, revision, superseded: 0 });
        }
        Self { window, max_bytes, marks, superseded: 0, compacted: 0 }
    }

    /// Records a committed batch.
    pub(super) fn wrote(&mut self, revision: Revision, superseded: u64, now: Instant) {
        self.superseded += superseded;
        let mark = Mark { opened: now, at: now, revision, superseded: self.superseded };
        // The newest mark moves with the writes until it covers enough of them.
        match self.marks.back_mut() {
            Some(last)
                if now.duration_since(last.opened) < self.window / 20
                    && self.superseded - last.superseded < self.max_bytes / 16 =>
            {
                *last = Mark { opened: last.opened, ..mark };
            }
            _ => self.marks.push_back(mark),
        }
    }

    /// The revision to compact to now, if any. The mark is used up.
    pub(super) fn due(&mut self, now: Instant) -> Option<Revision> {
        let mut target = None;
        while let Some(mark) = self.marks.front().copied() {
            let old = now.duration_since(mark.at) >= self.window;
            let much = self.superseded - self.compacted > self.max_bytes;
            if !old && !much {
                break;
            }
            self.compacted = mark.superseded;
            target = Some(mark.revision);
            self.marks.pop_front();
        }
        target
    }

    /// When `due` should be asked next.
    pub(super) fn wake(&self) -> Option<Instant> {
        // Half a mark late, so that several marks are taken at once.
        self.marks.front().map(|mark| mark.at + self.window + self.window / 40)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn keeps_the_window_then_goes_quiet() {
        let start = Instant::now();
        let mut history = History::new(WINDOW, 1 << 30, 0, start);
        assert_eq!(history.wake(), None);
        for second in 0..60u64 {
            history.wrote(second + 1, 10, start + Duration::from_secs(second));
        }
        // A mark covers 15 s and is as old as its last write.
        assert_eq!(history.due(start + Duration::from_secs(313)), None);
        assert_eq!(history.due(start + Duration::from_secs(314)), Some(15));
        assert_eq!(history.due(start + Duration::from_secs(400)), Some(60));
        assert_eq!(history.wake(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_bound_it_before_time_does() {
        let start = Instant::now();
        let mut history = History::new(WINDOW, 1600, 0, start);
        for revision in 1..=40 {
            history.wrote(revision, 100, start);
        }
        let to = history.due(start).unwrap();
        assert!((24..40).contains(&to), "{to}");
        assert_eq!(history.due(start), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_reopened_store_holds_ages_from_now() {
        let start = Instant::now();
        let mut history = History::new(WINDOW, 1600, 7, start);
        assert_eq!(history.due(start), None);
        assert_eq!(history.due(start + WINDOW), Some(7));
    }
}
