//! `kill -9` of a process that writes: every acknowledged write is there, none is torn.
//!
//! The writer is this test binary started again with only [`child`] selected.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;

const DIR: &str = "SKIFF_TEST_CRASH_DIR";

/// A value that tells whether it is whole.
fn value(key: &str) -> Bytes {
    key.repeat(40).into()
}

/// Not a test by itself: writes until killed, and prints what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by survives_kill_9"]
async fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = EmbeddedStorage::open(EmbeddedOptions::new(dir)).unwrap();
    let first = store.current_revision().await.unwrap();
    let writer = async |writer: u32| {
        for i in 0.. {
            let key = format!("/registry/{first}/{writer}/{i}");
            let revision = store.create(&key, value(&key), None).await.unwrap();
            // One write call a line, so that no acknowledgement is lost in a buffer.
            std::io::stdout().write_all(format!("\nack {revision} {key}\n").as_bytes()).unwrap();
        }
    };
    futures::future::join_all((0..16).map(writer)).await;
}

#[tokio::test]
async fn survives_kill_9() {
    let dir = TempDir::new().unwrap();
    let mut last = 0;
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "storage::embedded::crash::child",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged: Vec<(Revision, String)> = Vec::new();
        let mut killed = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((revision, key)) = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' ')) {
                acknowledged.push((revision.parse().unwrap(), key.to_owned()));
            }
            if !killed && acknowledged.len() >= 300 + 211 * round {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the writer ended by itself");
        let store = EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap();
        let now = store.current_revision().await.unwrap();
        assert!(now >= acknowledged.iter().map(|ack| ack.0).max().unwrap(), "the revision went back");
        assert!(now > last);
        last = now;
        for (revision, key) in &acknowledged {
            let entry =
                store.get(key).await.unwrap().unwrap_or_else(|| panic!("{key} was acknowledged and is gone"));
            assert_eq!(entry.revision, *revision);
        }
        let page = store.list("/registry/", ListOptions::default()).await.unwrap();
        for entry in &page.entries {
            assert_eq!(entry.value, value(&entry.key), "{} is torn", entry.key);
        }
        let revisions: std::collections::BTreeSet<_> = page.entries.iter().map(|e| e.revision).collect();
        assert_eq!(revisions.len() as u64, now, "every revision is there once");
    }
}

/// Prints how many writes a second get through; run with `--ignored --nocapture`, optimised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn group_commit_rate() {
    for size in [200, 3_000] {
        for writers in [1, 16, 64] {
            let dir = TempDir::new_in(std::env::current_dir().unwrap()).unwrap();
            let store = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
            let begun = std::time::Instant::now();
            let tasks: Vec<_> = (0..writers)
                .map(|writer| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        let mut count = 0u64;
                        while begun.elapsed() < Duration::from_secs(2) {
                            let key = format!("/registry/configmaps/default/{writer}-{count}");
                            store.create(&key, Bytes::from(vec![b'x'; size]), None).await.unwrap();
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            let counts = futures::future::join_all(tasks).await;
            let total: u64 = counts.into_iter().map(Result::unwrap).sum();
            let rate = total as f64 / begun.elapsed().as_secs_f64();
            println!("{size:>5} bytes, {writers:>2} writers: {rate:>9.0} writes/s");
            drop(store);
            let begun = std::time::Instant::now();
            let store = EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap();
            let file = store.size().await.unwrap().unwrap() >> 20;
            println!("      reopened after a clean close in {:?} ({file} MiB)", begun.elapsed());
        }
    }
}
