//! WATCH: events as they happen, until the client has enough.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api_types::catalog::Kind;
use api_types::status::Status;
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::respond::{self, Answer};
use super::{Call, list};
use crate::cache::{CacheEvent, CacheWatcher, CachedObject, EventKind, Gone, WatchScope};
use crate::registry::parse_stored;
use crate::registry::read::{Freshness, Predicate};
use crate::request::negotiate::{self, Encoding, Form};
use crate::request::options;
use crate::server::metrics::WatchEvents;

/// How often a client that asks for bookmarks gets one.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// A watch without a timeout ends after 30 to 60 minutes, so that clients spread over servers again.
const MIN_TIMEOUT: u64 = 1800;
/// Events that are waiting are sent together up to this size.
const CHUNK: usize = 64 * 1024;

pub async fn watch(call: &Call<'_>) -> Answer {
    if call.encoding != Encoding::Json {
        return Err(Status::not_acceptable(&negotiate::STREAMED));
    }
    let predicate = list::predicate(call)?;
    let version = call.query.resource_version()?;
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let initial = call.query.optional_flag("sendInitialEvents");
    options::watch(&call.query)?;
    let timeout = match call.query.number("timeoutSeconds")? {
        Some(n) if n > 0 => Duration::from_secs(n.unsigned_abs()),
        _ => Duration::from_secs(MIN_TIMEOUT + rand::rng().random_range(0..MIN_TIMEOUT)),
    };
    let registry = call.registry();
    // From now, from the beginning, or from a revision; only the last needs no state first.
    let send_state = initial.unwrap_or(version.is_none_or(|v| v == 0));
    let from_revision = version.filter(|v| *v > 0);
    match (from_revision, initial) {
        (Some(v), Some(_)) => call.freshen(Freshness::NotOlderThan(v)).await?,
        (None, _) if version != Some(0) => call.freshen(Freshness::Consistent).await?,
        _ => {}
    }
    let resource = registry.resource(call.kind)?.clone();
    let scope = scope(call, &predicate);
    let (state, watcher) = match from_revision {
        Some(v) if initial.is_none() => (Vec::new(), resource.watch(scope, v)),
        _ => {
            let snapshot = resource.snapshot();
            let prefix = list::scope_prefix(call.kind, &call.info.namespace);
            let state: Vec<Arc<CachedObject>> = if send_state {
                snapshot.range(&prefix, None).filter(|o| predicate.matches(o)).cloned().collect()
            } else {
                Vec::new()
            };
            (state, resource.watch(scope, snapshot.revision()))
        }
    };
    let watcher = match watcher {
        Ok(watcher) => watcher,
        Err(g) => return Ok(expired(&g)),
    };
    let end_mark = (initial == Some(true) && bookmarks).then(|| resource.snapshot().revision());
    let stream = Stream {
        kind: call.kind,
        form: call.form,
        predicate,
        watcher,
        state: state.into_iter(),
        end_mark,
        bookmarks,
        deadline: Instant::now() + timeout,
        alarm: Box::pin(tokio::time::sleep(timeout.min(BOOKMARK_PERIOD))),
        columns_sent: false,
        finished: false,
        counted: call.server.metrics().resources().watch_events(call.kind),
        stop: Box::pin(call.server.stopping().cancelled_owned()),
    };
    let body = stream::unfold(stream, |mut s| async move {
        s.next_piece().await.map(|b| (Ok::<_, std::io::Error>(b), s))
    });
    let mut r = Response::new(Body::from_stream(body));
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(r)
}

/// A watch that cannot start where it was asked to: as upstream, that is an event of the watch, not a refusal.
fn expired(gone: &Gone) -> Response<Body> {
    let s = Status::expired(format!("too old resource version: {} ({})", gone.requested, gone.oldest));
    let mut out = BytesMut::new();
    put_line(&mut out, "ERROR", &s.to_json());
    respond::bytes_json(StatusCode::OK, out.freeze())
}

/// The narrowest scope the cache can index by.
fn scope(call: &Call<'_>, predicate: &Predicate) -> WatchScope {
    let namespace = Some(call.info.namespace.as_str())
        .filter(|n| call.kind.namespaced() && !n.is_empty())
        .or_else(|| predicate.fields.exact("metadata.namespace"));
    let name = Some(call.info.name.as_str())
        .filter(|n| !n.is_empty())
        .or_else(|| predicate.fields.exact("metadata.name"));
    WatchScope {
        namespace: namespace.map(Into::into),
        name: name.map(Into::into),
        node_name: predicate.fields.exact("spec.nodeName").map(Into::into),
    }
}

