//! Makes services reachable on this node: one nftables table an address family, kept up to date incrementally.
//!
//! The way of a change: a watch puts it into the [`ServiceCache`], which remembers the service as changed →
//! [`model`] computes what that service needs of the ruleset, a pure function → [`diff`] turns the difference to
//! what is loaded into one transaction → [`nft`] loads it. One transaction is under way at a time; what changes
//! meanwhile is gathered into the next one, so that nothing waits on a timer.
//!
//! Invariants: at start everything is loaded in one transaction that replaces what an earlier process left; after
//! a transaction that failed, everything is loaded anew; other tables are never touched.
//!
//! Caveats: a node port answers on every local address. On 127.0.0.1 it does only with
//! [`Config::localhost_node_ports`], which lets the kernel route loopback addresses and adds a rule that keeps
//! packets from outside away from them. Health check node ports are not served.

mod cache;
mod conntrack;
mod diff;
mod model;
#[cfg(test)]
mod netns_tests;
mod nft;
mod run;
mod table;
mod watch;

pub use cache::{Endpoint, Service, ServiceCache, ServiceEntry, ServiceKey, ServicePort, Slice, SlicePort};
pub use nft::Error as LoadError;
pub use run::{Config, Error, ServiceProxy, cleanup};
