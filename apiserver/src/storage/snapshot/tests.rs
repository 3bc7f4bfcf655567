use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::storage::embedded::{self, EmbeddedOptions, EmbeddedStorage};
use crate::storage::{ListOptions, Storage};

async fn save(store: &Arc<dyn Storage>, file: &Path) {
    let parts: Vec<Bytes> = stream(store.clone()).map(Result::unwrap).collect().await;
    std::fs::write(file, parts.concat()).unwrap();
}

fn open(dir: &Path) -> Arc<dyn Storage> {
    Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir)).unwrap())
}

/// Keys and values.
async fn contents(store: &dyn Storage) -> Vec<(String, Bytes)> {
    let page = store.list(PREFIX, ListOptions::default()).await.unwrap();
    page.entries.into_iter().map(|e| (e.key.to_string(), e.value)).collect()
}

async fn sample(dir: &Path) -> Arc<dyn Storage> {
    let store = open(dir);
    for i in 0..40u8 {
        let value = Bytes::from(vec![i; usize::from(i) * 5_000]);
        store.create(&format!("/registry/pods/default/p{i}"), value, None).await.unwrap();
    }
    store.create("/registry/events/e", "x".into(), Some(Duration::from_secs(3_600))).await.unwrap();
    let gone = store.create("/registry/pods/default/gone", "x".into(), None).await.unwrap();
    store.delete("/registry/pods/default/gone", gone).await.unwrap();
    store
}

#[tokio::test]
async fn a_restored_store_holds_the_same_and_goes_on_later() {
    let dir = TempDir::new().unwrap();
    let (old, new, file) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("file"));
    let store = sample(&old).await;
    let revision = store.current_revision().await.unwrap();
    save(&store, &file).await;
    let summary = check(&file).unwrap();
    assert_eq!((summary.revision, summary.keys), (revision, 41));

    let restored = embedded::restore(&new, &file, 1_000, false).unwrap();
    assert_eq!((restored.revision, restored.before), (revision + 1_000 + 41, None));
    let again = open(&new);
    assert_eq!(contents(&*again).await, contents(&*store).await);
    assert_eq!(again.current_revision().await.unwrap(), restored.revision);
    let page = again.list(PREFIX, ListOptions::default()).await.unwrap();
    assert!(page.entries.iter().all(|e| e.revision > revision + 1_000), "no revision is given out twice");
    for past in [0, 1, revision, revision + 1_000, restored.revision - 1] {
        let error = again.watch(PREFIX, past).await.err();
        assert!(matches!(error, Some(StorageError::Compacted { .. })), "{past}: {error:?}");
        let at = ListOptions { revision: Some(past), ..ListOptions::default() };
        let error = again.list(PREFIX, at).await.err();
        assert!(past == 0 || matches!(error, Some(StorageError::Compacted { .. })), "{past}: {error:?}");
    }
    let mut watch = again.watch(PREFIX, restored.revision).await.unwrap();
    let entry = again.get("/registry/pods/default/p1").await.unwrap().unwrap();
    let written = again.update(&entry.key, "new".into(), entry.revision, None).await.unwrap();
    assert_eq!(written, restored.revision + 1);
    match watch.next().await.unwrap().unwrap() {
        crate::storage::WatchItem::Events(events) => assert_eq!(events[0].revision, written),
        other => panic!("{other:?}"),
    }
    let (page, left) = again.export("/registry/events/", ListOptions::default()).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    let left = left[0].expect("an event still expires");
    assert!((3_000..=3_640).contains(&left.as_secs()), "{left:?}");
}

