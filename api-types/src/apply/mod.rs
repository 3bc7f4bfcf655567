//! Server-side apply: who owns which fields of an object, and how an applied configuration is merged into it.
//!
//! Every write is somebody's: its *manager* owns the fields it has set. `metadata.managedFields` keeps one entry a
//! manager, operation, subresource and (for updates) API version, each with a set of fields. An apply states the
//! whole intent of its manager: what it no longer names is removed where nobody else owns it, and what it names but
//! another has set to another value is a conflict.
//!
//! * [`set`]: sets of fields, kept in the form they are stored in, and their algebra; [`element`] is one step of
//!   a path.
//! * [`shape`]: what the type table says about a place, and what Go's zero values add.
//! * [`extract`], [`diff`], [`merge`], [`remove`], [`check`]: the walks over values by their shape.
//! * [`managers`]: the entries of `managedFields`; [`update`] and [`configuration`] are the two operations on them.
//! * [`reset`]: fields that a subresource does not own; [`scale`]: the entries as the scale of a workload shows
//!   them; [`last_applied`]: the annotation of client-side apply.
//!
//! Facts come from structured-merge-diff v6 and apimachinery's `managedfields`.

pub mod check;
pub mod configuration;
pub mod conflict;
pub mod diff;
pub mod element;
pub mod extract;
pub mod last_applied;
pub mod managers;
pub mod merge;
pub mod remove;
pub mod reset;
pub mod scale;
pub mod set;
pub mod shape;
pub mod update;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod properties;
