//! Following one kind of the cache: first all of it, then each event.

use tokio_util::sync::CancellationToken;

use crate::cache::{CacheEvent, ResourceCache, Snapshot, WatchEnded, WatchScope};

/// Calls `read` with everything there is, and `apply` with each event from then on, until `stop`. When events were
/// lost, everything is read anew. The cache must be ready.
pub(super) async fn follow(
    cache: &ResourceCache,
    stop: &CancellationToken,
    read: impl Fn(&Snapshot),
    apply: impl Fn(&CacheEvent),
) {
    loop {
        let snapshot = cache.snapshot();
        let Ok(mut watcher) = cache.watch(WatchScope::default(), snapshot.revision()) else {
            tokio::task::yield_now().await;
            continue;
        };
        read(&snapshot);
        drop(snapshot);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = watcher.next() => event,
            };
            match event {
                Ok(event) => apply(&event),
                Err(WatchEnded::Stopped) => return,
                Err(WatchEnded::TooSlow | WatchEnded::Relisted) => break,
            }
        }
    }
}
