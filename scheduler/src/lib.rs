//! Assigns pods to nodes.
//!
//! The way of a pod: a watch tells of it ([`watch`]) → it waits in the [`queue`] → [`decide`] picks a node, a pure
//! function of the [`snapshot`] and the [`plugins`] → the pod is assumed in the snapshot → the [`binder`] tells the
//! API server while the next pod is already decided. One task, [`driver`], owns queue and snapshot, so nothing is
//! locked and no event can slip in between a decision and its consequence.
//!
//! Extension points are the traits of [`framework`]: PreEnqueue, QueueSort, PreFilter and Filter, PreScore and
//! Score with NormalizeScore. Not there yet: PostFilter (preemption), Reserve, Permit, PreBind and PostBind.

mod binder;
mod config;
mod decide;
mod driver;
mod events;
pub mod framework;
mod metrics;
pub mod plugins;
mod pod;
pub mod queue;
pub mod snapshot;
mod watch;

pub use config::{Config, Scheduler, build};
pub use decide::{Decision, Diagnosis, decide};
pub use pod::{PodInfo, Resources};
