//! Watchers of one resource, found by what they are interested in.
//!
//! Each watcher is filed once, under the most selective part of its scope, so an event meets only the
//! watchers of its name, its node (before and after), its namespace, and those of everything. A watcher
//! whose buffer is full is ended on the spot: the others do not wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::object::CacheEvent;
use super::resource::ResourceCache;
use crate::storage::Revision;

/// Which objects a watcher is interested in; the conditions are combined. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchScope {
    /// Of this namespace.
    pub namespace: Option<Box<str>>,
    /// With this name.
    pub name: Option<Box<str>>,
    /// With this `spec.nodeName`, before or after the event.
    pub node_name: Option<Box<str>>,
}

impl WatchScope {
    /// Whether the event concerns the scope.
    #[must_use]
    pub fn matches(&self, event: &CacheEvent) -> bool {
        let on_node = |node: &str| nodes(event).any(|found| found == node);
        self.namespace.as_deref().is_none_or(|namespace| namespace == event.object.namespace())
            && self.name.as_deref().is_none_or(|name| name == event.object.name())
            && self.node_name.as_deref().is_none_or(on_node)
    }
}

fn nodes(event: &CacheEvent) -> impl Iterator<Item = &str> {
    std::iter::once(&event.object)
        .chain(event.previous.as_ref())
        .filter_map(|object| object.index.field("spec.nodeName"))
}

/// Why a watcher gets no further events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnded {
    /// It did not keep up.
    #[error("the watcher did not keep up with its events")]
    TooSlow,
    /// The cache had to list again and cannot tell what the watcher would have missed.
    #[error("the cache was rebuilt")]
    Relisted,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopped,
}

const RUNNING: u8 = 0;

impl WatchEnded {
    fn code(self) -> u8 {
        match self {
            Self::TooSlow => 1,
            Self::Relisted => 2,
            Self::Stopped => 3,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::TooSlow,
            2 => Self::Relisted,
            _ => Self::Stopped,
        }
    }
}

/// The cache's end of a watcher.
#[derive(Debug)]
struct Handle {
    id: u64,
    after: Revision,
    scope: WatchScope,
    events: mpsc::Sender<Arc<CacheEvent>>,
    ended: Arc<AtomicU8>,
}

/// Where a watcher is filed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bucket {
    Name(Box<str>),
    Node(Box<str>),
    Namespace(Box<str>),
}

fn bucket(scope: &WatchScope) -> Option<Bucket> {
    let WatchScope { namespace, name, node_name } = scope;
    (name.clone().map(Bucket::Name))
        .or_else(|| node_name.clone().map(Bucket::Node))
        .or_else(|| namespace.clone().map(Bucket::Namespace))
}

