//! File notifications as async streams: one inotify instance per consumer, closed when dropped.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// Watches some paths and wakes its owner when any of them changes.
pub struct FileWatch {
    fd: AsyncFd<OwnedInotify>,
}

struct OwnedInotify(Inotify);

impl std::os::fd::AsRawFd for OwnedInotify {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.0.as_fd())
    }
}

impl FileWatch {
    /// A watch of nothing; needs a tokio runtime.
    // `AsyncFd::register` wants `unsafe`, which this workspace denies; the descriptor lives in the wrapper and is
    // the same for its whole life, which is what the unsafe contract asks for.
    #[expect(deprecated)]
    pub fn new() -> io::Result<FileWatch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(FileWatch { fd: AsyncFd::new(OwnedInotify(inotify))? })
    }

    /// Adds a file whose writes, rename or removal wake the owner.
    pub fn add_file(&self, path: &Path) -> io::Result<()> {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        self.fd.get_ref().0.add_watch(path, flags).map(drop).map_err(io::Error::from)
    }

    /// Adds a directory whose new entries wake the owner.
    pub fn add_dir(&self, path: &Path) -> io::Result<()> {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        self.fd.get_ref().0.add_watch(path, flags).map(drop).map_err(io::Error::from)
    }

    /// Waits for the next change; several that happened together are one.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut guard = self.fd.readable().await?;
            match guard.try_io(|fd| fd.get_ref().0.read_events().map_err(io::Error::from)) {
                Ok(Ok(events)) if events.is_empty() => continue,
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => continue,
            }
        }
    }
}
