//! Writing: the store is read page by page at one revision, so that neither memory nor a transaction is held.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, Stream};
use sha2::{Digest, Sha256};

use super::{MAGIC, PREFIX, SnapshotError, VERSION, now_ms};
use crate::storage::{ListOptions, ListPage, Storage};

/// Keys of the first page; the next ones are as many as are expected to have [`PAGE_BYTES`].
const FIRST_PAGE: usize = 16;
const PAGE_KEYS: usize = 1_000;
const PAGE_BYTES: usize = 2 << 20;

struct Save {
    storage: Arc<dyn Storage>,
    next: ListOptions,
    hash: Sha256,
    keys: u64,
    begun: bool,
    done: bool,
}

/// The bytes of a snapshot as of now, in parts of some megabytes. Ends after the first error; what was given out until
/// then is no whole snapshot and is known as such by every reader.
///
/// The copy is exact at one revision for as long as history lasts: a reader that takes longer than that gets
/// [`crate::storage::StorageError::Compacted`].
pub fn stream(
    storage: Arc<dyn Storage>,
) -> impl Stream<Item = Result<Bytes, SnapshotError>> + Send + 'static {
    let next = ListOptions { limit: Some(FIRST_PAGE), ..ListOptions::default() };
    let save = Save { storage, next, hash: Sha256::new(), keys: 0, begun: false, done: false };
    stream::unfold(Some(save), |save| async move {
        let mut save = save?;
        if save.done {
            return None;
        }
        match save.part().await {
            Ok(part) => Some((Ok(part), Some(save))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Save {
    async fn part(&mut self) -> Result<Bytes, SnapshotError> {
        let (page, left) = self.storage.export(PREFIX, self.next.clone()).await?;
        let now = now_ms();
        let mut out = BytesMut::new();
        if !self.begun {
            self.begun = true;
            out.put_slice(&MAGIC);
            out.put_u32_le(VERSION);
            out.put_u64_le(page.revision);
            out.put_u64_le(now);
        }
        for (entry, left) in page.entries.iter().zip(&left) {
            // The stores take nothing nearly as long as 4 GiB.
            out.put_u32_le(entry.key.len() as u32);
            out.put_u32_le(entry.value.len() as u32);
            out.put_u64_le(left.map_or(0, |left| {
                now.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)).max(1)
            }));
            out.put_slice(entry.key.as_bytes());
            out.put_slice(&entry.value);
        }
        self.keys += page.entries.len() as u64;
        self.turn(&page, out.len());
        if self.done {
            out.put_u32_le(0);
            out.put_u64_le(self.keys);
        }
        self.hash.update(&out);
        if self.done {
            out.put_slice(&self.hash.finalize_reset());
        }
        Ok(out.freeze())
    }

    /// Where the next page begins, if there is one.
    fn turn(&mut self, page: &ListPage, bytes: usize) {
        match page.entries.last().filter(|_| page.more) {
            None => self.done = true,
            Some(last) => {
                let each = (bytes / page.entries.len().max(1)).max(1);
                self.next = ListOptions {
                    revision: Some(page.revision),
                    limit: Some((PAGE_BYTES / each).clamp(1, PAGE_KEYS)),
                    start_after: Some(last.key.to_string()),
                };
            }
        }
    }
}
