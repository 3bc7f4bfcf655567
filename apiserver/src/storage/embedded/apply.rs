//! Applies one batch of writes inside one transaction. No I/O policy here: the writer decides when a
//! batch is committed and what is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redb::ReadableTable;

use super::tables::{DbResult, META_REVISION, TablesMut, Version, load, meta};
use crate::storage::{Revision, StorageError, WatchEvent};

/// The same as etcd's default, so that what one backend takes the other takes too.
pub(super) const MAX_REQUEST: usize = 3 << 19;

/// A write as asked for.
#[derive(Debug)]
pub(super) enum Write {
    Create { key: Arc<str>, value: Bytes, ttl: Option<Duration> },
    Update { key: Arc<str>, value: Bytes, expected: Revision, ttl: Option<Duration> },
    Delete { key: Arc<str>, expected: Revision },
}

impl Write {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

/// What a batch did, valid once its transaction is committed.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) revision: Revision,
    pub(super) events: Vec<WatchEvent>,
    /// Bytes of versions that were superseded.
    pub(super) superseded: u64,
    /// The earliest expiry written.
    pub(super) expires: Option<u64>,
}

/// A transaction being filled.
pub(super) struct Batch<'a, 't> {
    tables: &'a mut TablesMut<'t>,
    now_ms: u64,
    scratch: Vec<u8>,
    applied: Applied,
}

impl<'a, 't> Batch<'a, 't> {
    pub(super) fn new(tables: &'a mut TablesMut<'t>, now_ms: u64) -> DbResult<Self> {
        let revision = meta(&tables.meta, META_REVISION)?;
        Ok(Self { tables, now_ms, scratch: Vec::new(), applied: Applied { revision, ..Applied::default() } })
    }

    /// Records the new revision. Call once, last.
    pub(super) fn finish(self) -> DbResult<Applied> {
        if !self.applied.events.is_empty() {
            self.tables.meta.insert(META_REVISION, self.applied.revision)?;
        }
        Ok(self.applied)
    }

    /// Applies one write; the inner result is the caller's answer.
    pub(super) fn apply(&mut self, write: &Write) -> DbResult<Result<Revision, StorageError>> {
        match write {
            Write::Create { key, value, ttl } => self.create(key, value, *ttl),
            Write::Update { key, value, expected, ttl } => {
                let row = match self.check(key, *expected, write.operation())? {
                    Ok(row) => row,
                    Err(refused) => return Ok(Err(refused)),
                };
                self.put(key, value, *ttl, Some(row)).map(Ok)
            }
            Write::Delete { key, expected } => match self.check(key, *expected, write.operation())? {
                Ok(row) => self.remove(key, row).map(Ok),
                Err(refused) => Ok(Err(refused)),
            },
        }
    }

    /// Deletes keys whose time is up, at most `limit`. Returns whether any may be left.
    pub(super) fn expire(&mut self, limit: usize) -> DbResult<bool> {
        let due: Vec<(u64, u64, Arc<str>)> = self
            .tables
            .expiry
            .range(..=(self.now_ms, u64::MAX))?
            .take(limit)
            .map(|row| row.map(|(at, key)| (at.value().0, at.value().1, Arc::from(key.value()))))
            .collect::<Result<_, _>>()?;
        for (at, revision, key) in &due {
            self.tables.expiry.remove((*at, *revision))?;
            let row = self.tables.index.get(&**key)?.map(|row| row.value());
            if let Some(row) = row.filter(|row| row.0 == *revision && row.1 != 0) {
                self.remove(key, (row.0, row.1, 0, row.3))?;
            }
        }
        Ok(due.len() == limit)
    }

