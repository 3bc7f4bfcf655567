//! What a Kubernetes object is, and nothing about where it is kept or who asks for it.
//!
//! * [`schema`]: the types of every built-in kind as one table: decoding, pruning and merging are driven by it.
//! * [`catalog`]: the kinds that are served, one entry each; [`kinds`] holds their strategies.
//! * [`meta`]: reading and writing object metadata inside a [`serde_json::Value`].
//! * [`quantity`], [`selector`], [`intstr`], [`names`], [`cron`]: the small languages inside objects.
//! * [`amounts`] and [`quota`]: what pods ask for, and what objects count for in a quota.
//! * [`patch`]: JSON patch, merge patch and strategic merge patch.
//! * [`field`] and [`status`]: how a refusal is told to a client.
//!
//! There is no I/O here, and this crate depends on no other crate of the project.

pub mod amounts;
pub mod apply;
pub mod catalog;
pub mod cron;
pub mod field;
pub mod go_json;
pub mod intstr;
pub mod json;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
#[doc(hidden)]
pub mod testing;
pub mod url;
