//! The one writer: a thread that owns the queue of writes and commits them in groups.
//!
//! What wakes it: writes, the next expiry, the age of the history, a stop. All writes that wait when it
//! looks are applied in one transaction and made durable by one sync; only then are they answered and
//! handed to watchers. While nothing happens it sleeps without a timer.
//!
//! After a failed commit the file is reopened, because redb refuses everything until then; what the
//! file then holds decides whether the group was written, so the answer is never a guess.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{ReadableDatabase, ReadableTable};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::apply::{Applied, Batch, Write};
use super::compact;
use super::db::classify;
use super::history::History;
use super::tables::{DbResult, EXPIRY, META_REVISION, Tables, TablesMut};
use crate::storage::{Revision, StorageError, WatchEvent};

/// Writes applied in one transaction at most.
const MAX_GROUP: usize = 512;
/// Keys expired in one transaction at most.
const MAX_EXPIRE: usize = 512;
/// Versions looked at by compaction in one transaction at most.
const MAX_SWEEP: usize = 2_000;
/// How long writes are refused at once after the disk was found full, and work of the writer's own put
/// off after any failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Quiet after which the allocator state is saved, so that reopening after a crash need not walk the file.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(2);

/// A write and where its answer goes.
pub(super) struct Op {
    pub(super) kind: OpKind,
    pub(super) reply: oneshot::Sender<Result<Revision, StorageError>>,
}

pub(super) enum OpKind {
    Write(Write),
    Compact(Revision),
}

