//! Keeps the cache fed: list once, then follow the store for ever.
//!
//! What wakes it: the store's watch. A broken watch is resumed from the applied revision; when the store
//! has forgotten that, everything is listed again and compared.

use std::time::Duration;

use futures::StreamExt;
use imbl::OrdMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Cache;
use super::snapshot::ObjectMap;
use crate::storage::{ListOptions, ListPage, Revision, StorageError, WatchItem, WatchStream};

/// Entries taken in before others have their turn.
const TURN: usize = 500;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(super) async fn run(cache: &Cache, stop: CancellationToken) {
    let mut backoff = BACKOFF_MIN;
    let mut listed = false;
    loop {
        let error = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            error = attempt(cache, &mut listed, &mut backoff) => error,
        };
        if matches!(error, StorageError::Compacted { .. } | StorageError::FutureRevision { .. }) {
            tracing::warn!(%error, "the cache has lost its place in the store, listing again");
            listed = false;
        } else {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the cache cannot follow the store, retrying");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Lists if necessary and follows the store until it fails.
async fn attempt(cache: &Cache, listed: &mut bool, backoff: &mut Duration) -> StorageError {
    if !*listed {
        match list(cache).await {
            Ok(revision) => {
                *listed = true;
                cache.publish(revision);
            }
            Err(error) => return error,
        }
    }
    match cache.storage.watch(&cache.root, cache.applied_revision()).await {
        Ok(watch) => follow(cache, watch, backoff).await,
        Err(error) => error,
    }
}

async fn follow(cache: &Cache, mut watch: WatchStream, backoff: &mut Duration) -> StorageError {
    while let Some(item) = watch.next().await {
        match item {
            Ok(WatchItem::Events(events)) => cache.apply(events),
            Ok(WatchItem::Progress(revision)) => cache.publish(revision),
            Err(error) => return error,
        }
        *backoff = BACKOFF_MIN;
    }
    StorageError::Unavailable { operation: "watch", source: "the watch ended".into() }
}

/// Lists everything at one revision into the resources' caches. While a page is taken in, the store reads the next.
async fn list(cache: &Cache) -> Result<Revision, StorageError> {
    let mut maps: Vec<ObjectMap> = vec![OrdMap::new(); cache.resources.len()];
    let mut fetching = fetch(cache, ListOptions { limit: Some(cache.page), ..ListOptions::default() });
    loop {
        let page = match fetching.await {
            Ok(page) => page?,
            Err(panic) => return Err(StorageError::Failed { operation: "list", source: panic.into() }),
        };
        let last = page.entries.last().filter(|_| page.more).map(|entry| entry.key.to_string());
        let next = last.map(|last| ListOptions {
            revision: Some(page.revision),
            limit: Some(cache.page),
            start_after: Some(last),
        });
        let next = next.map(|options| fetch(cache, options));
        for entries in page.entries.chunks(TURN) {
            for entry in entries {
                let Some(at) = cache.position(&entry.key) else { continue };
                if let Some(object) = cache.resources[at].listed(entry) {
                    maps[at].insert(object.key.clone(), object);
                }
            }
            tokio::task::yield_now().await;
        }
        let Some(next) = next else {
            for (resource, map) in cache.resources.iter().zip(maps) {
                resource.replace(map, page.revision);
            }
            return Ok(page.revision);
        };
        fetching = next;
    }
}

/// Asks the store for a page, in a task that ends with its handle.
fn fetch(cache: &Cache, options: ListOptions) -> AbortOnDropHandle<Result<ListPage, StorageError>> {
    let (storage, root) = (cache.storage.clone(), cache.root.clone());
    AbortOnDropHandle::new(tokio::spawn(async move { storage.list(&root, options).await }))
}
