//! A watch that outlives its connections.
//!
//! The whole key space is watched and filtered here: every revision etcd makes then arrives, be it of
//! other keys, so readers can wait for a revision without progress requests (which etcd before 3.4.25
//! and 3.5.8 answers too early). The cost is small, for the keys outside are few.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, WatchOptions, WatchResponse};
use futures::stream::{self, StreamExt};

use super::MAX_RESPONSE;
use super::error::{Kind, kind};
use super::members::Members;
use crate::storage::{Revision, StorageError, WatchEvent, WatchItem, WatchStream};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long a member may take to begin a watch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

struct Watch {
    members: Arc<Members>,
    /// The member that is watched, and its events.
    stream: Option<(usize, etcd_client::WatchStream)>,
    prefix: Arc<str>,
    /// Every event up to here has been delivered.
    seen: Revision,
    backoff: Duration,
}

/// Watches `prefix` after `from`.
pub(super) fn start(members: Arc<Members>, prefix: &str, from: Revision) -> WatchStream {
    let watch = Watch { members, stream: None, prefix: prefix.into(), seen: from, backoff: Duration::ZERO };
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
            let (member, stream) = match &mut self.stream {
                Some((member, stream)) => (*member, stream),
                None => {
                    let (index, client) = self.members.client();
                    let client = client.clone();
                    match self.connect(client).await {
                        Ok(stream) => (index, &mut self.stream.insert((index, stream)).1),
                        Err(error) => {
                            self.failed(index, error)?;
                            continue;
                        }
                    }
                }
            };
            let message = tokio::select! {
                message = stream.message() => message,
                () = self.members.lags(self.seen) => {
                    self.members.leave(member, &"its watch falls behind what others have acknowledged");
                    self.stream = None;
                    continue;
                }
            };
            match message {
                Ok(Some(response)) => {
                    if let Some(item) = self.take(&response)? {
                        return Ok(item);
                    }
                }
                Ok(None) => self.stream = None,
                Err(error) => self.failed(member, error)?,
            }
        }
    }

    async fn connect(
        &mut self,
        client: etcd_client::Client,
    ) -> Result<etcd_client::WatchStream, etcd_client::Error> {
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        let start = i64::try_from(self.seen + 1).unwrap_or(i64::MAX);
        let options = WatchOptions::new().with_all_keys().with_start_revision(start);
        let mut client = client.watch_client().max_decoding_message_size(MAX_RESPONSE);
        tokio::time::timeout(CONNECT_TIMEOUT, client.watch("\0", Some(options)))
            .await
            .unwrap_or_else(|_| Err(etcd_client::Error::IoError(std::io::ErrorKind::TimedOut.into())))
    }

    /// Decides whether a failure ends the watch or only its connection.
    fn failed(&mut self, member: usize, error: etcd_client::Error) -> Result<(), StorageError> {
        self.stream = None;
        self.members.leave(member, &error);
        if kind(&error) == Kind::Fatal {
            return Err(StorageError::Failed { operation: "watch", source: Box::new(error) });
        }
        tracing::debug!(%error, revision = self.seen, "the watch of etcd broke, resuming");
        Ok(())
    }

    fn take(&mut self, response: &WatchResponse) -> Result<Option<WatchItem>, StorageError> {
        if response.compact_revision() > 0 {
            let oldest = revision(response.compact_revision());
            return Err(StorageError::Compacted { requested: self.seen, oldest });
        }
        if response.canceled() {
            tracing::debug!(reason = response.cancel_reason(), "etcd cancelled the watch, resuming");
            self.stream = None;
            return Ok(None);
        }
        self.backoff = Duration::ZERO;
        let last = response.events().last().and_then(|e| e.kv()).map(|kv| revision(kv.mod_revision()));
        let Some(last) = last else {
            // The answer to the creation, which says nothing about what has been delivered.
            return Ok(None);
        };
        let events: Vec<_> = response.events().iter().filter_map(|event| self.convert(event)).collect();
        self.seen = self.seen.max(last);
        Ok(Some(if events.is_empty() { WatchItem::Progress(self.seen) } else { WatchItem::Events(events) }))
    }

    fn convert(&self, event: &etcd_client::Event) -> Option<WatchEvent> {
        let kv = event.kv()?;
        let key = kv.key_str().ok()?;
        if !key.starts_with(&*self.prefix) || revision(kv.mod_revision()) <= self.seen {
            return None;
        }
        let value = match event.event_type() {
            EventType::Put => Some(Bytes::copy_from_slice(kv.value())),
            EventType::Delete => None,
        };
        let create = value.is_some() && kv.create_revision() == kv.mod_revision();
        Some(WatchEvent { revision: revision(kv.mod_revision()), key: key.into(), value, create })
    }
}

/// etcd's revisions are never negative.
pub(super) fn revision(raw: i64) -> Revision {
    u64::try_from(raw).unwrap_or(0)
}
