//! What is in the file: four tables, and how a version is encoded.
//!
//! Like etcd's: an append-only table of versions by revision, and an index from key to its newest
//! version. Each version names the one it replaced, so that a key's past can be walked and compaction
//! knows what is superseded. A deleted key keeps its index row until its tombstone is compacted.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadableTable, Table, TableDefinition};

use crate::storage::{Entry, Revision, WatchEvent};

/// Failures inside the store, all of redb's kinds.
pub(super) type DbResult<T> = Result<T, redb::Error>;

/// Newest version of a key: mod revision, create revision (0: deleted), expiry (unix ms, 0: never), size.
pub(super) type IndexRow = (u64, u64, u64, u64);

pub(super) const INDEX: TableDefinition<&str, IndexRow> = TableDefinition::new("index");
pub(super) const VERSIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("versions");
/// Keys that expire, by expiry and mod revision.
pub(super) const EXPIRY: TableDefinition<(u64, u64), &str> = TableDefinition::new("expiry");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Revision of the last write.
pub(super) const META_REVISION: &str = "revision";
/// History before this revision may be gone.
pub(super) const META_COMPACTED: &str = "compacted";
/// Versions up to this one have been looked at by compaction.
pub(super) const META_SWEPT: &str = "swept";
/// Layout of the tables.
pub(super) const META_FORMAT: &str = "format";
/// The layout this code writes.
pub(super) const FORMAT: u64 = 1;

/// The read side of the tables.
pub(super) struct Tables {
    pub(super) index: ReadOnlyTable<&'static str, IndexRow>,
    pub(super) versions: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) meta: ReadOnlyTable<&'static str, u64>,
}

impl Tables {
    pub(super) fn open(txn: &redb::ReadTransaction) -> DbResult<Self> {
        Ok(Self {
            index: txn.open_table(INDEX)?,
            versions: txn.open_table(VERSIONS)?,
            meta: txn.open_table(META)?,
        })
    }

    pub(super) fn meta(&self, name: &str) -> DbResult<u64> {
        meta(&self.meta, name)
    }
}

pub(super) fn meta(table: &impl ReadableTable<&'static str, u64>, name: &str) -> DbResult<u64> {
    Ok(table.get(name)?.map_or(0, |v| v.value()))
}

/// One decoded version, borrowing from the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version<'a> {
    /// The version of the same key that this one replaced; 0 if none.
    pub(super) prev: Revision,
    /// 0 for a deletion.
    pub(super) create: Revision,
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
}

const HEADER: usize = 8 + 8 + 4;

impl<'a> Version<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(HEADER + self.key.len() + self.value.len());
        out.extend_from_slice(&self.prev.to_le_bytes());
        out.extend_from_slice(&self.create.to_le_bytes());
        out.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(self.value);
    }

    pub(super) fn decode(revision: Revision, raw: &'a [u8]) -> DbResult<Self> {
        let corrupt = || redb::Error::Corrupted(format!("version {revision} cannot be decoded"));
        let (head, rest) = raw.split_at_checked(HEADER).ok_or_else(corrupt)?;
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b))
        };
        let key_len = usize::try_from(number(16..20)).map_err(|_| corrupt())?;
        let (key, value) = rest.split_at_checked(key_len).ok_or_else(corrupt)?;
        let key = std::str::from_utf8(key).map_err(|_| corrupt())?;
        Ok(Self { prev: number(0..8), create: number(8..16), key, value })
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.create == 0
    }

    pub(super) fn to_entry(&self, revision: Revision) -> Entry {
        Entry {
            key: self.key.into(),
            revision,
            create_revision: self.create,
            value: Bytes::copy_from_slice(self.value),
        }
    }

    pub(super) fn to_event(&self, revision: Revision) -> WatchEvent {
        WatchEvent {
            revision,
            key: Arc::from(self.key),
            value: (!self.is_tombstone()).then(|| Bytes::copy_from_slice(self.value)),
            create: self.create == revision,
        }
    }
}

/// Reads the entry an index row points to.
pub(super) fn load(
    versions: &impl ReadableTable<u64, &'static [u8]>,
    revision: Revision,
) -> DbResult<Option<Entry>> {
    let Some(raw) = versions.get(revision)? else { return Ok(None) };
    let version = Version::decode(revision, raw.value())?;
    Ok((!version.is_tombstone()).then(|| version.to_entry(revision)))
}

/// The write side of the tables.
pub(super) struct TablesMut<'t> {
    pub(super) index: Table<'t, &'static str, IndexRow>,
    pub(super) versions: Table<'t, u64, &'static [u8]>,
    pub(super) expiry: Table<'t, (u64, u64), &'static str>,
    pub(super) meta: Table<'t, &'static str, u64>,
}

impl<'t> TablesMut<'t> {
    pub(super) fn open(txn: &'t redb::WriteTransaction) -> DbResult<Self> {
        Ok(Self {
            index: txn.open_table(INDEX)?,
            versions: txn.open_table(VERSIONS)?,
            expiry: txn.open_table(EXPIRY)?,
            meta: txn.open_table(META)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_encoding() {
        let mut raw = Vec::new();
        for value in [&b""[..], b"{}"] {
            let version = Version { prev: 7, create: u64::MAX, key: "/registry/é", value };
            version.encode(&mut raw);
            assert_eq!(Version::decode(8, &raw).unwrap(), version);
        }
    }

    #[test]
    fn a_damaged_version_is_reported() {
        let mut raw = Vec::new();
        Version { prev: 1, create: 2, key: "/registry/a", value: b"" }.encode(&mut raw);
        for cut in 0..raw.len() {
            assert!(Version::decode(3, &raw[..cut]).is_err(), "cut at {cut}");
        }
    }
}
