//! The file under redb: like redb's own backend, but space is reserved before it is used.
//!
//! redb grows its file with `set_len`, which leaves a sparse tail; a full disk then shows up as a failed
//! page write in the middle of a commit. Reserving the blocks makes it a failed growth instead: nothing
//! of the transaction has reached the file, and the file can be reopened and read without new space.

use std::fs::File;
use std::io;
use std::ops::Bound;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// A redb file with reserved space.
#[derive(Debug)]
pub(super) struct ReservedFile {
    inner: FileBackend,
    file: File,
}

impl ReservedFile {
    pub(super) fn new(file: File) -> Result<Self, DatabaseError> {
        let handle = file.try_clone().map_err(|e| DatabaseError::Storage(redb::StorageError::Io(e)))?;
        Ok(Self { inner: FileBackend::new(file)?, file: handle })
    }

    fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        let out_of_range = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let offset = from.try_into().map_err(out_of_range)?;
        let len = (to - from).try_into().map_err(out_of_range)?;
        match fallocate(&self.file, FallocateFlags::empty(), offset, len) {
            // The file system cannot reserve: the file stays sparse, as redb would have it.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }
}

impl StorageBackend for ReservedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.inner.len()?;
        if len > now {
            self.reserve(now, len)?;
        }
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
