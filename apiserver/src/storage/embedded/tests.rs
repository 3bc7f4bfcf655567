//! The contract on the embedded store, and what only it promises.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::storage::contract;

fn options(dir: &TempDir) -> EmbeddedOptions {
    EmbeddedOptions::new(dir.path())
}

async fn open() -> Option<(EmbeddedStorage, TempDir)> {
    let dir = TempDir::new().unwrap();
    Some((EmbeddedStorage::open(options(&dir)).unwrap(), dir))
}

contract::suite!(open);

#[tokio::test]
async fn a_second_opener_is_told() {
    let (store, dir) = open().await.unwrap();
    let error = EmbeddedStorage::open(options(&dir)).unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error:?}");
    drop(store);
    EmbeddedStorage::open(options(&dir)).unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (store, dir) = open().await.unwrap();
    let a = store.create("/registry/a", "1".into(), None).await.unwrap();
    let b = store.create("/registry/b", "1".into(), None).await.unwrap();
    let gone = store.delete("/registry/b", b).await.unwrap();
    store.close();
    let error = store.create("/registry/c", "1".into(), None).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
    let store = EmbeddedStorage::open(options(&dir)).unwrap();
    assert_eq!(store.current_revision().await.unwrap(), gone);
    assert_eq!(store.get("/registry/a").await.unwrap().unwrap().revision, a);
    let old = ListOptions { revision: Some(b), ..Default::default() };
    assert_eq!(store.list("/registry/", old).await.unwrap().entries.len(), 2, "history survives");
    assert!(store.create("/registry/b", "2".into(), None).await.unwrap() > gone);
}

#[tokio::test]
async fn keys_that_expired_while_closed_go_at_start() {
    let (store, dir) = open().await.unwrap();
    store.create("/registry/a", "1".into(), Some(Duration::from_millis(1))).await.unwrap();
    let revision = store.current_revision().await.unwrap();
    drop(store);
    let store = EmbeddedStorage::open(options(&dir)).unwrap();
    let mut watch = store.watch("/registry/", revision.min(1)).await.unwrap();
    let expired = async {
        while store.get("/registry/a").await.unwrap().is_some() {
            futures::StreamExt::next(&mut watch).await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), expired).await.unwrap();
}

#[tokio::test]
async fn overwriting_does_not_grow_the_file_for_ever() {
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions { history_bytes: 1 << 20, ..options(&dir) };
    let store = EmbeddedStorage::open(options).unwrap();
    let value = Bytes::from(vec![b'x'; 32 << 10]);
    let mut revision = store.create("/registry/a", value.clone(), None).await.unwrap();
    for _ in 0..1_500 {
        revision = store.update("/registry/a", value.clone(), revision, None).await.unwrap();
    }
    let size = store.size().await.unwrap().unwrap();
    assert!(size < 16 << 20, "48 MiB were written, the file has {size} bytes");
    let error = store.watch("/registry/", 1).await.err();
    assert!(matches!(error, Some(StorageError::Compacted { .. })), "{error:?}");
}

/// What the model does.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Update(u8, u8),
    Stale(u8),
    Delete(u8),
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u8..6;
    prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(k, v)| Step::Create(k, v)),
        6 => (key.clone(), any::<u8>()).prop_map(|(k, v)| Step::Update(k, v)),
        1 => key.clone().prop_map(Step::Stale),
        3 => key.prop_map(Step::Delete),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

type State = BTreeMap<String, (Revision, Vec<u8>)>;

/// The store must agree with the model at every revision it still has.
async fn agrees(store: &EmbeddedStorage, past: &BTreeMap<Revision, State>, oldest: Revision) {
    for (revision, state) in past.range(oldest..) {
        let at = ListOptions { revision: Some(*revision), ..Default::default() };
        let page = store.list("/registry/", at).await.unwrap();
        let found: State =
            page.entries.into_iter().map(|e| (e.key.to_string(), (e.revision, e.value.to_vec()))).collect();
        assert_eq!(&found, state, "at revision {revision}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map_with_a_past(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let mut store = EmbeddedStorage::open(options(&dir)).unwrap();
            let mut state = State::new();
            let mut past = BTreeMap::from([(0, State::new())]);
            let mut oldest = 0;
            for step in &steps {
                let name = |k: &u8| format!("/registry/{k}");
                let mut wrote = None;
                match step {
                    Step::Create(k, v) => match (store.create(&name(k), vec![*v].into(), None).await, state.contains_key(&name(k))) {
                        (Ok(revision), false) => {
                            state.insert(name(k), (revision, vec![*v]));
                            wrote = Some(revision);
                        }
                        (Err(StorageError::KeyExists { .. }), true) => {}
                        other => panic!("{other:?}"),
                    },
                    Step::Update(k, v) => if let Some((old, _)) = state.get(&name(k)).cloned() {
                        let revision = store.update(&name(k), vec![*v].into(), old, None).await.unwrap();
                        state.insert(name(k), (revision, vec![*v]));
                        wrote = Some(revision);
                    },
                    Step::Stale(k) => {
                        let error = store.update(&name(k), "x".into(), Revision::MAX, None).await.unwrap_err();
                        match (error, state.get(&name(k))) {
                            (StorageError::Conflict { current, .. }, Some((revision, _))) => assert_eq!(current.revision, *revision),
                            (StorageError::NotFound { .. }, None) => {}
                            other => panic!("{other:?}"),
                        }
                    },
                    Step::Delete(k) => if let Some((old, _)) = state.remove(&name(k)) {
                        wrote = Some(store.delete(&name(k), old).await.unwrap());
                    },
                    Step::Compact => {
                        oldest = *past.keys().nth(past.len() / 2).unwrap();
                        store.compact(oldest).await.unwrap();
                    }
                    Step::Reopen => {
                        drop(store);
                        store = EmbeddedStorage::open(options(&dir)).unwrap();
                    }
                }
                if let Some(revision) = wrote {
                    assert!(past.keys().all(|old| *old < revision), "revisions grow");
                    past.insert(revision, state.clone());
                }
            }
            agrees(&store, &past, oldest).await;
            drop(store);
            let store = EmbeddedStorage::open(options(&dir)).unwrap();
            agrees(&store, &past, oldest).await;
        });
    }
}
