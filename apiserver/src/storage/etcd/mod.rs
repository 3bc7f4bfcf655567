//! The etcd backend (v3 API): several endpoints, TLS, upstream's key layout.
//!
//! Writes are transactions that compare the key's mod revision. Reads are linearizable and retried;
//! a write whose outcome is unknown is reported so ([`StorageError::Ambiguous`]) and never repeated.

mod compactor;
mod error;
mod lease;
mod members;
mod restore;
mod shared_revision;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Certificate, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions, GetResponse, Identity,
    KeyValue, PutOptions, TlsOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio_util::task::AbortOnDropHandle;

use self::error::{Kind, kind, of_read, of_write};
use self::lease::Leases;
use self::members::{Member, Members};
use self::shared_revision::SharedRevision;
use self::watch::revision;
use super::{Entry, ListOptions, ListPage, Revision, Storage, StorageError, TimesLeft, WatchStream};

/// etcd's default `--max-request-bytes`.
const MAX_REQUEST: usize = 3 << 19;
/// What a response may have; upstream's client sets no limit either.
const MAX_RESPONSE: usize = i32::MAX as usize;
/// Entries asked for at once when a list has no limit.
const PAGE: usize = 2_000;
/// How often a read is tried.
const READ_ATTEMPTS: u32 = 4;

/// How to reach etcd.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// `http://` or `https://` URLs.
    pub endpoints: Vec<String>,
    /// CA bundle (PEM) the servers' certificates are verified with.
    pub ca_file: Option<PathBuf>,
    /// Client certificate (PEM).
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// How often history older than this is compacted; `None` leaves compaction to somebody else.
    pub compaction_interval: Option<Duration>,
    /// Time limit of one request.
    pub request_timeout: Duration,
}

impl EtcdOptions {
    /// The defaults: no TLS, compaction every five minutes, ten seconds a request.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            ca_file: None,
            cert_file: None,
            key_file: None,
            compaction_interval: Some(Duration::from_secs(300)),
            request_timeout: Duration::from_secs(10),
        }
    }

    fn place(&self) -> String {
        self.endpoints.join(",")
    }

    async fn connect_options(&self) -> Result<ConnectOptions, StorageError> {
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            .with_keep_alive(Duration::from_secs(30), Duration::from_secs(10))
            .with_keep_alive_while_idle(true);
        if self.ca_file.is_none() && self.cert_file.is_none() {
            return Ok(options);
        }
        let mut tls = TlsOptions::new();
        if let Some(ca) = &self.ca_file {
            tls = tls.ca_certificate(Certificate::from_pem(read(ca).await?));
        }
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            tls = tls.identity(Identity::from_pem(read(cert).await?, read(key).await?));
        }
        Ok(options.with_tls(tls))
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, StorageError> {
    tokio::fs::read(path).await.map_err(|e| StorageError::Failed {
        operation: "read TLS files of etcd",
        source: format!("{}: {e}", path.display()).into(),
    })
}

/// A store in etcd.
pub struct EtcdStorage {
    members: Arc<Members>,
    leases: Leases,
    revision: SharedRevision,
    place: String,
    timeout: Duration,
    /// Ends with the store.
    _compactor: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for EtcdStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdStorage").field("endpoints", &self.place).finish_non_exhaustive()
    }
}

impl EtcdStorage {
    /// Connects and checks that etcd answers.
    pub async fn connect(options: EtcdOptions) -> Result<Self, StorageError> {
        let place = options.place();
        let failed = |e: Error| StorageError::Failed { operation: "connect to etcd", source: Box::new(e) };
        let connect = options.connect_options().await?;
        let members = Members::new(&options.endpoints, &connect, MAX_RESPONSE).await.map_err(failed)?;
        let members = Arc::new(members);
        let compactor = options
            .compaction_interval
            .map(|interval| AbortOnDropHandle::new(tokio::spawn(compactor::run(members.clone(), interval))));
        let store = Self {
            members,
            leases: Leases::default(),
            revision: SharedRevision::default(),
            place,
            timeout: options.request_timeout,
            _compactor: compactor,
        };
        store.current_revision().await?;
        Ok(store)
    }

