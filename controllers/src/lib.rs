//! The reconcilers: each watches a part of the cluster and moves it towards what its objects ask for.
//!
//! * [`cache`]: one watch a kind for the whole process, trimmed to what is used.
//! * [`queue`]: which objects need a look; [`expectations`]: what was asked for and not yet seen.
//! * one module a controller: its `plan` is pure, its `act` writes.
//!
//! Every controller speaks to the API server as its own service account, with the rights upstream gives it;
//! the shared watches use the identity of the controller manager.

pub mod cache;
pub mod clusterroleaggregation;
mod context;
pub mod deployment;
mod discovery;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod expectations;
pub mod garbagecollector;
pub mod metrics;
pub mod namespace;
pub mod nodeipam;
pub mod nodelifecycle;
pub mod podgc;
mod pods;
pub mod queue;
pub mod recorder;
pub mod replicaset;
pub mod resourcequota;
mod rest;
pub mod rootca;
pub mod serviceaccount;
pub mod servicecidrs;
pub mod tokencleaner;
pub mod tokens;
pub mod volumeprotection;

pub use context::{BuildError, Clients, Config, Controllers, LegacyToken, TokenGenerator, build};
