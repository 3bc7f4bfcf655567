//! What wears a store out: overwriting, torn pages, a full disk.

use std::collections::BTreeMap;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;

/// Longest wait for something that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a store must hold.
type State = BTreeMap<String, Bytes>;

async fn holds(store: &EmbeddedStorage) -> State {
    let page = store.list("/registry/", ListOptions::default()).await.unwrap();
    page.entries.into_iter().map(|e| (e.key.to_string(), e.value)).collect()
}

/// Overwrites 64 keys, `each` times each, by as many writers; returns the largest size the file had, in bytes.
async fn overwrite(store: &Arc<EmbeddedStorage>, each: u64, size: usize) -> u64 {
    let writers = (0..64).map(|writer: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = format!("/registry/{writer}");
            let value = |i: u64| Bytes::from(i.to_le_bytes().repeat(size / 8));
            let mut revision = store.create(&key, value(0), None).await.unwrap();
            let mut largest = 0;
            for i in 1..=each {
                revision = store.update(&key, value(i), revision, None).await.unwrap();
                if i % 64 == writer {
                    largest = store.size().await.unwrap().unwrap().max(largest);
                }
            }
            assert_eq!(store.get(&key).await.unwrap().unwrap().value, value(each));
            largest
        })
    });
    futures::future::join_all(writers).await.into_iter().map(Result::unwrap).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_overwrites_take_no_more_room_than_the_history() {
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions { history_bytes: 2 << 20, ..EmbeddedOptions::new(dir.path()) };
    let store = Arc::new(EmbeddedStorage::open(options).unwrap());
    let largest = overwrite(&store, 50_000 / 64, 2_048).await;
    assert!(largest < 24 << 20, "100 MB were written for 2 MiB of history, the file had {largest} bytes");
    assert_eq!(holds(&store).await.len(), 64);
    // Who watches from before has to begin anew; who begins now gets what follows.
    let error = store.watch("/registry/", 64).await.err();
    assert!(matches!(error, Some(StorageError::Compacted { .. })), "{error:?}");
}

/// Prints the size of the file on the way; run with `--ignored --nocapture`, optimised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_million_overwrites() {
    let dir = TempDir::new_in(std::env::current_dir().unwrap()).unwrap();
    let options = EmbeddedOptions { history_bytes: 64 << 20, ..EmbeddedOptions::new(dir.path()) };
    let store = Arc::new(EmbeddedStorage::open(options).unwrap());
    let begun = std::time::Instant::now();
    let largest = overwrite(&store, 1_000_000 / 64, 2_048).await;
    println!("2 GB in {:?}: the file had {} MiB at most", begun.elapsed(), largest >> 20);
    assert!(largest < 512 << 20);
}

/// The file as it is between two commits.
fn file_of(dir: &Path) -> Vec<u8> {
    let path = dir.join("store.redb");
    let mut last = std::fs::read(&path).unwrap();
    loop {
        let again = std::fs::read(&path).unwrap();
        if again == last {
            return last;
        }
        last = again;
    }
}

fn open_copy(bytes: &[u8]) -> (TempDir, Result<EmbeddedStorage, StorageError>) {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("store.redb"), bytes).unwrap();
    let store = EmbeddedStorage::open(EmbeddedOptions::new(dir.path()));
    (dir, store)
}