#[tokio::test]
async fn what_changes_while_it_is_saved_is_not_in_it() {
    let dir = TempDir::new().unwrap();
    let store = sample(&dir.path().join("old")).await;
    let before = contents(&*store).await;
    let mut parts = Box::pin(stream(store.clone()));
    let mut whole = parts.next().await.unwrap().unwrap().to_vec();
    for (key, _) in &before {
        let entry = store.get(key).await.unwrap().unwrap();
        store.delete(key, entry.revision).await.unwrap();
        store.create(&format!("{key}-new"), "x".into(), None).await.unwrap();
    }
    while let Some(part) = parts.next().await {
        whole.extend_from_slice(&part.unwrap());
    }
    let (file, new) = (dir.path().join("file"), dir.path().join("new"));
    std::fs::write(&file, whole).unwrap();
    embedded::restore(&new, &file, 1, false).unwrap();
    assert_eq!(contents(&*open(&new)).await, before);
}

#[tokio::test]
async fn a_copy_that_takes_longer_than_history_lasts_says_so() {
    let dir = TempDir::new().unwrap();
    let store = sample(&dir.path().join("old")).await;
    let mut parts = Box::pin(stream(store.clone()));
    parts.next().await.unwrap().unwrap();
    store.create("/registry/later", "x".into(), None).await.unwrap();
    store.compact(store.current_revision().await.unwrap()).await.unwrap();
    let error = parts.next().await.unwrap().unwrap_err();
    assert!(matches!(error, SnapshotError::Storage(StorageError::Compacted { .. })), "{error:?}");
    assert!(parts.next().await.is_none());
}

#[tokio::test]
async fn a_torn_or_altered_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("old"));
    for i in 0..5 {
        store.create(&format!("/registry/a/{i}"), "value".into(), None).await.unwrap();
    }
    let file = dir.path().join("file");
    save(&store, &file).await;
    let whole = std::fs::read(&file).unwrap();
    check(&file).unwrap();
    let new = dir.path().join("new");
    let refuse = |bytes: &[u8], what: &str| {
        std::fs::write(&file, bytes).unwrap();
        let error = embedded::restore(&new, &file, 1, true).expect_err(what);
        let known = matches!(error, SnapshotError::Damaged { .. } | SnapshotError::Version { .. });
        assert!(known, "{what}: {error:?}");
        assert!(!new.exists(), "{what}: nothing is made of it");
    };
    for cut in 0..whole.len() {
        refuse(&whole[..cut], &format!("cut at {cut}"));
        let mut altered = whole.clone();
        altered[cut] ^= 1;
        refuse(&altered, &format!("flipped at {cut}"));
    }
    refuse(&[&whole[..], b"x"].concat(), "more than the whole");
    refuse(b"", "nothing");
}

#[tokio::test]
async fn what_is_there_is_kept_aside_and_its_revisions_are_never_given_out_again() {
    let dir = TempDir::new().unwrap();
    let (old, new, file) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("file"));
    let store = sample(&old).await;
    save(&store, &file).await;
    let there = open(&new);
    for i in 0..100 {
        there.create(&format!("/registry/there/{i}"), "x".into(), None).await.unwrap();
    }
    let (before, held) = (there.current_revision().await.unwrap(), contents(&*there).await);
    drop(there);
    let error = embedded::restore(&new, &file, 1, false).unwrap_err();
    assert!(matches!(error, SnapshotError::NotEmpty { .. }), "{error:?}");
    assert_eq!(contents(&*open(&new)).await, held, "a refusal changes nothing");
    let restored = embedded::restore(&new, &file, 1, true).unwrap();
    assert_eq!(restored.revision, before + 1 + 41, "later than the snapshot and than what was there");
    assert_eq!(contents(&*open(&new)).await, contents(&*store).await);
    assert_eq!(contents(&*open(&restored.before.unwrap())).await, held);
}

#[test]
fn revisions_stay_what_clients_understand() {
    assert_eq!(raise(5, 10, 3).unwrap(), 15);
    for (from, by, keys) in
        [(u64::MAX, 1, 0), (MAX_REVISION, 0, 0), (1, MAX_REVISION, 0), (1, MAX_REVISION - 2, 2)]
    {
        let error = raise(from, by, keys).unwrap_err();
        assert!(matches!(error, SnapshotError::Bump { .. }), "{error:?}");
    }
}