    /// How long one attempt at a small read may take: where another member can be asked, it is asked in time.
    fn patience(&self) -> Duration {
        if self.members.several() { self.timeout / READ_ATTEMPTS } else { self.timeout }
    }

    /// A read, repeated while etcd is not there; of another member when there is one.
    async fn range(
        &self,
        operation: &'static str,
        key: &[u8],
        options: GetOptions,
        at: Revision,
        patience: Duration,
    ) -> Result<GetResponse, StorageError> {
        let mut pause = Duration::from_millis(25);
        let mut attempt = 1;
        loop {
            let Member { index, mut kv } = self.members.current();
            match tokio::time::timeout(patience, kv.get(key, Some(options.clone()))).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    let passing = matches!(kind(&error), Kind::Unknown | Kind::Refused);
                    if passing {
                        self.members.leave(index, &error);
                    }
                    if !passing || attempt == READ_ATTEMPTS {
                        return Err(of_read(operation, &self.place, error, at));
                    }
                }
                Err(elapsed) => {
                    self.members.leave(index, &elapsed);
                    // The time of the whole read is used up where one attempt may take all of it.
                    if patience == self.timeout || attempt == READ_ATTEMPTS {
                        return Err(StorageError::Unavailable { operation, source: elapsed.into() });
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
            attempt += 1;
        }
    }

    /// A list, entry by entry shown to `each` as etcd has it.
    async fn pages(
        &self,
        prefix: &str,
        options: &ListOptions,
        each: &mut (dyn FnMut(&KeyValue) + Send),
    ) -> Result<ListPage, StorageError> {
        let end = prefix_end(prefix);
        let mut from = match &options.start_after {
            Some(after) if after.as_str() >= prefix => [after.as_bytes(), b"\0"].concat(),
            _ if prefix.is_empty() => vec![0],
            _ => prefix.as_bytes().to_vec(),
        };
        let mut page = ListPage {
            revision: options.revision.unwrap_or(0),
            entries: Vec::new(),
            more: false,
            remaining: None,
        };
        loop {
            let wanted = options.limit.map_or(usize::MAX, |limit| limit - page.entries.len()).min(PAGE);
            let request = GetOptions::new()
                .with_range(end.clone())
                .with_limit(i64::try_from(wanted).unwrap_or(i64::MAX))
                .with_revision(raw(page.revision));
            let response = self.range("list", &from, request, page.revision, self.timeout).await?;
            if page.revision == 0 {
                page.revision = header_revision(response.header());
            }
            for kv in response.kvs() {
                if let Some(entry) = entry(kv) {
                    page.entries.push(entry);
                    each(kv);
                }
            }
            page.more = response.more();
            let rest = response.count() - i64::try_from(response.kvs().len()).unwrap_or(0);
            page.remaining = u64::try_from(rest).ok();
            let Some(last) = response.kvs().last().filter(|_| page.more) else { return Ok(page) };
            if options.limit.is_some_and(|limit| page.entries.len() >= limit) {
                return Ok(page);
            }
            from = [last.key(), b"\0"].concat();
        }
    }

    /// What each of these leases has left; no lease (0) never ends. A lease is asked for once.
    async fn time_left(&self, leases: Vec<i64>) -> Result<TimesLeft, StorageError> {
        let mut known = HashMap::from([(0, None)]);
        let mut client = self.members.client().1.lease_client();
        for lease in &leases {
            if known.contains_key(lease) {
                continue;
            }
            let asked = tokio::time::timeout(self.timeout, client.time_to_live(*lease, None)).await;
            let seconds = match asked {
                Ok(Ok(answer)) => u64::try_from(answer.ttl()).unwrap_or(0),
                Ok(Err(error)) if kind(&error) == Kind::LeaseGone => 0,
                Ok(Err(error)) => return Err(of_read("export", &self.place, error, 0)),
                Err(elapsed) => {
                    return Err(StorageError::Unavailable { operation: "export", source: elapsed.into() });
                }
            };
            known.insert(*lease, Some(Duration::from_secs(seconds)));
        }
        Ok(leases.iter().map(|lease| known.get(lease).copied().flatten()).collect())
    }

    /// A write, sent once.
    async fn txn(
        &self,
        operation: &'static str,
        key: &str,
        size: usize,
        txn: Txn,
    ) -> Result<TxnResponse, Failure> {
        let Member { index, mut kv } = self.members.current();
        match tokio::time::timeout(self.timeout, kv.txn(txn)).await {
            Ok(Ok(response)) => {
                self.members.told(header_revision(response.header()));
                Ok(response)
            }
            Ok(Err(error)) if kind(&error) == Kind::LeaseGone => Err(Failure::LeaseGone(error)),
            Ok(Err(error)) => {
                if matches!(kind(&error), Kind::Unknown | Kind::Refused) {
                    self.members.leave(index, &error);
                }
                Err(of_write(operation, key, size, &self.place, error).into())
            }
            Err(elapsed) => {
                self.members.leave(index, &elapsed);
                let (key, source) = (key.to_owned(), elapsed.into());
                Err(StorageError::Ambiguous { operation, key, source }.into())
            }
        }
    }

    async fn put(
        &self,
        operation: &'static str,
        key: &str,
        value: &Bytes,
        ttl: Option<Duration>,
        expected: Revision,
    ) -> Result<TxnResponse, StorageError> {
        let size = key.len() + value.len();
        if size > MAX_REQUEST {
            return Err(StorageError::TooLarge { operation, key: key.to_owned(), size, limit: MAX_REQUEST });
        }
        let mut first = true;
        loop {
            let mut put = PutOptions::new();
            let mut lease = 0;
            if let Some(ttl) = ttl {
                let mut client = self.members.client().1.lease_client();
                lease = match tokio::time::timeout(self.timeout, self.leases.get(&mut client, ttl)).await {
                    Ok(granted) => granted.map_err(|e| of_read(operation, &self.place, e, 0))?,
                    Err(elapsed) => {
                        return Err(StorageError::Unavailable { operation, source: elapsed.into() });
                    }
                };
                put = put.with_lease(lease);
            }
            let txn = Txn::new()
                .when([compare(key, expected)])
                .and_then([TxnOp::put(key, &value[..], Some(put))])
                .or_else([TxnOp::get(key, None)]);
            match self.txn(operation, key, size, txn).await {
                Err(Failure::LeaseGone(_)) if first => {
                    // Revoked or expired behind our back; nothing was written.
                    self.leases.forget(lease).await;
                    first = false;
                }
                Err(Failure::LeaseGone(error)) => {
                    return Err(of_write(operation, key, size, &self.place, error));
                }
                Err(Failure::Storage(error)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
    }
}

/// Failure of a transaction.
enum Failure {
    LeaseGone(Error),
    Storage(StorageError),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

fn compare(key: &str, expected: Revision) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, raw(expected))
}

fn raw(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn header_revision(header: Option<&etcd_client::ResponseHeader>) -> Revision {
    header.map_or(0, |h| revision(h.revision()))
}

fn entry(kv: &KeyValue) -> Option<Entry> {
    Some(Entry {
        // Keys that are no text are none of ours.
        key: kv.key_str().ok()?.into(),
        revision: revision(kv.mod_revision()),
        create_revision: revision(kv.create_revision()),
        value: Bytes::copy_from_slice(kv.value()),
    })
}

/// What a refused update or delete found.
fn refused(operation: &'static str, key: &str, expected: Revision, response: &TxnResponse) -> StorageError {
    let current = response.op_responses().iter().find_map(|op| match op {
        TxnOpResponse::Get(got) => got.kvs().first().and_then(entry),
        _ => None,
    });
    match current {
        Some(current) => {
            StorageError::Conflict { operation, key: key.to_owned(), expected, current: Box::new(current) }
        }
        None => StorageError::NotFound { operation, key: key.to_owned() },
    }
}

/// The end of the range of keys that start with `prefix`.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // No key is beyond: etcd's sign for an open end.
    vec![0]
}

#[async_trait]
impl Storage for EtcdStorage {
    async fn current_revision(&self) -> Result<Revision, StorageError> {
        let ask = async || {
            let options = GetOptions::new().with_count_only();
            let response = self.range("read the revision", b"\0", options, 0, self.patience()).await?;
            let revision = header_revision(response.header());
            self.members.told(revision);
            Ok(revision)
        };
        self.revision.get(ask).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let response = self.range("get", key.as_bytes(), GetOptions::new(), 0, self.patience()).await?;
        Ok(response.kvs().first().and_then(entry))
    }

    async fn list(&self, prefix: &str, options: ListOptions) -> Result<ListPage, StorageError> {
        self.pages(prefix, &options, &mut |_| {}).await
    }

    async fn export(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> Result<(ListPage, TimesLeft), StorageError> {
        let mut leases = Vec::new();
        let page = self.pages(prefix, &options, &mut |kv| leases.push(kv.lease())).await?;
        let left = self.time_left(leases).await?;
        Ok((page, left))
    }

    async fn create(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<Revision, StorageError> {
        let response = self.put("create", key, &value, ttl, 0).await?;
        if response.succeeded() {
            return Ok(header_revision(response.header()));
        }
        Err(StorageError::KeyExists { key: key.to_owned() })
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, StorageError> {
        if expected == 0 {
            // To etcd that would be a create.
            let current = self.get(key).await?;
            return Err(match current {
                Some(current) => StorageError::Conflict {
                    operation: "update",
                    key: key.to_owned(),
                    expected,
                    current: Box::new(current),
                },
                None => StorageError::NotFound { operation: "update", key: key.to_owned() },
            });
        }
        let response = self.put("update", key, &value, ttl, expected).await?;
        if response.succeeded() {
            return Ok(header_revision(response.header()));
        }
        Err(refused("update", key, expected, &response))
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StorageError> {
        let txn = Txn::new()
            .when([compare(key, expected), Compare::version(key, CompareOp::NotEqual, 0)])
            .and_then([TxnOp::delete(key, Some(DeleteOptions::new()))])
            .or_else([TxnOp::get(key, None)]);
        let response = match self.txn("delete", key, key.len(), txn).await {
            Ok(response) => response,
            Err(Failure::Storage(error)) => return Err(error),
            Err(Failure::LeaseGone(error)) => {
                return Err(of_write("delete", key, key.len(), &self.place, error));
            }
        };
        if response.succeeded() {
            return Ok(header_revision(response.header()));
        }
        Err(refused("delete", key, expected, &response))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream, StorageError> {
        let current = self.current_revision().await?;
        if from > current {
            return Err(StorageError::FutureRevision { requested: from, current });
        }
        Ok(watch::start(self.members.clone(), prefix, from))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StorageError> {
        let mut client = self.members.client().1.clone();
        match tokio::time::timeout(self.timeout, client.compact(raw(revision), None)).await {
            Ok(Ok(_)) => Ok(()),
            // Somebody compacted further already.
            Ok(Err(error)) if kind(&error) == Kind::Compacted => Ok(()),
            Ok(Err(error)) => Err(of_read("compact", &self.place, error, revision)),
            Err(elapsed) => Err(StorageError::Unavailable { operation: "compact", source: elapsed.into() }),
        }
    }

    async fn size(&self) -> Result<Option<u64>, StorageError> {
        let mut client = self.members.client().1.clone();
        match tokio::time::timeout(self.timeout, client.status()).await {
            Ok(Ok(status)) => Ok(u64::try_from(status.db_size()).ok()),
            Ok(Err(error)) => Err(of_read("size", &self.place, error, 0)),
            Err(elapsed) => Err(StorageError::Unavailable { operation: "size", source: elapsed.into() }),
        }
    }
}

#[cfg(test)]
mod tests;
