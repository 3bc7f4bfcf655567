//! Keeps one object as it must be, while the server runs.
//!
//! What wakes it: changes of that object in the cache, and the time that the last look has asked for. A failure is
//! followed by another look, later each time.

use std::time::Duration;

use api_types::catalog::Kind;
use api_types::status::Status;

use crate::cache::{ResourceCache, WatchEnded, WatchScope};
use crate::server::Server;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Calls `look` at once and after every change of the object, until the server stops. It tells in how much time to
/// call it again if nothing happens, if at all.
pub(super) async fn keep<F, Fut>(server: &Server, kind: &Kind, namespace: &str, name: &str, look: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Option<Duration>, Status>>,
{
    let Ok(cache) = server.registry().resource(kind) else { return };
    let stop = server.stopping();
    let scope = WatchScope {
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        name: Some(name.into()),
        ..WatchScope::default()
    };
    stop.run_until_cancelled(follow(cache, &scope, look)).await;
}

async fn follow<F, Fut>(cache: &ResourceCache, scope: &WatchScope, look: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Option<Duration>, Status>>,
{
    let mut backoff = BACKOFF_MIN;
    loop {
        // The snapshot may have left the ring meanwhile; a newer one has not.
        let Ok(mut watcher) = cache.watch(scope.clone(), cache.snapshot().revision()) else {
            tokio::task::yield_now().await;
            continue;
        };
        loop {
            let again = match look().await {
                Ok(again) => {
                    backoff = BACKOFF_MIN;
                    again
                }
                Err(status) => {
                    tracing::warn!(?scope, error = status.message, "an object cannot be kept in place");
                    let again = backoff;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    Some(again)
                }
            };
            let pause = async {
                match again {
                    Some(time) => tokio::time::sleep(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = watcher.next() => match event {
                    Ok(_) => {}
                    Err(WatchEnded::Stopped) => return,
                    Err(WatchEnded::TooSlow | WatchEnded::Relisted) => break,
                },
                () = pause => {}
            }
        }
    }
}
