//! Watches: the past is read from the file, the present comes from the writer.
//!
//! A watch that falls behind the writer loses its place among the live events and goes back to the
//! file, so buffers are bounded and nothing is skipped; only compaction can end it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::read;
use super::writer::Committed;
use crate::storage::{Revision, StorageError, WatchItem, WatchStream};

struct Watch {
    shared: Arc<Shared>,
    live: Receiver<Arc<Committed>>,
    prefix: Arc<str>,
    /// Every event up to here has been delivered.
    seen: Revision,
    /// The file is read up to here before live events are taken.
    catch_up: Revision,
}

/// Starts a watch. `live` must have been subscribed before the caller checked the current revision.
pub(super) fn start(
    shared: Arc<Shared>,
    live: Receiver<Arc<Committed>>,
    prefix: &str,
    from: Revision,
) -> WatchStream {
    let catch_up = shared.committed.load(Ordering::Acquire);
    let watch = Watch { shared, live, prefix: prefix.into(), seen: from, catch_up };
    stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(item) => Some((Ok(item), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Watch {
    async fn next(&mut self) -> Result<WatchItem, StorageError> {
        loop {
            if self.seen < self.catch_up {
                return self.read_past().await;
            }
            match self.live.recv().await {
                Ok(committed) if committed.revision <= self.seen => {}
                // A commit found in the file after a failure carries no events.
                Ok(committed) if committed.events.is_empty() => self.catch_up = committed.revision,
                Ok(committed) => return Ok(self.take_live(&committed)),
                Err(RecvError::Lagged(_)) => self.catch_up = self.shared.committed.load(Ordering::Acquire),
                Err(RecvError::Closed) => {
                    let source = "the store is closed".into();
                    return Err(StorageError::Unavailable { operation: "watch", source });
                }
            }
        }
    }

    async fn read_past(&mut self) -> Result<WatchItem, StorageError> {
        let (prefix, from, to) = (self.prefix.clone(), self.seen, self.catch_up);
        let chunk =
            self.shared.blocking("watch", move |tables| read::events(tables, &prefix, from, to)).await??;
        self.seen = chunk.upto;
        Ok(item(chunk.events, self.seen))
    }

    fn take_live(&mut self, committed: &Committed) -> WatchItem {
        let wanted = |e: &&_| {
            let e: &crate::storage::WatchEvent = e;
            e.revision > self.seen && e.key.starts_with(&*self.prefix)
        };
        let events = committed.events.iter().filter(wanted).cloned().collect();
        self.seen = committed.revision;
        item(events, self.seen)
    }
}

fn item(events: Vec<crate::storage::WatchEvent>, upto: Revision) -> WatchItem {
    if events.is_empty() { WatchItem::Progress(upto) } else { WatchItem::Events(events) }
}
