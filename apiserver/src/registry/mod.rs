//! The generic store of objects: one implementation of create, get, list, update and delete for every kind.
//!
//! Owns the way of an object from a decoded body to the store (defaults, preparation, admission, validation,
//! encoding, the transaction) and back. What is particular to a kind is its catalog entry and strategy. Objects
//! are in their stored version here; the endpoints convert at the edge.
//!
//! Invariants: an object is written only against the revision it was derived from; what is answered to a writer
//! is what the store has acknowledged; reads without a resource version see every acknowledged write.

pub mod allocate;
mod create;
mod delete;
pub mod encode;
pub mod names;
mod owners;
pub mod read;
mod update;
mod warnings;

use std::sync::Arc;
use std::time::Duration;

use api_types::catalog::Kind;
use api_types::status::Status;
use serde_json::Value;

use crate::admission;
use crate::authn::UserInfo;
use crate::cache::{Cache, CacheError, CachedObject, ResourceCache};
use crate::storage::{Storage, StorageError};

pub use delete::DeleteOptions;
pub use owners::Owners;
pub use update::{Part, UpdateOptions};
pub use warnings::Warnings;

/// How long a read waits for the cache to reach a revision before the client is asked to try again.
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Who writes, and how.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// The identity behind the request.
    pub user: &'a UserInfo,
    /// Do everything but the transaction.
    pub dry_run: bool,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'static str,
    /// Who owns the fields that the write changes.
    pub owners: Owners<'a>,
    /// What the client should read although its write succeeds.
    pub warnings: Warnings,
}

impl<'a> Write<'a> {
    /// What the API server writes on its own account.
    pub fn own(user: &'a UserInfo) -> Self {
        Self {
            user,
            dry_run: false,
            subresource: "",
            owners: Owners::Update("kube-apiserver".into()),
            warnings: Warnings::default(),
        }
    }
}

/// The generic store.
pub struct Registry {
    storage: Arc<dyn Storage>,
    cache: Arc<Cache>,
    admission: admission::Chain,
    allocators: allocate::Allocators,
}

impl Registry {
    /// Makes the registry over a store and its cache.
    pub fn new(
        storage: Arc<dyn Storage>,
        cache: Arc<Cache>,
        admission: admission::Chain,
        allocators: allocate::Allocators,
    ) -> Self {
        Self { storage, cache, admission, allocators }
    }

    /// The watch cache.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The store.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The last word before a write.
    pub fn admission(&self) -> &admission::Chain {
        &self.admission
    }

    /// The allocators of service addresses.
    pub fn allocators(&self) -> &allocate::Allocators {
        &self.allocators
    }

    /// The cached objects of a kind.
    pub fn resource(&self, kind: &Kind) -> Result<&Arc<ResourceCache>, Status> {
        self.cache.resource(&kind.prefix()).ok_or_else(|| Status::internal(format!("{kind:?} is not cached")))
    }

    fn not_found(kind: &Kind, name: &str) -> Status {
        Status::not_found(kind.group, kind.plural, name)
    }

    fn ttl(kind: &Kind) -> Option<Duration> {
        kind.ttl_seconds.map(Duration::from_secs)
    }
}

/// A failure of the store as the client should see it.
pub fn storage_status(kind: &Kind, name: &str, error: StorageError) -> Status {
    match error {
        StorageError::KeyExists { .. } => Status::already_exists(kind.group, kind.plural, name),
        StorageError::NotFound { .. } => Status::not_found(kind.group, kind.plural, name),
        StorageError::Conflict { .. } => Status::modified(kind.group, kind.plural, name),
        StorageError::Compacted { .. } => Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        ),
        StorageError::TooLarge { limit, .. } => Status::too_large(limit),
        other @ (StorageError::NoSpace { .. } | StorageError::Unavailable { .. }) => {
            tracing::warn!(kind = kind.plural, name, error = %chain(&other), "the store refuses service");
            Status::unavailable(format!("{}: {other}", kind.plural))
        }
        other => {
            tracing::warn!(kind = kind.plural, name, error = %chain(&other), "the store failed");
            Status::internal(other)
        }
    }
}

/// A failure of the cache as the client should see it.
pub fn cache_status(error: &CacheError) -> Status {
    match error {
        CacheError::Behind { wanted, applied } => too_large_resource_version(*wanted, *applied),
        CacheError::Storage(_) => {
            tracing::warn!(error = %chain(error), "a consistent read failed");
            Status::unavailable(chain(error))
        }
    }
}

/// 504 with the cause clients know to retry on.
pub fn too_large_resource_version(wanted: u64, current: u64) -> Status {
    let mut s = Status::timeout(format!("Timeout: Too large resource version: {wanted}, current: {current}"));
    s.details = serde_json::json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    s
}

/// An error with its sources.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(s) = source {
        out.push_str(": ");
        out.push_str(&s.to_string());
        source = s.source();
    }
    out
}

/// Reads an object's JSON that the store has given out.
pub fn parse_stored(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|e| no_json(&e))
}

/// An object of the cache that many writes ask for, parsed once.
pub fn parsed(object: &CachedObject) -> Result<&Value, Status> {
    object.parsed().map_err(|e| no_json(&e))
}

fn no_json(error: &serde_json::Error) -> Status {
    Status::internal(format!("a stored object is no JSON: {error}"))
}
