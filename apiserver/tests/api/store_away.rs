//! The store hangs, fails, or is full: health says so, reads of what is known go on, and all is well once it is back.

use std::sync::Arc;
use std::time::Duration;

use apiserver::storage::embedded::{EmbeddedOptions, EmbeddedStorage};
use apiserver::storage::{
    Entry, ListOptions, ListPage, Revision, Storage, StorageError, TimesLeft, WatchStream,
};
use apiserver::{Datastore, OpenedStore};
use async_trait::async_trait;
use bytes::Bytes;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio::sync::watch;

use crate::common::Api;
use crate::common::objects::{configmap, named};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Hanging,
    Failing,
}

/// A store that can be told to hang or to fail.
struct Moody {
    inner: EmbeddedStorage,
    mood: watch::Receiver<Mood>,
}

impl Moody {
    async fn ask(&self, operation: &'static str) -> Result<(), StorageError> {
        let mut mood = self.mood.clone();
        // A hanging store answers when it is back.
        let now = *mood.wait_for(|mood| *mood != Mood::Hanging).await.expect("the test goes on");
        match now {
            Mood::Failing => Err(StorageError::Unavailable { operation, source: "out of mood".into() }),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Storage for Moody {
    async fn current_revision(&self) -> Result<Revision, StorageError> {
        self.ask("read the revision").await?;
        self.inner.current_revision().await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        self.ask("get").await?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str, options: ListOptions) -> Result<ListPage, StorageError> {
        self.ask("list").await?;
        self.inner.list(prefix, options).await
    }

    async fn export(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> Result<(ListPage, TimesLeft), StorageError> {
        self.ask("export").await?;
        self.inner.export(prefix, options).await
    }

    async fn create(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<Revision, StorageError> {
        self.ask("create").await?;
        self.inner.create(key, value, ttl).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, StorageError> {
        self.ask("update").await?;
        self.inner.update(key, value, expected, ttl).await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StorageError> {
        self.ask("delete").await?;
        self.inner.delete(key, expected).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream, StorageError> {
        self.ask("watch").await?;
        self.inner.watch(prefix, from).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StorageError> {
        self.ask("compact").await?;
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<Option<u64>, StorageError> {
        self.inner.size().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_fails_while_the_store_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, mood) = watch::channel(Mood::Well);
    let inner = EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap();
    let store: Arc<dyn Storage> = Arc::new(Moody { inner, mood });
    let api = Api::start_with(|config| config.datastore = Datastore::Opened(OpenedStore(store))).await;
    api.post(MAPS, &configmap("a")).await.created();
    for mood in [Mood::Hanging, Mood::Failing] {
        for path in ["/livez", "/readyz", "/healthz"] {
            assert_eq!(api.get(path).await.code, 200, "{path} before {mood:?}");
        }
        tell.send(mood).unwrap();
        let ask = async |path: &str| {
            let reply = api.get(path).await;
            let text = String::from_utf8_lossy(&reply.raw).into_owned();
            assert_eq!(reply.code, 500, "{path} while {mood:?}: {text}");
            // Who may ask for the check itself is told why.
            let told = if path == "/readyz/etcd" {
                "internal server error: "
            } else {
                "[-]etcd failed: reason withheld"
            };
            assert!(text.contains(told), "{text}");
        };
        // At once: each waits for the store as long as it may.
        futures::join!(ask("/livez"), ask("/readyz"), ask("/healthz"), ask("/readyz/etcd"), async {
            for path in ["/livez/ping", "/readyz?exclude=etcd&exclude=etcd-readiness"] {
                assert_eq!(api.get(path).await.code, 200, "{path} while {mood:?}");
            }
        });
        // What may be old is answered from the cache.
        let old = api.get(&format!("{MAPS}/a?resourceVersion=0")).await.ok();
        assert_eq!(old["metadata"]["name"], "a");
        if mood == Mood::Failing {
            api.post(MAPS, &configmap("b")).await.refused(503, "ServiceUnavailable");
            api.get(&format!("{MAPS}/a")).await.refused(503, "ServiceUnavailable");
        }
        tell.send(Mood::Well).unwrap();
        api.get(&format!("{MAPS}/a")).await.ok();
    }
    api.post(MAPS, &configmap("b")).await.created();
    assert_eq!(api.get("/readyz").await.code, 200);
}

/// A small file system, as long as this lives.
struct SmallDisk(tempfile::TempDir);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.0.path();
        umount2(path, MntFlags::MNT_DETACH)
            .unwrap_or_else(|e| eprintln!("{} stays mounted: {e}", path.display()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let options = Some("size=8m");
    if let Err(error) = mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), options) {
        api_types::testing::skipped(format_args!("no small disk can be mounted ({error}); this needs root"));
        return;
    }
    let disk = SmallDisk(dir);
    let path = disk.0.path().to_owned();
    let api = Api::start_with(|config| config.datastore = Datastore::Embedded(path.clone())).await;
    let mut watch = api.watch(&format!("{MAPS}?watch=true")).await;
    let mut map = named("v1", "ConfigMap", "");
    map["data"] = serde_json::json!({"a": "x".repeat(200 << 10)});
    let mut written = 0;
    let refused = loop {
        map["metadata"]["name"] = format!("m{written}").into();
        let reply = api.post(MAPS, &map).await;
        if reply.code != 201 {
            break reply;
        }
        written += 1;
        assert!(written < 1_000, "the disk is never full");
    };
    let message = refused.refused(503, "ServiceUnavailable");
    assert!(message.contains("no space left for the store"), "{message}");
    assert!(written > 0);
    for i in 0..written {
        api.get(&format!("{MAPS}/m{i}")).await.ok();
    }
    let listed = api.get(MAPS).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), written);
    assert_eq!(api.get("/readyz").await.code, 200, "reads go on");

    mount(None::<&str>, &path, None::<&str>, MsFlags::MS_REMOUNT, Some("size=64m")).unwrap();
    let recovered = async {
        loop {
            let reply = api.post(MAPS, &map).await;
            if reply.code == 201 {
                return;
            }
            reply.refused(503, "ServiceUnavailable");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, recovered).await.expect("writes go on without a restart");
    let seen = watch.shorts(written + 1).await;
    assert_eq!(seen.last().unwrap(), &format!("ADDED m{written}"), "nothing was missed in between");
}
