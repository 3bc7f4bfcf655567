//! Drops what compaction has made unreachable, a bounded number of versions at a time.

use redb::ReadableTable;

use super::tables::{DbResult, META_COMPACTED, META_SWEPT, TablesMut, Version, meta};
use crate::storage::Revision;

/// What one sweep did.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Whether it changed the tables.
    pub(super) wrote: bool,
    /// Whether versions up to the target remain to be looked at.
    pub(super) left: bool,
}

/// Looks at up to `limit` versions not later than `to`: each makes the one it replaced unreachable, and
/// a tombstone itself. The compacted revision is recorded first, so that nobody reads a half-swept past.
pub(super) fn sweep(tables: &mut TablesMut<'_>, to: Revision, limit: usize) -> DbResult<Sweep> {
    let compacted = meta(&tables.meta, META_COMPACTED)?.max(to);
    let swept = meta(&tables.meta, META_SWEPT)?;
    if swept >= compacted {
        return Ok(Sweep::default());
    }
    tables.meta.insert(META_COMPACTED, compacted)?;
    let mut garbage = Vec::new();
    let mut last = swept;
    let mut seen = 0;
    for row in tables.versions.range(swept + 1..=compacted)?.take(limit) {
        let (revision, raw) = row?;
        let revision = revision.value();
        let version = Version::decode(revision, raw.value())?;
        if version.prev != 0 {
            garbage.push((version.prev, None));
        }
        if version.is_tombstone() {
            garbage.push((revision, Some(version.key.to_owned())));
        }
        last = revision;
        seen += 1;
    }
    let left = seen == limit;
    for (revision, tombstone_of) in garbage {
        tables.versions.remove(revision)?;
        if let Some(key) = tombstone_of {
            let still = tables.index.get(&*key)?.is_some_and(|row| row.value().0 == revision);
            if still {
                tables.index.remove(&*key)?;
            }
        }
    }
    tables.meta.insert(META_SWEPT, if left { last } else { compacted })?;
    Ok(Sweep { wrote: true, left })
}
