//! What every backend must do: one suite, run on each.
//!
//! A case gets an empty store (its revision need not be 0) and fails by panicking with the guarantee
//! that is broken.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::{ListOptions, Revision, Storage, StorageError, WatchEvent, WatchItem, WatchStream};

/// Longest wait for something that must happen.
const DEADLINE: Duration = Duration::from_secs(20);

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The next `count` events; progress is skipped.
async fn events(watch: &mut WatchStream, count: usize) -> Vec<WatchEvent> {
    let mut got = Vec::new();
    while got.len() < count {
        let item = tokio::time::timeout(DEADLINE, watch.next()).await;
        match item.unwrap_or_else(|_| panic!("no event within {DEADLINE:?}, got {got:?}")) {
            Some(Ok(WatchItem::Events(more))) => got.extend(more),
            Some(Ok(WatchItem::Progress(_))) => {}
            other => panic!("the watch ended: {other:?} after {got:?}"),
        }
    }
    got
}

fn brief(events: &[WatchEvent]) -> Vec<(Revision, &str, Option<&[u8]>, bool)> {
    events.iter().map(|e| (e.revision, &*e.key, e.value.as_deref(), e.create)).collect()
}

pub(crate) async fn create_get(store: &dyn Storage) {
    let before = store.current_revision().await.unwrap();
    assert_eq!(store.get("/registry/a").await.unwrap(), None);
    let revision = store.create("/registry/a", value("1"), None).await.unwrap();
    assert!(revision > before, "a write has a revision larger than all before");
    assert!(store.current_revision().await.unwrap() >= revision);
    let entry = store.get("/registry/a").await.unwrap().unwrap();
    assert_eq!((&*entry.key, &*entry.value), ("/registry/a", &b"1"[..]));
    assert_eq!((entry.revision, entry.create_revision), (revision, revision));
    let again = store.create("/registry/a", value("2"), None).await.unwrap_err();
    assert!(matches!(again, StorageError::KeyExists { .. }), "{again:?}");
    assert_eq!(store.get("/registry/a").await.unwrap().unwrap(), entry, "a refused write changes nothing");
}