/// All watchers of a resource.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    next: u64,
    count: usize,
    all: Vec<Handle>,
    names: HashMap<Box<str>, Vec<Handle>>,
    nodes: HashMap<Box<str>, Vec<Handle>>,
    namespaces: HashMap<Box<str>, Vec<Handle>>,
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Hands an event to whom it concerns. Returns how many watchers were ended for being slow.
    pub(super) fn dispatch(&mut self, event: &Arc<CacheEvent>) -> usize {
        let mut slow = 0;
        let count = &mut self.count;
        let mut to = |list: &mut Vec<Handle>| {
            let before = list.len();
            slow += deliver(list, event);
            *count -= before - list.len();
        };
        to(&mut self.all);
        self.names.get_mut(event.object.name()).map(&mut to);
        self.namespaces.get_mut(event.object.namespace()).map(&mut to);
        if !self.nodes.is_empty() {
            let mut seen = None;
            for node in nodes(event) {
                if seen != Some(node) {
                    self.nodes.get_mut(node).map(&mut to);
                }
                seen = Some(node);
            }
        }
        slow
    }

    /// Ends every watcher.
    pub(super) fn end_all(&mut self, why: WatchEnded) {
        let Self { all, names, nodes, namespaces, .. } = std::mem::take(self);
        let filed = [names, nodes, namespaces].into_iter().flat_map(HashMap::into_values).flatten();
        for handle in all.into_iter().chain(filed) {
            handle.ended.store(why.code(), Ordering::Release);
        }
    }

    fn list(&mut self, scope: &WatchScope) -> &mut Vec<Handle> {
        match bucket(scope) {
            None => &mut self.all,
            Some(Bucket::Name(name)) => self.names.entry(name).or_default(),
            Some(Bucket::Node(node)) => self.nodes.entry(node).or_default(),
            Some(Bucket::Namespace(namespace)) => self.namespaces.entry(namespace).or_default(),
        }
    }

    pub(super) fn add(
        &mut self,
        scope: WatchScope,
        after: Revision,
        replay: VecDeque<Arc<CacheEvent>>,
        buffer: usize,
        applied: Arc<AtomicU64>,
        resource: Weak<ResourceCache>,
    ) -> CacheWatcher {
        let id = self.next;
        self.next += 1;
        self.count += 1;
        let (events, receiver) = mpsc::channel(buffer.max(1));
        let ended = Arc::new(AtomicU8::new(RUNNING));
        let handle = Handle { id, after, scope: scope.clone(), events, ended: ended.clone() };
        self.list(&scope).push(handle);
        CacheWatcher { replay, receiver, ended, applied, after, scope, id, resource }
    }

    fn remove(&mut self, scope: &WatchScope, id: u64) {
        let list = self.list(scope);
        if let Some(at) = list.iter().position(|handle| handle.id == id) {
            list.swap_remove(at);
            self.count -= 1;
        }
        if self.list(scope).is_empty() {
            match bucket(scope) {
                None => {}
                Some(Bucket::Name(name)) => drop(self.names.remove(&name)),
                Some(Bucket::Node(node)) => drop(self.nodes.remove(&node)),
                Some(Bucket::Namespace(namespace)) => drop(self.namespaces.remove(&namespace)),
            }
        }
    }
}

/// Sends `event` to those in `list` whose scope it concerns; drops those that end, and counts the slow.
fn deliver(list: &mut Vec<Handle>, event: &Arc<CacheEvent>) -> usize {
    let mut slow = 0;
    list.retain(|handle| {
        if event.revision <= handle.after || !handle.scope.matches(event) {
            return true;
        }
        match handle.events.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                handle.ended.store(WatchEnded::TooSlow.code(), Ordering::Release);
                slow += 1;
                false
            }
            // Dropped this moment; it is about to remove itself.
            Err(TrySendError::Closed(_)) => false,
        }
    });
    slow
}

/// A running watch of one resource. Dropping it stops it.
#[derive(Debug)]
pub struct CacheWatcher {
    replay: VecDeque<Arc<CacheEvent>>,
    receiver: mpsc::Receiver<Arc<CacheEvent>>,
    ended: Arc<AtomicU8>,
    applied: Arc<AtomicU64>,
    after: Revision,
    scope: WatchScope,
    id: u64,
    resource: Weak<ResourceCache>,
}

impl CacheWatcher {
    /// The next event; after the last one, why there are no more. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arc<CacheEvent>, WatchEnded> {
        if let Some(event) = self.replay.pop_front() {
            return Ok(event);
        }
        self.receiver.recv().await.ok_or_else(|| self.why())
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Result<Option<Arc<CacheEvent>>, WatchEnded> {
        if let Some(event) = self.replay.pop_front() {
            return Ok(Some(event));
        }
        match self.receiver.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.why()),
        }
    }

    /// For bookmarks: a revision up to which `next` has returned every event; `None` while events wait,
    /// or when the watch has ended.
    #[must_use]
    pub fn progress(&self) -> Option<Revision> {
        // The order matters: events are dispatched, or the watcher ended, before their revision is applied.
        let applied = self.applied.load(Ordering::Acquire);
        let running = self.ended.load(Ordering::Acquire) == RUNNING;
        let drained = self.replay.is_empty() && self.receiver.is_empty();
        (running && drained).then_some(applied.max(self.after))
    }

    fn why(&self) -> WatchEnded {
        WatchEnded::from_code(self.ended.load(Ordering::Acquire))
    }
}

impl Drop for CacheWatcher {
    fn drop(&mut self) {
        if let Some(resource) = self.resource.upgrade() {
            resource.with_watchers(|watchers| watchers.remove(&self.scope, self.id));
        }
    }
}