/// What a power cut in the middle of a commit leaves: of the sectors that the commit changes some are written, in any
/// order. Everything acknowledged before is there, and of the commit all or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_commit_costs_nothing_that_was_acknowledged() {
    const SECTOR: usize = 512;
    let dir = TempDir::new().unwrap();
    let store = EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap();
    let mut random = StdRng::seed_from_u64(7);
    for i in 0..60 {
        let value = Bytes::from(vec![i; 3_000]);
        store.create(&format!("/registry/{i}"), value, None).await.unwrap();
    }
    let mut before = holds(&store).await;
    for round in 0..12u8 {
        let old = file_of(dir.path());
        let key = format!("/registry/{}", round % 7);
        let entry = store.get(&key).await.unwrap().unwrap();
        let value = Bytes::from(vec![100 + round; 1_000 * usize::from(round + 1)]);
        store.update(&key, value, entry.revision, None).await.unwrap();
        let new = file_of(dir.path());
        let after = holds(&store).await;
        assert!(new.len() >= old.len());
        for _ in 0..8 {
            let share = random.random_range(0.0..1.0);
            let mut torn = old.clone();
            torn.resize(new.len(), 0);
            for (sector, written) in torn.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
                if sector != written && random.random_bool(share) {
                    sector.copy_from_slice(written);
                }
            }
            let (_dir, opened) = open_copy(&torn);
            let opened = opened.expect("a torn commit is no reason not to start");
            let found = holds(&opened).await;
            assert!(found == before || found == after, "round {round}: neither before nor after the commit");
            opened.create("/registry/on", "x".into(), None).await.expect("it goes on");
        }
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_cut_off_or_overwritten_is_refused_or_whole() {
    let dir = TempDir::new().unwrap();
    let store = EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap();
    for i in 0..60 {
        store.create(&format!("/registry/{i}"), Bytes::from(vec![i; 3_000]), None).await.unwrap();
    }
    let whole = holds(&store).await;
    let running = file_of(dir.path());
    drop(store);
    let closed = file_of(dir.path());
    let mut refused = 0;
    for file in [running, closed] {
        let mut damaged = Vec::new();
        for cut in
            [1, 512, 4_096, 3 * 4_096, file.len() / 2, file.len() - 4_096, file.len() - 100, file.len() - 1]
        {
            damaged.push((format!("cut by {cut}"), file[..file.len() - cut].to_vec()));
        }
        let mut header = file.clone();
        header[..512].fill(0xff);
        damaged.push(("overwritten header".to_owned(), header));
        damaged.push(("something else".to_owned(), b"no store at all ".repeat(1_000)));
        for (what, bytes) in damaged {
            match open_copy(&bytes).1 {
                Ok(store) => {
                    assert_eq!(holds(&store).await, whole, "{what}: opened, and not everything is there")
                }
                Err(StorageError::Failed { .. }) => refused += 1,
                Err(other) => panic!("{what}: {other:?}"),
            }
        }
    }
    assert!(refused > 0);
}

/// A small file system of its own, as long as this lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(megabytes: u32) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let options = format!("size={megabytes}m");
        match mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                api_types::testing::skipped(format_args!(
                    "no small disk can be mounted ({error}); this needs root"
                ));
                None
            }
        }
    }

    fn resize(&self, megabytes: u32) {
        let options = format!("size={megabytes}m");
        mount(None::<&str>, self.0.path(), None::<&str>, MsFlags::MS_REMOUNT, Some(options.as_str()))
            .unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH)
            .unwrap_or_else(|e| eprintln!("{} stays mounted: {e}", self.0.path().display()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_writes_only_and_only_until_there_is_room() {
    let Some(disk) = SmallDisk::new(8) else { return };
    let store = EmbeddedStorage::open(EmbeddedOptions::new(disk.0.path())).unwrap();
    let value = Bytes::from(vec![b'x'; 64 << 10]);
    let mut keys: Vec<(String, Revision)> = Vec::new();
    let error = loop {
        let key = format!("/registry/{}", keys.len());
        match store.create(&key, value.clone(), None).await {
            Ok(revision) => keys.push((key, revision)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StorageError::NoSpace { .. }) && error.is_retryable(), "{error:?}");
    assert!(!keys.is_empty());
    let last = keys.last().unwrap().1;
    assert_eq!(store.current_revision().await.unwrap(), last, "a write that failed has no revision");
    for (key, revision) in &keys {
        assert_eq!(store.get(key).await.unwrap().unwrap().revision, *revision);
    }
    assert_eq!(holds(&store).await.len(), keys.len());
    let mut watch = store.watch("/registry/", 0).await.expect("watches go on");

    disk.resize(64);
    let retry = async {
        loop {
            match store.create("/registry/again", value.clone(), None).await {
                Ok(revision) => return revision,
                Err(StorageError::NoSpace { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    let again = tokio::time::timeout(DEADLINE, retry).await.expect("writes go on once there is room");
    assert_eq!(again, last + 1);
    let seen = async {
        loop {
            match futures::StreamExt::next(&mut watch).await.unwrap().unwrap() {
                crate::storage::WatchItem::Events(events) if events.iter().any(|e| e.revision == again) => {
                    return;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("the watch has gone on");
    drop(store);
    let store = EmbeddedStorage::open(EmbeddedOptions::new(disk.0.path())).unwrap();
    assert_eq!(holds(&store).await.len(), keys.len() + 1);
}
