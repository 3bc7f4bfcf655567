//! Makes a store of a snapshot.

use std::path::{Path, PathBuf};

use redb::Database;

use super::EmbeddedOptions;
use super::db::{Db, classify};
use super::tables::{DbResult, META_COMPACTED, META_REVISION, META_SWEPT, TablesMut, Version};
use crate::storage::Revision;
use crate::storage::snapshot::{Reader, Record, SnapshotError, check, now_ms, raise};

/// Records written in one transaction: keys, and bytes.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 8 << 20;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The revision of the store now.
    pub revision: Revision,
    /// Where the store that was there before is now.
    pub before: Option<PathBuf>,
}

/// Makes the store in `dir` from a snapshot, whole or not at all. Blocking; the caller sees to it that nobody has the
/// store open.
///
/// Every key gets a new revision later than the snapshot's (and than that of the store that was there) by more than
/// `bump`; older ones count as compacted. A store that is there is refused ([`SnapshotError::NotEmpty`]) or, with
/// `force`, moved aside.
pub fn restore(dir: &Path, file: &Path, bump: u64, force: bool) -> Result<Restored, SnapshotError> {
    let summary = check(file)?;
    let there = is_filled(dir)?;
    if there && !force {
        return Err(SnapshotError::NotEmpty { place: dir.display().to_string() });
    }
    let before = if there { revision_of(dir) } else { 0 };
    let base = raise(summary.revision.max(before), bump, summary.keys)?;
    let making = beside(dir, "restoring");
    if making.exists() {
        // Of an attempt that was broken off.
        std::fs::remove_dir_all(&making).map_err(at("removing", &making))?;
    }
    std::fs::create_dir_all(&making).map_err(at("making", &making))?;
    let revision = fill(&making, Reader::open(file)?, base)?;
    let aside = there.then(|| beside(dir, &format!("before-{}", now_ms())));
    match &aside {
        Some(aside) => std::fs::rename(dir, aside).map_err(at("moving aside", dir))?,
        // An empty directory that a start has made.
        None if dir.exists() => std::fs::remove_dir(dir).map_err(at("removing", dir))?,
        None => {}
    }
    std::fs::rename(&making, dir).map_err(at("moving into place", dir))?;
    if let Some(parent) = dir.parent() {
        let synced = std::fs::File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(at("syncing", parent))?;
    }
    Ok(Restored { revision, before: aside })
}

fn is_filled(dir: &Path) -> Result<bool, SnapshotError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(at("reading", dir)(e)),
    }
}

/// The revision of a store that is about to be replaced; 0 when it cannot be read, which may be why it is replaced.
fn revision_of(dir: &Path) -> Revision {
    let options = EmbeddedOptions::new(dir);
    let path = dir.join("store.redb");
    if !path.exists() {
        return 0;
    }
    let read = Db::open(path, options.cache_bytes).and_then(|db| db.read(|t| t.meta(META_REVISION)));
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "the store that is replaced cannot be read; revisions go on from the snapshot's");
        0
    })
}

fn beside(dir: &Path, what: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    dir.with_file_name(name)
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SnapshotError {
    move |source| SnapshotError::File { operation, path: path.into(), source }
}

fn fill(dir: &Path, mut reader: Reader, base: Revision) -> Result<Revision, SnapshotError> {
    let place = dir.display().to_string();
    let failed = |e: redb::Error| classify("restore", &place, &e);
    let db = Db::open(dir.join("store.redb"), EmbeddedOptions::new(dir).cache_bytes).map_err(failed)?;
    let (mut revision, now) = (base, now_ms());
    let mut batch = Vec::new();
    let mut more = true;
    while more {
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(record) = reader.next()? else {
                more = false;
                break;
            };
            bytes += record.value.len();
            // Expired since it was saved: it would be the first thing to go.
            if record.expires == 0 || record.expires > now {
                batch.push(record);
            }
        }
        db.with(|db| write(db, &batch, revision)).map_err(failed)?;
        revision += batch.len() as u64;
        batch.clear();
    }
    db.with(|db| finish(db, revision)).map_err(failed)?;
    db.close();
    Ok(revision)
}

fn write(db: &Database, batch: &[Record], mut revision: Revision) -> DbResult<()> {
    let txn = db.begin_write()?;
    {
        let mut tables = TablesMut::open(&txn)?;
        let mut scratch = Vec::new();
        for record in batch {
            revision += 1;
            let (key, value) = (record.key.as_str(), &record.value[..]);
            Version { prev: 0, create: revision, key, value }.encode(&mut scratch);
            if record.expires != 0 {
                tables.expiry.insert((record.expires, revision), key)?;
            }
            tables.index.insert(key, (revision, revision, record.expires, scratch.len() as u64))?;
            tables.versions.insert(revision, scratch.as_slice())?;
        }
    }
    Ok(txn.commit()?)
}

/// History begins here.
fn finish(db: &Database, revision: Revision) -> DbResult<()> {
    let mut txn = db.begin_write()?;
    {
        let mut meta = TablesMut::open(&txn)?.meta;
        for name in [META_REVISION, META_COMPACTED, META_SWEPT] {
            meta.insert(name, revision)?;
        }
    }
    txn.set_quick_repair(true);
    Ok(txn.commit()?)
}
