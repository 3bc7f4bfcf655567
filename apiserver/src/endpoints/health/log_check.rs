//! Whether the log can still be written. A process whose log is blocked stands still at its next line.

use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the log may take no line before it counts as blocked, as upstream.
const PATIENCE: Duration = Duration::from_secs(120);

/// Since when the log takes no lines, as far as anybody has asked.
#[derive(Debug, Default)]
pub struct LogCheck(Mutex<Option<Instant>>);

impl LogCheck {
    /// Looks at standard error, where the log goes.
    pub fn check(&self) -> Result<(), String> {
        self.judge(takes_lines(std::io::stderr().as_fd()), Instant::now())
    }

    fn judge(&self, writable: bool, now: Instant) -> Result<(), String> {
        let mut blocked = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if writable {
            *blocked = None;
            return Ok(());
        }
        let since = *blocked.get_or_insert(now);
        if now.duration_since(since) < PATIENCE { Ok(()) } else { Err("logging blocked".into()) }
    }
}

/// Whether a write would be taken at once.
fn takes_lines(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLOUT)];
    let bad = PollFlags::POLLERR | PollFlags::POLLNVAL;
    poll(&mut polled, PollTimeout::ZERO).is_ok()
        && polled[0].revents().is_some_and(|r| r.contains(PollFlags::POLLOUT) && !r.intersects(bad))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_full_pipe_takes_no_lines_and_a_read_one_does() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let mut written = 0;
        while takes_lines(writer.as_fd()) {
            written += writer.write(&[b'x'; 4096]).unwrap();
        }
        assert!(written > 0);
        std::io::Read::read_exact(&mut reader, &mut vec![0; written]).unwrap();
        assert!(takes_lines(writer.as_fd()));
        drop(reader);
        assert!(!takes_lines(writer.as_fd()));
    }

    #[test]
    fn only_a_log_that_stays_blocked_fails() {
        let (check, start) = (LogCheck::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (writable, seconds, ok) in [
            (true, 0, true),
            (false, 1, true),
            (false, 120, true),
            (false, 121, false),
            (true, 122, true),
            (false, 123, true),
            (false, 200, true),
            (false, 243, false),
        ] {
            assert_eq!(check.judge(writable, after(seconds)).is_ok(), ok, "after {seconds}s");
        }
    }
}