pub(crate) async fn update_compares_revisions(store: &dyn Storage) {
    let missing = store.update("/registry/a", value("x"), 1, None).await.unwrap_err();
    assert!(matches!(missing, StorageError::NotFound { .. }), "{missing:?}");
    let first = store.create("/registry/a", value("1"), None).await.unwrap();
    let second = store.update("/registry/a", value("2"), first, None).await.unwrap();
    assert!(second > first);
    for expected in [first, second + 1, 0] {
        match store.update("/registry/a", value("3"), expected, None).await.unwrap_err() {
            StorageError::Conflict { current, .. } => {
                assert_eq!((current.revision, &*current.value), (second, &b"2"[..]));
                assert_eq!(current.create_revision, first);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn delete_compares_revisions(store: &dyn Storage) {
    let missing = store.delete("/registry/a", 1).await.unwrap_err();
    assert!(matches!(missing, StorageError::NotFound { .. }), "{missing:?}");
    let first = store.create("/registry/a", value("1"), None).await.unwrap();
    let conflict = store.delete("/registry/a", first + 1).await.unwrap_err();
    assert!(matches!(conflict, StorageError::Conflict { .. }), "{conflict:?}");
    let gone = store.delete("/registry/a", first).await.unwrap();
    assert!(gone > first, "a deletion has a revision of its own");
    assert_eq!(store.get("/registry/a").await.unwrap(), None);
    for expected in [0, first, gone] {
        let missing = store.delete("/registry/a", expected).await.unwrap_err();
        assert!(matches!(missing, StorageError::NotFound { .. }), "{missing:?}");
    }
    let again = store.create("/registry/a", value("2"), None).await.unwrap();
    assert_eq!(store.get("/registry/a").await.unwrap().unwrap().create_revision, again);
}

pub(crate) async fn list_pages_are_exact(store: &dyn Storage) {
    for key in
        ["/registry/p/b", "/registry/p/a", "/registry/p/d", "/registry/p/c", "/registry/pp/x", "/registry/o"]
    {
        store.create(key, value(key), None).await.unwrap();
    }
    let all = store.list("/registry/p/", ListOptions::default()).await.unwrap();
    let keys: Vec<_> = all.entries.iter().map(|e| &*e.key).collect();
    assert_eq!(keys, ["/registry/p/a", "/registry/p/b", "/registry/p/c", "/registry/p/d"]);
    assert!(!all.more);
    assert!(all.revision >= all.entries.iter().map(|e| e.revision).max().unwrap());

    let first =
        store.list("/registry/p/", ListOptions { limit: Some(3), ..Default::default() }).await.unwrap();
    assert_eq!((first.entries.len(), first.more), (3, true));
    assert!(first.remaining.is_none_or(|left| left == 1));
    // What happens between the pages is not seen by the next one.
    let b = first.entries[1].clone();
    let d = store.get("/registry/p/d").await.unwrap().unwrap();
    store.delete("/registry/p/d", d.revision).await.unwrap();
    store.create("/registry/p/e", value("new"), None).await.unwrap();
    let next = ListOptions {
        revision: Some(first.revision),
        limit: Some(3),
        start_after: Some(first.entries[2].key.to_string()),
    };
    let second = store.list("/registry/p/", next).await.unwrap();
    assert_eq!((second.entries.len(), second.more, second.revision), (1, false, first.revision));
    assert_eq!(second.entries[0], d, "a page is exact at its revision");

    store.update("/registry/p/b", value("b2"), b.revision, None).await.unwrap();
    let old = ListOptions { revision: Some(all.revision), ..Default::default() };
    assert_eq!(store.list("/registry/p/", old).await.unwrap().entries, all.entries);
    let exact = ListOptions { limit: Some(4), ..Default::default() };
    assert!(!store.list("/registry/p/", exact).await.unwrap().more);
    let none = store.list("/registry/none/", ListOptions::default()).await.unwrap();
    assert_eq!((none.entries.len(), none.more), (0, false));
    assert!(none.revision > all.revision);
}

pub(crate) async fn future_revisions_are_refused(store: &dyn Storage) {
    let revision = store.create("/registry/a", value("1"), None).await.unwrap();
    let future = ListOptions { revision: Some(revision + 100), ..Default::default() };
    let error = store.list("/registry/", future).await.unwrap_err();
    assert!(matches!(error, StorageError::FutureRevision { .. }), "{error:?}");
    let error = store.watch("/registry/", revision + 100).await.err();
    assert!(matches!(error, Some(StorageError::FutureRevision { .. })), "{error:?}");
}

pub(crate) async fn watch_is_ordered_and_gap_free(store: &dyn Storage) {
    let start = store.current_revision().await.unwrap();
    let mut early = store.watch("/registry/p/", start).await.unwrap();
    let a = store.create("/registry/p/a", value("1"), None).await.unwrap();
    store.create("/registry/q/a", value("other"), None).await.unwrap();
    let a2 = store.update("/registry/p/a", value("2"), a, None).await.unwrap();
    let b = store.create("/registry/p/b", value("b"), None).await.unwrap();
    let a3 = store.delete("/registry/p/a", a2).await.unwrap();
    let a4 = store.create("/registry/p/a", value("4"), None).await.unwrap();
    let expected: Vec<(Revision, &str, Option<&[u8]>, bool)> = vec![
        (a, "/registry/p/a", Some(b"1"), true),
        (a2, "/registry/p/a", Some(b"2"), false),
        (b, "/registry/p/b", Some(b"b"), true),
        (a3, "/registry/p/a", None, false),
        (a4, "/registry/p/a", Some(b"4"), true),
    ];
    assert_eq!(brief(&events(&mut early, 5).await), expected, "live events");
    for skip in 0..expected.len() {
        let from = if skip == 0 { start } else { expected[skip - 1].0 };
        let mut late = store.watch("/registry/p/", from).await.unwrap();
        assert_eq!(brief(&events(&mut late, 5 - skip).await), expected[skip..], "replay from {from}");
    }
}

pub(crate) async fn watch_continues_from_replay_to_live(store: &dyn Storage) {
    let start = store.current_revision().await.unwrap();
    let mut revisions = Vec::new();
    for i in 0..50 {
        revisions.push(store.create(&format!("/registry/old/{i}"), value("x"), None).await.unwrap());
    }
    let mut watch = store.watch("/registry/", start).await.unwrap();
    for i in 0..50 {
        revisions.push(store.create(&format!("/registry/new/{i}"), value("x"), None).await.unwrap());
    }
    let got: Vec<_> = events(&mut watch, 100).await.iter().map(|e| e.revision).collect();
    assert_eq!(got, revisions);
}

pub(crate) async fn a_slow_watcher_misses_nothing(store: &dyn Storage) {
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch("/registry/", start).await.unwrap();
    let mut revisions = Vec::new();
    for i in 0..300 {
        revisions.push(store.create(&format!("/registry/p/{i}"), value("x"), None).await.unwrap());
    }
    let got: Vec<_> = events(&mut watch, 300).await.iter().map(|e| e.revision).collect();
    assert_eq!(got, revisions);
}

pub(crate) async fn foreign_writes_are_reported_as_progress(store: &dyn Storage) {
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch("/registry/p/", start).await.unwrap();
    let other = store.create("/registry/q/a", value("x"), None).await.unwrap();
    loop {
        match tokio::time::timeout(DEADLINE, watch.next()).await.expect("progress in time") {
            Some(Ok(WatchItem::Progress(revision))) if revision >= other => return,
            Some(Ok(WatchItem::Progress(_))) => {}
            unexpected => panic!("{unexpected:?}"),
        }
    }
}

pub(crate) async fn compaction_forgets_the_past_only(store: &dyn Storage) {
    let mut revision = store.create("/registry/a", value("0"), None).await.unwrap();
    let first = revision;
    for i in 1..10 {
        revision = store.update("/registry/a", value(&i.to_string()), revision, None).await.unwrap();
    }
    let keep = store.create("/registry/b", value("b"), None).await.unwrap();
    let gone = store.delete("/registry/b", keep).await.unwrap();
    let last = store.create("/registry/c", value("c"), None).await.unwrap();
    store.compact(keep).await.unwrap();
    store.compact(first).await.unwrap();

    let old = ListOptions { revision: Some(first), ..Default::default() };
    let error = store.list("/registry/", old).await.unwrap_err();
    assert!(
        matches!(error, StorageError::Compacted { requested, oldest } if requested == first && oldest > first),
        "{error:?}"
    );
    let error = match store.watch("/registry/", first).await {
        Err(error) => error,
        Ok(mut watch) => tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap().unwrap_err(),
    };
    assert!(matches!(error, StorageError::Compacted { .. }), "{error:?}");

    let at = ListOptions { revision: Some(keep), ..Default::default() };
    let page = store.list("/registry/", at).await.unwrap();
    let found: Vec<_> = page.entries.iter().map(|e| (&*e.key, &*e.value)).collect();
    assert_eq!(
        found,
        [("/registry/a", &b"9"[..]), ("/registry/b", b"b")],
        "the compacted revision itself can be read"
    );
    let mut watch = store.watch("/registry/", keep).await.unwrap();
    let got = events(&mut watch, 2).await;
    assert_eq!(
        brief(&got),
        [(gone, "/registry/b", None, false), (last, "/registry/c", Some(&b"c"[..]), true)]
    );
    store.compact(last).await.unwrap();
    assert_eq!(store.list("/registry/", ListOptions::default()).await.unwrap().entries.len(), 2);
    assert_eq!(store.get("/registry/a").await.unwrap().unwrap().revision, revision);
}

pub(crate) async fn keys_expire(store: &dyn Storage) {
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch("/registry/", start).await.unwrap();
    let ttl = Some(Duration::from_secs(1));
    let begun = std::time::Instant::now();
    store.create("/registry/short", value("1"), ttl).await.unwrap();
    let kept = store.create("/registry/kept", value("1"), ttl).await.unwrap();
    store.update("/registry/kept", value("2"), kept, None).await.unwrap();
    let got = events(&mut watch, 4).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "not before its time");
    assert_eq!((&*got[3].key, got[3].value.as_deref()), ("/registry/short", None));
    assert!(store.get("/registry/short").await.unwrap().is_none());
    assert!(
        store.get("/registry/kept").await.unwrap().is_some(),
        "an update without time to live keeps the key"
    );
    let again = store.create("/registry/short", value("3"), None).await.unwrap();
    assert!(again > got[3].revision);
}

pub(crate) async fn exports_tell_what_is_left_to_live(store: &dyn Storage) {
    let ttl = Some(Duration::from_secs(600));
    store.create("/registry/p/a", value("1"), ttl).await.unwrap();
    store.create("/registry/p/b", value("1"), None).await.unwrap();
    let kept = store.create("/registry/p/c", value("1"), ttl).await.unwrap();
    store.update("/registry/p/c", value("2"), kept, None).await.unwrap();
    let (page, left) = store.export("/registry/p/", ListOptions::default()).await.unwrap();
    let listed = store.list("/registry/p/", ListOptions::default()).await.unwrap();
    assert_eq!((&page.entries, page.more), (&listed.entries, false));
    let seconds: Vec<_> = left.iter().map(|left| left.map(|left| left.as_secs())).collect();
    match seconds[..] {
        [Some(left), None, None] => assert!((500..=700).contains(&left), "{left} of 600 s are left"),
        _ => panic!("{seconds:?}"),
    }
}

pub(crate) async fn concurrent_writers_agree(store: &dyn Storage) {
    store.create("/registry/counter", value("0"), None).await.unwrap();
    let increment = async || {
        let mut entry = store.get("/registry/counter").await.unwrap().unwrap();
        loop {
            let next: u32 = std::str::from_utf8(&entry.value).unwrap().parse::<u32>().unwrap() + 1;
            match store.update("/registry/counter", value(&next.to_string()), entry.revision, None).await {
                Ok(revision) => return revision,
                Err(StorageError::Conflict { current, .. }) => entry = *current,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    let mut revisions = futures::future::join_all((0..32).map(|_| increment())).await;
    assert_eq!(&*store.get("/registry/counter").await.unwrap().unwrap().value, b"32", "no update is lost");
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 32, "every write has a revision of its own");
}

pub(crate) async fn large_values_are_refused_alike(store: &dyn Storage) {
    let large = Bytes::from(vec![b'x'; 2 << 20]);
    let error = store.create("/registry/large", large, None).await.unwrap_err();
    assert!(matches!(error, StorageError::TooLarge { .. }), "{error:?}");
    store.create("/registry/large", Bytes::from(vec![b'x'; 1 << 20]), None).await.unwrap();
    assert_eq!(store.get("/registry/large").await.unwrap().unwrap().value.len(), 1 << 20);
}

/// Runs the suite: `suite!(open)` where `open().await` is `Some((store, guard))`, or `None` to skip.
macro_rules! suite {
    ($open:path) => {
        $crate::storage::contract::suite!(@ $open:
            create_get, update_compares_revisions, delete_compares_revisions, list_pages_are_exact,
            future_revisions_are_refused, watch_is_ordered_and_gap_free, watch_continues_from_replay_to_live,
            a_slow_watcher_misses_nothing, foreign_writes_are_reported_as_progress,
            compaction_forgets_the_past_only, keys_expire, exports_tell_what_is_left_to_live, concurrent_writers_agree,
            large_values_are_refused_alike);
    };
    (@ $open:path: $($case:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some((store, _guard)) = $open().await {
                    $crate::storage::contract::$case(&store).await;
                }
            }
        )*
    };
}
pub(crate) use suite;
