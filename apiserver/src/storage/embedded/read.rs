//! Reads at a revision: the index gives a key's newest version, its chain the older ones.

use std::ops::Bound;
use std::time::Duration;

use super::tables::{DbResult, META_COMPACTED, META_REVISION, Tables, Version, load};
use crate::storage::{Entry, ListOptions, ListPage, Revision, StorageError, TimesLeft, WatchEvent};

/// Events read from the file at once at most, and their bytes.
const CHUNK_EVENTS: usize = 512;
const CHUNK_BYTES: usize = 4 << 20;

pub(super) fn get(tables: &Tables, key: &str) -> DbResult<Option<Entry>> {
    let Some(row) = tables.index.get(key)?.map(|row| row.value()) else { return Ok(None) };
    load(&tables.versions, row.0)
}

/// The inner result is the caller's answer.
pub(super) fn list(
    tables: &Tables,
    prefix: &str,
    options: &ListOptions,
) -> DbResult<Result<ListPage, StorageError>> {
    let current = tables.meta(META_REVISION)?;
    let revision = options.revision.unwrap_or(current);
    let oldest = tables.meta(META_COMPACTED)?;
    if revision > current {
        return Ok(Err(StorageError::FutureRevision { requested: revision, current }));
    }
    if revision < oldest {
        return Ok(Err(StorageError::Compacted { requested: revision, oldest }));
    }
    let from = match options.start_after.as_deref() {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let mut page = ListPage { revision, entries: Vec::new(), more: false, remaining: Some(0) };
    for row in tables.index.range::<&str>((from, Bound::Unbounded))? {
        let (key, row) = row?;
        if !key.value().starts_with(prefix) {
            break;
        }
        let Some(entry) = at(tables, row.value().0, revision)? else { continue };
        if options.limit.is_some_and(|limit| page.entries.len() >= limit) {
            page.more = true;
            page.remaining = None;
            break;
        }
        page.entries.push(entry);
    }
    Ok(Ok(page))
}

/// A list, and what each entry has left to live.
pub(super) fn export(
    tables: &Tables,
    prefix: &str,
    options: &ListOptions,
    now_ms: u64,
) -> DbResult<Result<(ListPage, TimesLeft), StorageError>> {
    let page = match list(tables, prefix, options)? {
        Ok(page) => page,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut left = Vec::with_capacity(page.entries.len());
    for entry in &page.entries {
        let expires = tables.index.get(&*entry.key)?.map_or(0, |row| row.value().2);
        left.push((expires != 0).then(|| Duration::from_millis(expires.saturating_sub(now_ms))));
    }
    Ok(Ok((page, left)))
}

/// The version of a key in force at `at`, going back from its `newest`. A missing version is a
/// compacted tombstone.
fn at(tables: &Tables, newest: Revision, at: Revision) -> DbResult<Option<Entry>> {
    let mut revision = newest;
    while revision > at {
        let Some(raw) = tables.versions.get(revision)? else { return Ok(None) };
        revision = Version::decode(revision, raw.value())?.prev;
    }
    if revision == 0 { Ok(None) } else { load(&tables.versions, revision) }
}

/// A part of the history.
pub(super) struct Chunk {
    pub(super) events: Vec<WatchEvent>,
    /// Everything up to here has been read.
    pub(super) upto: Revision,
}

/// Events of `prefix` after `from`, up to `to`, as many as fit in a chunk.
pub(super) fn events(
    tables: &Tables,
    prefix: &str,
    from: Revision,
    to: Revision,
) -> DbResult<Result<Chunk, StorageError>> {
    let oldest = tables.meta(META_COMPACTED)?;
    if from < oldest {
        return Ok(Err(StorageError::Compacted { requested: from, oldest }));
    }
    let mut chunk = Chunk { events: Vec::new(), upto: to };
    let mut bytes = 0;
    for row in tables.versions.range(from + 1..=to)? {
        let (revision, raw) = row?;
        let revision = revision.value();
        let version = Version::decode(revision, raw.value())?;
        if version.key.starts_with(prefix) {
            chunk.events.push(version.to_event(revision));
            bytes += raw.value().len();
        }
        if chunk.events.len() >= CHUNK_EVENTS || bytes >= CHUNK_BYTES {
            chunk.upto = revision;
            break;
        }
    }
    Ok(Ok(chunk))
}
