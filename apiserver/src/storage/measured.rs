//! A store whose requests are counted.
//!
//! What a caller must expect (a key that exists, another revision) is no error of the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Entry, ListOptions, ListPage, Revision, Storage, StorageError, TimesLeft, WatchStream};
use crate::server::metrics::store::{Operation, Store};

/// A store, and where its requests are counted.
pub struct Measured {
    inner: Arc<dyn Storage>,
    metrics: Arc<Store>,
}

impl Measured {
    /// Counts what `inner` is asked.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, metrics: Arc<Store>) -> Self {
        Self { inner, metrics }
    }

    async fn count<T>(
        &self,
        operation: Operation,
        key: &str,
        asked: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let started = Instant::now();
        let answer = asked.await;
        let failed = answer.as_ref().is_err_and(|e| {
            use StorageError::{Conflict, KeyExists, NotFound};
            !matches!(e, Conflict { .. } | KeyExists { .. } | NotFound { .. })
        });
        self.metrics.asked(operation, key, started.elapsed(), failed);
        answer
    }
}

#[async_trait]
impl Storage for Measured {
    async fn current_revision(&self) -> Result<Revision, StorageError> {
        self.inner.current_revision().await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        self.count(Operation::Get, key, self.inner.get(key)).await
    }

    async fn list(&self, prefix: &str, options: ListOptions) -> Result<ListPage, StorageError> {
        self.count(Operation::List, prefix, self.inner.list(prefix, options)).await
    }

    async fn export(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> Result<(ListPage, TimesLeft), StorageError> {
        self.count(Operation::List, prefix, self.inner.export(prefix, options)).await
    }

    async fn create(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<Revision, StorageError> {
        self.count(Operation::Create, key, self.inner.create(key, value, ttl)).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, StorageError> {
        self.count(Operation::Update, key, self.inner.update(key, value, expected, ttl)).await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StorageError> {
        self.count(Operation::Delete, key, self.inner.delete(key, expected)).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream, StorageError> {
        self.inner.watch(prefix, from).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StorageError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<Option<u64>, StorageError> {
        self.inner.size().await
    }
}
