//! Deletes what belongs to nobody any more.
//!
//! Owns: the deletion of objects whose owners are all gone, the finalizers `foregroundDeletion` and `orphan`, and
//! owner references to objects that are gone.
//! Woken by: changes of the metadata of every deletable kind, watched metadata-only; a change of the custom
//! resource definitions or API services leads to a new discovery.
//! Invariants: the [`graph`] is what was observed and may lag; an owner counts as absent only after the server
//! itself said so, with its uid; an object is deleted only with its uid as precondition.

mod attempt;
mod graph;
mod monitors;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use kube::Client;
use parking_lot::Mutex;

use crate::{cache::ObjectKey, context::Context, discovery::Resource, queue::WorkQueue};

use graph::{Graph, Uid};

const NAME: &str = "generic-garbage-collector";
/// Owners known to be absent that are remembered.
const ABSENT: usize = 500;

/// Why an object could not be looked after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused.
    #[error("{operation} {object}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Which object.
        object: String,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// The owner is of a kind that is not served (yet).
    #[error("kind {kind} of {api_version}, owner of {object}, is not served")]
    UnknownOwner {
        /// Kind of the owner.
        kind: String,
        /// Group and version of the owner.
        api_version: String,
        /// The object that is owned.
        object: String,
    },
    /// Dependents that block the deletion are still there.
    #[error("{0} still has dependents that are being deleted")]
    Blocked(String),
}

/// What to do about an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// See whether it must be deleted.
    Delete(Uid),
    /// Cut its dependents loose, then let it go.
    Orphan(Uid),
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Delete(uid) => write!(out, "delete {uid}"),
            Work::Orphan(uid) => write!(out, "orphan {uid}"),
        }
    }
}

struct Collector {
    client: Client,
    graph: Mutex<Graph>,
    queue: Arc<WorkQueue<Work>>,
    /// Served kinds by API version and kind.
    kinds: Mutex<HashMap<(String, String), Arc<Resource>>>,
    absent: Mutex<HashSet<(Uid, ObjectKey)>>,
}

pub(crate) fn start(context: &Context) {
    let collector = Arc::new(Collector {
        client: context.client(NAME),
        graph: Mutex::default(),
        queue: WorkQueue::new(context.metrics.queue("garbage_collector")),
        kinds: Mutex::default(),
        absent: Mutex::default(),
    });
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    let monitors = monitors::Monitors::new(
        collector.clone(),
        context.client("shared-informers"),
        tasks.clone(),
        token.clone(),
    );
    context.spawn(async move {
        let (first, synced) = tokio::sync::oneshot::channel();
        let run = monitors.run(first);
        let start = async {
            // The sender is kept until it was used: an error only means that everything ends.
            if synced.await.is_err() {
                return;
            }
            let queue = collector.queue.clone();
            queue.spawn_workers("garbage-collector", workers * 2, &tasks, &token, move |work| {
                let collector = collector.clone();
                async move { collector.attempt(work).await }
            });
        };
        tokio::join!(run, start);
    });
}

impl Collector {
    fn add_all(&self, works: Vec<Work>) {
        works.into_iter().for_each(|work| self.queue.add(work));
    }
}
