//! One process a data directory. The lock is held by the kernel, so that it ends with the process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::paths::Paths;

/// Held while a process runs on the data.
pub struct Lock {
    _held: Flock<File>,
}

fn open(paths: &Paths) -> Result<File> {
    let path = paths.lock();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))
}

impl Lock {
    /// Takes the lock and leaves our pid in it.
    pub fn take(paths: &Paths) -> Result<Self> {
        match Flock::lock(open(paths)?, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                held.set_len(0).context("writing the lock file")?;
                write!(held, "{}", std::process::id()).context("writing the lock file")?;
                Ok(Self { _held: held })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.rewind()
                    .and_then(|()| file.read_to_string(&mut pid))
                    .context("reading the lock file")?;
                bail!(
                    "the data directory {} is in use by process {}; stop it with `skiff down`, or choose another with --data-dir",
                    paths.data.display(),
                    pid.trim()
                )
            }
            Err((_, e)) => Err(e).context("locking the data directory"),
        }
    }
}

/// The process that holds the lock, if one does.
pub fn holder(paths: &Paths) -> Option<i32> {
    let file = File::open(paths.lock()).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err((mut file, _)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok()?;
            pid.trim().parse().ok()
        }
    }
}

/// Waits until nobody holds the lock; false when `timeout` was over first. The kernel wakes us.
pub fn wait_released(paths: &Paths, timeout: std::time::Duration) -> bool {
    let Ok(file) = File::open(paths.lock()) else { return true };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let released = Flock::lock(file, FlockArg::LockShared).is_ok();
        // Nobody listens any more when the time was over.
        sender.send(released).unwrap_or_default();
    });
    receiver.recv_timeout(timeout).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_and_told_why() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { data: dir.path().into(), run: dir.path().into() };
        assert_eq!(holder(&paths), None);
        let held = Lock::take(&paths).unwrap();
        assert_eq!(holder(&paths), Some(std::process::id() as i32));
        let e = Lock::take(&paths).err().unwrap().to_string();
        assert!(e.contains("in use by process") && e.contains("skiff down"), "{e}");
        drop(held);
        assert!(wait_released(&paths, std::time::Duration::from_secs(5)));
        assert!(Lock::take(&paths).is_ok());
    }
}
