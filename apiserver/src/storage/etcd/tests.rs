//! The contract on a real etcd, started for each case: the one on PATH (3.4 on Debian 12), and 3.5 where it was fetched
//! (`e2e/scripts/fetch.sh etcd-3.5`). Without one the cases are skipped, and say so.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use futures::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::storage::contract;
use crate::storage::embedded::{self, EmbeddedOptions, EmbeddedStorage};
use crate::storage::snapshot::{self, SnapshotError};

/// A running etcd; killed when dropped.
struct Etcd {
    program: PathBuf,
    child: Child,
    dir: TempDir,
    client: String,
    peer: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn url() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

fn spawn(program: &Path, dir: &TempDir, client: &str, peer: &str) -> std::io::Result<Child> {
    Command::new(program)
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error", "--data-dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn options(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions { compaction_interval: None, ..EtcdOptions::new(vec![etcd.client.clone()]) }
}

async fn open() -> Option<(EtcdStorage, Etcd)> {
    start("etcd".into(), "install etcd-server").await
}

async fn open_3_5() -> Option<(EtcdStorage, Etcd)> {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/etcd-3.5/usr/bin/etcd");
    start(fetched.into(), "run e2e/scripts/fetch.sh etcd-3.5").await
}

async fn start(program: PathBuf, help: &str) -> Option<(EtcdStorage, Etcd)> {
    let (dir, client, peer) = (TempDir::new().unwrap(), url(), url());
    let child = match spawn(&program, &dir, &client, &peer) {
        Ok(child) => child,
        Err(error) => {
            api_types::testing::skipped(format_args!("no etcd could be started ({error}); {help}"));
            return None;
        }
    };
    let etcd = Etcd { program, child, dir, client, peer };
    let store = EtcdStorage::connect(options(&etcd)).await.expect("etcd answers");
    Some((store, etcd))
}

contract::suite!(open);

mod v3_5 {
    crate::storage::contract::suite!(super::open_3_5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_the_death_of_etcd() {
    let Some((store, mut etcd)) = open().await else { return };
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch("/registry/", start).await.unwrap();
    let first = store.create("/registry/a", "1".into(), None).await.unwrap();
    let mut got = Vec::new();
    let mut next = async |count: usize| {
        while got.len() < count {
            let item =
                tokio::time::timeout(Duration::from_secs(30), futures::StreamExt::next(&mut watch)).await;
            if let super::super::WatchItem::Events(events) = item.unwrap().unwrap().unwrap() {
                got.extend(events.into_iter().map(|e| e.revision));
            }
        }
        got.clone()
    };
    assert_eq!(next(1).await, [first]);
    etcd.child.kill().unwrap();
    etcd.child.wait().unwrap();
    let error = store.create("/registry/b", "1".into(), None);
    let error = tokio::time::timeout(Duration::from_secs(30), error).await.unwrap().unwrap_err();
    assert!(matches!(error, StorageError::Ambiguous { .. } | StorageError::Unavailable { .. }), "{error:?}");
    etcd.child = spawn(&etcd.program, &etcd.dir, &etcd.client, &etcd.peer).unwrap();
    let second = loop {
        match store.create("/registry/c", "1".into(), None).await {
            Ok(revision) => break revision,
            Err(StorageError::Ambiguous { .. } | StorageError::Unavailable { .. }) => {
                tokio::task::yield_now().await
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(next(2).await, [first, second]);
}

#[tokio::test]
async fn an_unreachable_etcd_is_unavailable() {
    let options = EtcdOptions { request_timeout: Duration::from_secs(1), ..EtcdOptions::new(vec![url()]) };
    let error = EtcdStorage::connect(options).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
}

async fn save(store: EtcdStorage, file: &Path) -> EtcdStorage {
    let store = std::sync::Arc::new(store);
    let parts: Vec<Bytes> = snapshot::stream(store.clone()).map(Result::unwrap).collect().await;
    std::fs::write(file, parts.concat()).unwrap();
    std::sync::Arc::into_inner(store).expect("nobody else has it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_into_an_empty_etcd_only_and_into_an_embedded_store() {
    let Some((store, _from)) = open().await else { return };
    let Some((other, _to)) = open().await else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    for i in 0..200 {
        store.create(&format!("/registry/p/{i}"), vec![b'x'; i * 50].into(), None).await.unwrap();
    }
    store.create("/registry/event", "x".into(), Some(Duration::from_secs(900))).await.unwrap();
    let revision = store.current_revision().await.unwrap();
    let store = save(store, &file).await;
    let contents = async |store: &dyn Storage| -> Vec<(String, Bytes)> {
        let page = store.list("/registry/", ListOptions::default()).await.unwrap();
        page.entries.into_iter().map(|e| (e.key.to_string(), e.value)).collect()
    };
    let error = store.restore(&file, 10).await.unwrap_err();
    assert!(matches!(error, SnapshotError::NotEmpty { .. }), "{error:?}");
    let error = other.restore(&file, restore::MAX_RAISE).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Bump { .. }), "{error:?}");
    let now = other.restore(&file, 100).await.unwrap();
    assert_eq!(contents(&other).await, contents(&store).await);
    let page = other.list("/registry/", ListOptions::default()).await.unwrap();
    assert!(page.entries.iter().all(|e| e.revision > revision + 100 && e.revision <= now));
    let error = match other.watch("/registry/", revision).await {
        Err(error) => error,
        Ok(mut watch) => watch.next().await.unwrap().unwrap_err(),
    };
    assert!(matches!(error, StorageError::Compacted { .. }), "{error:?}");
    let (_, left) = other.export("/registry/event", ListOptions::default()).await.unwrap();
    assert!(left[0].is_some_and(|left| (600..=1_000).contains(&left.as_secs())), "{left:?}");

    let made = dir.path().join("store");
    embedded::restore(&made, &file, 100, false).unwrap();
    let made = EmbeddedStorage::open(EmbeddedOptions::new(made)).unwrap();
    assert_eq!(contents(&made).await, contents(&store).await);
}

#[test]
fn prefixes_have_an_end() {
    assert_eq!(prefix_end("/registry/"), b"/registry0");
    assert_eq!(prefix_end(""), [0]);
}
