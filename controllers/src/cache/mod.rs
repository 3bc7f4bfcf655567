//! What the controllers know of the cluster: one watch a kind for the whole process.
//!
//! An [`Informer`] lists and watches one kind, keeps a trimmed copy of every object in its [`Store`] and tells
//! its handlers about each change. Handlers run on the informer's task, must not block, and usually only put a
//! key into a work queue. Objects are decoded straight into the trimmed form ([`views`]), so that the fields
//! nobody uses are never held.
//!
//! Invariants: a handler sees changes of one object in order; the store already holds the change when a handler
//! runs; a relist is told as the difference to what was known, so that handlers never miss a deletion.

mod informer;
mod meta;
mod raw;
mod store;
pub mod views;

pub use informer::{Informer, Source};
pub use meta::{Annotations, Meta, Owner, null_default};
pub use raw::Raw;
pub use store::{Change, Index, Object, ObjectKey, Store};