    fn create(
        &mut self,
        key: &Arc<str>,
        value: &Bytes,
        ttl: Option<Duration>,
    ) -> DbResult<Result<Revision, StorageError>> {
        let row = self.tables.index.get(&**key)?.map(|row| row.value());
        if row.is_some_and(|row| row.1 != 0) {
            return Ok(Err(StorageError::KeyExists { key: key.to_string() }));
        }
        // A tombstone's successor names it, so that the past can be walked through the deletion.
        self.put(key, value, ttl, row).map(Ok)
    }

    fn check(
        &self,
        key: &Arc<str>,
        expected: Revision,
        operation: &'static str,
    ) -> DbResult<Result<super::tables::IndexRow, StorageError>> {
        let row = self.tables.index.get(&**key)?.map(|row| row.value()).filter(|row| row.1 != 0);
        let Some(row) = row else {
            return Ok(Err(StorageError::NotFound { operation, key: key.to_string() }));
        };
        if row.0 == expected {
            return Ok(Ok(row));
        }
        let current = load(&self.tables.versions, row.0)?
            .ok_or_else(|| redb::Error::Corrupted(format!("{key}: version {} is missing", row.0)))?;
        Ok(Err(StorageError::Conflict {
            operation,
            key: key.to_string(),
            expected,
            current: Box::new(current),
        }))
    }

    fn put(
        &mut self,
        key: &Arc<str>,
        value: &Bytes,
        ttl: Option<Duration>,
        old: Option<super::tables::IndexRow>,
    ) -> DbResult<Revision> {
        let revision = self.supersede(old)?;
        let create = old.map(|row| row.1).filter(|create| *create != 0).unwrap_or(revision);
        Version { prev: old.map_or(0, |row| row.0), create, key, value }.encode(&mut self.scratch);
        let expires = ttl.map_or(0, |ttl| expiry(self.now_ms, ttl));
        if expires != 0 {
            self.tables.expiry.insert((expires, revision), &**key)?;
            let earliest = self.applied.expires.map_or(expires, |known| known.min(expires));
            self.applied.expires = Some(earliest);
        }
        self.tables.index.insert(&**key, (revision, create, expires, self.scratch.len() as u64))?;
        self.tables.versions.insert(revision, self.scratch.as_slice())?;
        self.applied.events.push(WatchEvent {
            revision,
            key: key.clone(),
            value: Some(value.clone()),
            create: create == revision,
        });
        Ok(revision)
    }

    fn remove(&mut self, key: &Arc<str>, old: super::tables::IndexRow) -> DbResult<Revision> {
        let revision = self.supersede(Some(old))?;
        Version { prev: old.0, create: 0, key, value: b"" }.encode(&mut self.scratch);
        self.tables.index.insert(&**key, (revision, 0, 0, 0))?;
        self.tables.versions.insert(revision, self.scratch.as_slice())?;
        // The tombstone is garbage as soon as it is written.
        self.applied.superseded += self.scratch.len() as u64;
        self.applied.events.push(WatchEvent { revision, key: key.clone(), value: None, create: false });
        Ok(revision)
    }

    /// The next revision; accounts for the version it replaces.
    fn supersede(&mut self, old: Option<super::tables::IndexRow>) -> DbResult<Revision> {
        if let Some((revision, _, expires, size)) = old {
            self.applied.superseded += size;
            if expires != 0 {
                self.tables.expiry.remove((expires, revision))?;
            }
        }
        self.applied.revision += 1;
        Ok(self.applied.revision)
    }
}

/// Rounds up, so that keys written one after another expire together and cost one commit.
fn expiry(now_ms: u64, ttl: Duration) -> u64 {
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
    (now_ms + ttl).next_multiple_of((ttl / 360).clamp(10, 10_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_never_early_and_groups_keys() {
        let hour = Duration::from_secs(3600);
        assert!(expiry(1_234_567, hour) >= 1_234_567 + 3_600_000);
        assert_eq!(expiry(1_000_001, hour), expiry(1_009_000, hour));
        assert!(expiry(5, Duration::from_millis(1)) <= 20);
        assert!(expiry(5, Duration::MAX) > 5);
    }
}