/// What one commit changed, for the watches.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) events: Vec<WatchEvent>,
    pub(super) revision: Revision,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Op>,
    live: broadcast::Sender<Arc<Committed>>,
    stop: CancellationToken,
    history: History,
    next_expiry: Option<u64>,
    sweep_left: bool,
    full_until: Option<Instant>,
    /// After a failure, when work of the writer's own may be tried again.
    retry_at: Option<Instant>,
    dirty_since: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Op>,
        live: broadcast::Sender<Arc<Committed>>,
        stop: CancellationToken,
    ) -> DbResult<Self> {
        let revision = shared.committed.load(Ordering::Acquire);
        let history =
            History::new(shared.options.history, shared.options.history_bytes, revision, Instant::now());
        let mut writer = Self {
            shared,
            queue,
            live,
            stop,
            history,
            next_expiry: None,
            sweep_left: true,
            full_until: None,
            retry_at: None,
            dirty_since: None,
        };
        writer.next_expiry = writer.first_expiry()?;
        Ok(writer)
    }

    /// Runs until stopped; then answers what was queued before the stop.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut group = Vec::with_capacity(MAX_GROUP);
        loop {
            let wake = if self.sweep_left { Some(Instant::now()) } else { self.wake() };
            let wake = wake.map(|at| self.retry_at.map_or(at, |retry| at.max(retry)));
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                got = self.queue.recv_many(&mut group, MAX_GROUP) => {
                    if got == 0 {
                        break;
                    }
                }
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                () = timer => {}
            }
            self.turn(&mut group);
        }
        self.shared.db.close();
    }

    fn wake(&self) -> Option<Instant> {
        let expiry =
            self.next_expiry.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(now_ms())));
        let checkpoint = self.dirty_since.map(|at| at + CHECKPOINT_AFTER);
        [expiry, self.history.wake(), checkpoint].into_iter().flatten().min()
    }

    /// One transaction: the group, what expired, a bit of compaction.
    fn turn(&mut self, group: &mut Vec<Op>) {
        if self.full_until.is_some_and(|until| Instant::now() < until) {
            self.refuse_growth(group);
        }
        if let Some(revision) = self.history.due(Instant::now()) {
            self.request_compaction(revision);
        }
        for op in group.iter() {
            if let OpKind::Compact(revision) = op.kind {
                self.request_compaction(revision);
            }
        }
        let mut answers = Vec::with_capacity(group.len());
        match self.transact(group, &mut answers) {
            Ok(applied) => self.publish(applied, group, answers),
            Err(error) => self.recover(&error, group, answers),
        }
    }

    fn transact(
        &mut self,
        group: &[Op],
        answers: &mut Vec<Result<Revision, StorageError>>,
    ) -> DbResult<Applied> {
        let now = now_ms();
        let expire = self.next_expiry.is_some_and(|at| at <= now);
        let compact_to = self.shared.compact_to.load(Ordering::Acquire);
        if group.is_empty() && !expire && !self.sweep_left {
            return self.checkpoint();
        }
        let (applied, expiry_left, swept) = self.shared.db.with(|db| {
            let txn = db.begin_write()?;
            let (applied, expiry_left, sweep) = {
                let mut tables = TablesMut::open(&txn)?;
                let mut batch = Batch::new(&mut tables, now)?;
                for op in group {
                    answers.push(match &op.kind {
                        OpKind::Write(write) => batch.apply(write)?,
                        OpKind::Compact(_) => Ok(compact_to),
                    });
                }
                let expiry_left = expire && batch.expire(MAX_EXPIRE)?;
                let applied = batch.finish()?;
                let sweep = if self.sweep_left {
                    compact::sweep(&mut tables, compact_to, MAX_SWEEP)?
                } else {
                    compact::Sweep::default()
                };
                (applied, expiry_left, sweep)
            };
            if applied.events.is_empty() && !sweep.wrote && !expire {
                txn.abort()?;
            } else {
                txn.commit()?;
            }
            Ok((applied, expiry_left, sweep))
        })?;
        self.sweep_left = swept.left;
        if swept.wrote {
            self.dirty_since = Some(Instant::now());
        }
        if expire {
            self.next_expiry = if expiry_left { Some(now) } else { self.first_expiry()? };
        }
        Ok(applied)
    }

    /// An empty commit that saves the allocator state.
    fn checkpoint(&mut self) -> DbResult<Applied> {
        if self.dirty_since.is_some_and(|at| at + CHECKPOINT_AFTER <= Instant::now()) {
            self.dirty_since = None;
            self.shared.db.with(|db| {
                let mut txn = db.begin_write()?;
                txn.set_quick_repair(true);
                txn.commit()?;
                Ok(())
            })?;
        }
        Ok(Applied::default())
    }

    /// Makes a committed group visible, then answers it: who is answered can read its write.
    fn publish(
        &mut self,
        applied: Applied,
        group: &mut Vec<Op>,
        answers: Vec<Result<Revision, StorageError>>,
    ) {
        if !applied.events.is_empty() {
            self.dirty_since = Some(Instant::now());
            self.shared.committed.store(applied.revision, Ordering::Release);
            self.history.wrote(applied.revision, applied.superseded, Instant::now());
            if let Some(at) = applied.expires {
                self.next_expiry = Some(self.next_expiry.map_or(at, |known| known.min(at)));
            }
            // Sending fails only when nobody watches.
            drop(self.live.send(Arc::new(Committed { events: applied.events, revision: applied.revision })));
        }
        answer(group, answers);
    }

    /// Reopens the file and finds out whether the group is in it.
    fn recover(
        &mut self,
        error: &redb::Error,
        group: &mut Vec<Op>,
        answers: Vec<Result<Revision, StorageError>>,
    ) {
        tracing::error!(error = %error, path = %self.shared.options.dir.display(), "write to the store failed, reopening it");
        let place = self.shared.place();
        let reason = classify("write", &place, error);
        self.retry_at = Some(Instant::now() + PAUSE);
        if matches!(reason, StorageError::NoSpace { .. }) {
            self.full_until = Some(Instant::now() + PAUSE);
        }
        let reopened =
            self.shared.db.reopen().and_then(|()| {
                self.shared.db.with(|db| Tables::open(&db.begin_read()?)?.meta(META_REVISION))
            });
        let last = answers.iter().filter_map(|a| a.as_ref().ok()).max().copied();
        match reopened {
            Ok(revision) if last.is_some_and(|last| last <= revision) && answers.len() == group.len() => {
                // The commit had reached the file after all; watches read the events from there.
                self.shared.committed.store(revision, Ordering::Release);
                self.sweep_left = true;
                self.next_expiry = Some(now_ms());
                drop(self.live.send(Arc::new(Committed { events: Vec::new(), revision })));
                answer(group, answers);
            }
            Ok(_) => {
                for op in group.drain(..) {
                    let operation = operation(&op.kind);
                    reply(op, Err(classify(operation, &place, error)));
                }
            }
            Err(reopen) => {
                tracing::error!(error = %reopen, "the store could not be reopened");
                for op in group.drain(..) {
                    let (operation, key) = (operation(&op.kind), key(&op.kind));
                    let source = reopen.to_string().into();
                    reply(op, Err(StorageError::Ambiguous { operation, key, source }));
                }
            }
        }
    }

    fn refuse_growth(&self, group: &mut Vec<Op>) {
        let place = self.shared.place();
        let grows = |op: &Op| matches!(op.kind, OpKind::Write(Write::Create { .. } | Write::Update { .. }));
        for op in group.extract_if(.., |op| grows(op)) {
            let operation = operation(&op.kind);
            reply(op, Err(StorageError::NoSpace { operation, place: place.clone() }));
        }
    }

    fn request_compaction(&mut self, revision: Revision) {
        let revision = revision.min(self.shared.committed.load(Ordering::Acquire));
        if self.shared.compact_to.fetch_max(revision, Ordering::AcqRel) < revision {
            self.sweep_left = true;
        }
    }

    fn first_expiry(&self) -> DbResult<Option<u64>> {
        self.shared.db.with(|db| {
            let table = db.begin_read()?.open_table(EXPIRY)?;
            Ok(table.first()?.map(|(at, _)| at.value().0))
        })
    }
}

fn answer(group: &mut Vec<Op>, answers: Vec<Result<Revision, StorageError>>) {
    for (op, result) in group.drain(..).zip(answers) {
        reply(op, result);
    }
}

fn reply(op: Op, result: Result<Revision, StorageError>) {
    // The caller may have gone away; its write stands all the same.
    drop(op.reply.send(result));
}

fn operation(kind: &OpKind) -> &'static str {
    match kind {
        OpKind::Write(write) => write.operation(),
        OpKind::Compact(_) => "compact",
    }
}

fn key(kind: &OpKind) -> String {
    match kind {
        OpKind::Write(Write::Create { key, .. } | Write::Update { key, .. } | Write::Delete { key, .. }) => {
            key.to_string()
        }
        OpKind::Compact(_) => String::new(),
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
