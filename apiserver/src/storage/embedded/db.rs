//! The open redb database, which can be closed and reopened under its readers.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::{Database, ReadableDatabase};

use super::file::ReservedFile;
use super::tables::{DbResult, FORMAT, META, META_FORMAT, Tables, TablesMut, meta};
use crate::storage::StorageError;

/// The database file.
#[derive(Debug)]
pub(super) struct Db {
    path: PathBuf,
    cache_bytes: usize,
    /// `None` when closed, or when reopening failed. Held for reading during every transaction, so that
    /// closing waits for them; never held across an await.
    open: RwLock<Option<Database>>,
}

impl Db {
    pub(super) fn open(path: PathBuf, cache_bytes: usize) -> DbResult<Self> {
        let db = open(&path, cache_bytes)?;
        prepare(&db)?;
        Ok(Self { path, cache_bytes, open: RwLock::new(Some(db)) })
    }

    /// Runs `f` on the open database.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Database) -> DbResult<T>) -> DbResult<T> {
        f(self.open.read().as_ref().ok_or(redb::Error::DatabaseClosed)?)
    }

    /// Runs `f` on the tables as of the last commit.
    pub(super) fn read<T>(&self, f: impl FnOnce(&Tables) -> DbResult<T>) -> DbResult<T> {
        self.with(|db| f(&Tables::open(&db.begin_read()?)?))
    }

    /// Closes and opens again, after a failure that redb wants a fresh start from.
    pub(super) fn reopen(&self) -> DbResult<()> {
        let mut guard = self.open.write();
        *guard = None;
        *guard = Some(open(&self.path, self.cache_bytes)?);
        Ok(())
    }

    /// Closes for good, releasing the lock of the file.
    pub(super) fn close(&self) {
        *self.open.write() = None;
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

fn open(path: &Path, cache_bytes: usize) -> DbResult<Database> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(ReservedFile::new(file)?)?)
}

/// Makes the tables of a new file; checks the format of an old one.
fn prepare(db: &Database) -> DbResult<()> {
    let found = match db.begin_read()?.open_table(META) {
        Ok(table) => meta(&table, META_FORMAT)?,
        Err(redb::TableError::TableDoesNotExist(_)) => 0,
        Err(other) => return Err(other.into()),
    };
    match found {
        FORMAT => Ok(()),
        0 => {
            let txn = db.begin_write()?;
            TablesMut::open(&txn)?.meta.insert(META_FORMAT, FORMAT)?;
            txn.commit()?;
            Ok(())
        }
        other => {
            Err(redb::Error::Corrupted(format!("format {other} is not known (this version writes {FORMAT})")))
        }
    }
}

/// Names a failure of redb as a failure of the store.
pub(super) fn classify(operation: &'static str, place: &str, error: &redb::Error) -> StorageError {
    let full = |e: &io::Error| {
        matches!(
            e.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    };
    match error {
        redb::Error::Io(e) if full(e) => StorageError::NoSpace { operation, place: place.to_owned() },
        redb::Error::DatabaseClosed => {
            StorageError::Unavailable { operation, source: "the store is closed".into() }
        }
        redb::Error::DatabaseAlreadyOpen => StorageError::Locked { path: place.into() },
        // redb's errors are not all Send + Sync with their contents; the text is what is wanted.
        other => StorageError::Failed { operation, source: other.to_string().into() },
    }
}

/// Names a failure to open the store.
pub(super) fn classify_open(dir: &Path, error: &redb::Error) -> StorageError {
    classify("open", &dir.display().to_string(), error)
}
