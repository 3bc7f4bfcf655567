//! The API server: the only part that touches the store.
//!
//! An object's way: [`server`] (TLS, identity, limits) → [`request`] (what is asked) → [`authn`], [`authz`] →
//! [`endpoints`] (one file a verb) → [`registry`] (defaults, [`admission`], validation, transaction) → [`storage`] →
//! [`cache`] (snapshot and events) → every watcher. [`discovery`] and [`openapi`] tell clients what there is;
//! [`bootstrap`] puts in place what every cluster has.

pub mod admission;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod cache;
pub mod discovery;
pub mod endpoints;
pub mod openapi;
pub mod recorder;
pub mod registry;
pub mod request;
pub mod server;
pub mod storage;

pub use admission::Switches as AdmissionSwitches;
pub use authn::UserInfo;
pub use authn::service_account::{ServiceAccountConfig, Signer, legacy};
pub use server::config::{BuildError, Built, Config, Datastore, OpenedStore, Running, build};
pub use storage::etcd::EtcdOptions;
