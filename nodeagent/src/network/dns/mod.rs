//! Names of services: the DNS server of the cluster, one on every node at the same address.
//!
//! Names below the cluster domain and addresses of services are answered from the [`ServiceCache`] the service proxy
//! uses as well ([`zone`], pure, the schema of version 1.1.0 of the Kubernetes DNS specification); everything else is
//! sent on to the servers the machine itself uses ([`forward`]).
//!
//! The address is put on an interface of the machine (`lo` by default), so that pods reach it through their gateway
//! and host processes reach it directly. Woken by queries only. Invariants: at most a fixed number of queries is
//! sent on at a time, each for a limited time; a query is answered even if only with SERVFAIL.

mod address;
mod forward;
mod server;
mod zone;

pub use address::{assign, release};
pub use server::{Config, Error, Server};