struct Stream {
    kind: &'static Kind,
    form: Form,
    predicate: Predicate,
    watcher: CacheWatcher,
    state: std::vec::IntoIter<Arc<CachedObject>>,
    /// After the state, a bookmark says that it was all, as of this revision.
    end_mark: Option<u64>,
    bookmarks: bool,
    deadline: Instant,
    /// Kept over all events, as `stop` is: to set a timer and to enter the list of those who wait for the end takes
    /// a lock that all watches share.
    alarm: Pin<Box<Sleep>>,
    columns_sent: bool,
    finished: bool,
    counted: Option<WatchEvents>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream {
    /// The next bytes; `None` ends the watch.
    async fn next_piece(&mut self) -> Option<Bytes> {
        if self.finished {
            return None;
        }
        let mut out = BytesMut::new();
        while out.len() < CHUNK {
            let Some(o) = self.state.next() else { break };
            self.put(&mut out, "ADDED", &o);
        }
        if !out.is_empty() {
            return Some(out.freeze());
        }
        if let Some(revision) = self.end_mark.take() {
            self.put_bookmark(&mut out, revision, true);
            return Some(out.freeze());
        }
        loop {
            tokio::select! {
                biased;
                () = &mut self.stop => return None,
                event = self.watcher.next() => match event {
                    Ok(e) => {
                        self.put_event(&mut out, &e);
                        self.drain(&mut out);
                    }
                    Err(ended) => {
                        tracing::debug!(kind = self.kind.plural, %ended, "watch ended");
                        let s = Status::expired(format!("too old resource version: {ended}"));
                        put_line(&mut out, "ERROR", &s.to_json());
                        self.finished = true;
                    }
                },
                () = &mut self.alarm => {
                    if let Some(revision) = self.watcher.progress().filter(|_| self.bookmarks) {
                        // At the end, a last one lets the next watch go on without listing.
                        self.put_bookmark(&mut out, revision, false);
                    }
                    let now = Instant::now();
                    if now >= self.deadline {
                        self.finished = true;
                        return (!out.is_empty()).then(|| out.freeze());
                    }
                    self.alarm.as_mut().reset(self.deadline.min(now + BOOKMARK_PERIOD));
                }
            }
            if !out.is_empty() || self.finished {
                return Some(out.freeze());
            }
        }
    }

    /// Takes along what waits already, up to the size of a piece.
    fn drain(&mut self, out: &mut BytesMut) {
        while out.len() < CHUNK {
            match self.watcher.try_next() {
                Ok(Some(e)) => self.put_event(out, &e),
                // An end is told by the next call, after what was gathered.
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// A selector sees objects come and go that only changed.
    fn put_event(&mut self, out: &mut BytesMut, e: &CacheEvent) {
        let is = e.kind != EventKind::Deleted && self.predicate.matches(&e.object);
        let was = match (&e.previous, e.kind) {
            (Some(p), _) => self.predicate.matches(p),
            (None, EventKind::Deleted) => self.predicate.matches(&e.object),
            (None, _) => false,
        };
        match (was, is) {
            (false, false) => {}
            (false, true) => self.put(out, "ADDED", &e.object),
            (true, true) => self.put(out, "MODIFIED", &e.object),
            (true, false) => self.put(out, "DELETED", &e.object),
        }
    }

    fn put(&mut self, out: &mut BytesMut, event: &str, o: &CachedObject) {
        let before = out.len();
        self.put_object(out, event, o);
        if let Some(counted) = &self.counted {
            counted.sent(out.len() - before);
        }
    }

    fn put_object(&mut self, out: &mut BytesMut, event: &str, o: &CachedObject) {
        if self.form == Form::Object && self.kind.conversion.is_none() {
            out.reserve(o.bytes.len() + 64);
            out.put_slice(b"{\"type\":\"");
            out.put_slice(event.as_bytes());
            out.put_slice(b"\",\"object\":");
            out.put_slice(&o.bytes);
            out.put_slice(b"}\n");
            return;
        }
        match parse_stored(&o.bytes) {
            Ok(mut value) => {
                respond::present(self.kind, &mut value);
                let shown = self.shape(&value);
                put_line(out, event, &shown);
            }
            Err(s) => put_line(out, "ERROR", &s.to_json()),
        }
    }

    fn shape(&mut self, value: &Value) -> Value {
        match self.form {
            Form::Object => value.clone(),
            Form::Metadata => respond::partial(value),
            Form::Table => {
                let version = api_types::meta::resource_version(value);
                let rows = vec![respond::row(self.kind, value, Timestamp::now())];
                let mut t = respond::table(self.kind, rows, json!({"resourceVersion": version}));
                // Only the first table of a watch carries its columns.
                if std::mem::replace(&mut self.columns_sent, true) {
                    t["columnDefinitions"] = Value::Null;
                }
                t
            }
        }
    }

    fn put_bookmark(&mut self, out: &mut BytesMut, revision: u64, end_of_state: bool) {
        let mut meta = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if end_of_state {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Object => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": meta})
            }
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})
            }
            Form::Table => {
                respond::table(self.kind, Vec::new(), json!({"resourceVersion": revision.to_string()}))
            }
        };
        let before = out.len();
        put_line(out, "BOOKMARK", &object);
        if let Some(counted) = &self.counted {
            counted.sent(out.len() - before);
        }
    }
}

fn put_line(out: &mut BytesMut, event: &str, object: &Value) {
    let line = json!({"type": event, "object": object}).to_string();
    out.put_slice(line.as_bytes());
    out.put_u8(b'\n');
}
