//! Reads: one object, or a list at one revision.

use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::selector::{FieldSelector, Labels, Selector};
use api_types::status::Status;

use super::{FRESHNESS_TIMEOUT, Registry, cache_status};
use crate::cache::{CachedObject, ResourceCache};

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything acknowledged before.
    Consistent,
    /// Whatever is there (`resourceVersion=0`).
    Any,
    /// At least this revision.
    NotOlderThan(u64),
}

/// Selectors of a list or watch.
#[derive(Clone, Debug, Default)]
pub struct Predicate {
    /// `?labelSelector=`.
    pub labels: Selector,
    /// `?fieldSelector=`.
    pub fields: FieldSelector,
}

/// The labels of a cached object, to be looked up in.
struct Cached<'a>(&'a CachedObject);

impl Labels for Cached<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.label(key)
    }
}

impl Predicate {
    /// Refuses fields that the kind cannot be selected by.
    pub fn check(&self, kind: &Kind) -> Result<(), Status> {
        for (field, _, _) in &self.fields.terms {
            let known = field == "metadata.name"
                || (field == "metadata.namespace" && kind.namespaced())
                || kind.fields.iter().any(|f| f.name == field);
            if !known {
                if kind.fields.is_empty() {
                    return Err(Status::bad_request(format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )));
                }
                return Err(Status::bad_request(kind.strategy.not_selectable(field)));
            }
        }
        Ok(())
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &CachedObject) -> bool {
        (self.labels.is_everything() || self.labels.matches(&Cached(object)))
            && (self.fields.is_everything() || self.fields.matches(|f| object.field(f)))
    }
}

impl Registry {
    /// Waits until reads are as fresh as asked.
    pub async fn freshen(&self, freshness: Freshness) -> Result<(), Status> {
        match freshness {
            Freshness::Any => Ok(()),
            Freshness::Consistent => {
                self.cache.read_consistent().await.map(|_| ()).map_err(|e| cache_status(&e))
            }
            Freshness::NotOlderThan(revision) => {
                self.cache.wait_until(revision, FRESHNESS_TIMEOUT).await.map_err(|e| cache_status(&e))
            }
        }
    }

    /// One object.
    pub async fn get(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        freshness: Freshness,
    ) -> Result<Arc<CachedObject>, Status> {
        let resource: &ResourceCache = self.resource(kind)?;
        self.freshen(freshness).await?;
        resource.get(&kind.key(namespace, name)).ok_or_else(|| Self::not_found(kind, name))
    }

    /// One object if it is in the cache now.
    pub fn peek(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<CachedObject>> {
        self.cache.resource(&kind.prefix())?.get(&kind.key(namespace, name))
    }
}
