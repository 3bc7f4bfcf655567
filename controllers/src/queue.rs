//! The work queue between watches and reconcilers, with the semantics of client-go's.
//!
//! A key is in the queue at most once; a key that is being worked on and added again is handed out again only
//! after [`WorkQueue::done`]. Keys can be added after a delay (one timer for the earliest deadline, none when
//! there is none) and after a back-off that doubles with every failure of that key.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    fmt::{Debug, Display},
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::metrics::QueueMetrics;

const BASE_DELAY: Duration = Duration::from_millis(5);
const MAX_DELAY: Duration = Duration::from_secs(1000);
/// When a key is looked at again whose object was newer on the server, should no event do it earlier.
const CONFLICT_DELAY: Duration = Duration::from_millis(250);
/// Failures of one key after which they are worth a warning.
const LOUD_AFTER: u32 = 5;

/// What may be a key.
pub trait Key: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static> Key for T {}

struct State<K> {
    ready: VecDeque<(K, Instant)>,
    dirty: HashSet<K>,
    processing: HashSet<K>,
    delayed: BinaryHeap<Reverse<(Instant, K)>>,
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

/// A de-duplicating, rate-limited queue.
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
    metrics: QueueMetrics,
}

impl<K: Key> WorkQueue<K> {
    /// An empty queue.
    pub fn new(metrics: QueueMetrics) -> Arc<Self> {
        Arc::new(WorkQueue {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                dirty: HashSet::new(),
                processing: HashSet::new(),
                delayed: BinaryHeap::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
            }),
            wake: Notify::new(),
            metrics,
        })
    }

    /// Asks for `key` to be worked on.
    pub fn add(&self, key: K) {
        if self.push(&mut self.state.lock(), key) {
            self.wake.notify_one();
        }
    }

    /// Asks for `key` to be worked on in `delay`; an earlier deadline of the same key wins.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.state.lock();
        if state.due.get(&key).is_some_and(|known| *known <= at) {
            return;
        }
        state.due.insert(key.clone(), at);
        state.delayed.push(Reverse((at, key)));
        drop(state);
        self.wake.notify_one();
    }

    /// Asks for `key` again after it failed, later each time.
    pub fn add_rate_limited(&self, key: K) {
        let failures = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures
        };
        self.metrics.retried();
        let delay = BASE_DELAY.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        self.add_after(key, delay.min(MAX_DELAY));
    }

    /// Forgets that `key` failed.
    pub fn forget(&self, key: &K) {
        self.state.lock().failures.remove(key);
    }

    /// How often `key` failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key to work on; [`WorkQueue::done`] must follow.
    pub async fn next(&self) -> K {
        loop {
            let deadline = {
                let mut state = self.state.lock();
                self.collect_due(&mut state);
                if let Some((key, since)) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    self.metrics.taken(since.elapsed());
                    return key;
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Ends the work on `key`; it comes again if it was added meanwhile.
    pub fn done(&self, key: &K) {
        let mut state = self.state.lock();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back((key.clone(), Instant::now()));
            drop(state);
            self.wake.notify_one();
        }
    }

    fn push(&self, state: &mut State<K>, key: K) -> bool {
        if !state.dirty.insert(key.clone()) {
            return false;
        }
        self.metrics.added();
        if state.processing.contains(&key) {
            return false;
        }
        state.ready.push_back((key, Instant::now()));
        true
    }

    fn collect_due(&self, state: &mut State<K>) {
        let now = Instant::now();
        while state.delayed.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, key))) = state.delayed.pop() else { return };
            // An entry that an earlier deadline replaced is left in the heap and skipped here.
            if state.due.get(&key) == Some(&at) {
                state.due.remove(&key);
                self.push(state, key);
            }
        }
    }

    /// Runs `workers` tasks that call `reconcile` for every key until `token` is cancelled. An error leads to a
    /// retry after a back-off.
    pub fn spawn_workers<E, F, Fut>(
        self: &Arc<Self>,
        name: &'static str,
        workers: usize,
        tasks: &TaskTracker,
        token: &CancellationToken,
        reconcile: F,
    ) where
        K: Display,
        E: std::error::Error + 'static,
        F: Fn(K) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
    {
        for _ in 0..workers {
            let (queue, token, reconcile) = (self.clone(), token.clone(), reconcile.clone());
            tasks.spawn(async move {
                while let Some(key) = token.run_until_cancelled(queue.next()).await {
                    let start = Instant::now();
                    let result = token.run_until_cancelled(reconcile(key.clone())).await;
                    queue.metrics.worked(start.elapsed());
                    match result {
                        None => return,
                        Some(Ok(())) => queue.forget(&key),
                        Some(Err(error)) if is_conflict(&error) => {
                            // The object is newer than the cache: the watch brings it and the key with it. Asking
                            // again before that would only meet the same conflict.
                            debug!(controller = name, %key, error = error_chain(&error), "waits for the cache");
                            queue.add_after(key.clone(), CONFLICT_DELAY);
                        }
                        Some(Err(error)) => {
                            let failures = queue.failures(&key);
                            let chain = error_chain(&error);
                            if failures >= LOUD_AFTER {
                                warn!(controller = name, %key, failures, error = chain, "still failing");
                            } else {
                                debug!(controller = name, %key, error = chain, "will be retried");
                            }
                            queue.add_rate_limited(key.clone());
                        }
                    }
                    queue.done(&key);
                }
            });
        }
    }
}

/// Whether the server refused because the object had changed meanwhile.
fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) => status.code == 409 && status.reason == "Conflict",
        _ => error.source().is_some_and(is_conflict),
    }
}

/// An error and all its sources on one line; what the API server answered without its debug form.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return status.message.clone();
    }
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Arc<WorkQueue<&'static str>> {
        WorkQueue::new(QueueMetrics::detached("test"))
    }

    #[tokio::test]
    async fn a_key_is_handed_out_once_until_it_is_done() {
        let queue = queue();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(queue.next().await, "b");
        assert!(queue.state.lock().ready.is_empty());
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_deadline_wins() {
        let queue = queue();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(30));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&"a");
        queue.collect_due(&mut queue.state.lock());
        tokio::time::advance(Duration::from_secs(100)).await;
        queue.collect_due(&mut queue.state.lock());
        assert!(queue.state.lock().ready.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_delay_until_forgotten() {
        let queue = queue();
        for expected in [5, 10, 20, 40] {
            let start = Instant::now();
            queue.add_rate_limited("a");
            assert_eq!(queue.next().await, "a");
            assert_eq!(start.elapsed().as_millis(), expected);
            queue.done(&"a");
        }
        queue.forget(&"a");
        let start = Instant::now();
        queue.add_rate_limited("a");
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_millis(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_retries_what_failed() {
        let queue: Arc<WorkQueue<String>> = WorkQueue::new(QueueMetrics::detached("test"));
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let (sender, mut seen) = tokio::sync::mpsc::channel(8);
        queue.spawn_workers("test", 2, &tasks, &token, move |key: String| {
            let sender = sender.clone();
            async move {
                sender.send(key).await.expect("the test listens");
                Err::<(), _>(std::io::Error::other("no"))
            }
        });
        queue.add("x".to_owned());
        for _ in 0..3 {
            assert_eq!(seen.recv().await.as_deref(), Some("x"));
        }
        token.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
