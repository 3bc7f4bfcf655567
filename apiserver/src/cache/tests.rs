//! The cache against a store: snapshots and watches must tell the same story as the writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::storage::embedded::{EmbeddedOptions, EmbeddedStorage};

const DEADLINE: Duration = Duration::from_secs(20);
const PODS: &[FieldDef] = &[FieldDef { name: "spec.nodeName", path: &["spec", "nodeName"], default: "" }];

struct Fixture {
    cache: Arc<Cache>,
    storage: Arc<EmbeddedStorage>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fixture {
    async fn new(change: impl FnOnce(&mut CacheConfig)) -> Self {
        let dir = TempDir::new().unwrap();
        let storage = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
        let resource =
            |prefix: &str, namespaced| ResourceConfig { prefix: prefix.into(), namespaced, fields: PODS };
        let mut config = CacheConfig::new(vec![
            resource("/registry/pods/", true),
            resource("/registry/minions/", false),
            resource("/registry/services/specs/", true),
            resource("/registry/services/endpoints/", true),
        ]);
        change(&mut config);
        let cache = Cache::new(storage.clone(), config);
        let stop = CancellationToken::new();
        tokio::spawn(cache.clone().run(stop.clone()));
        tokio::time::timeout(DEADLINE, cache.ready()).await.unwrap();
        Self { cache, storage, stop, _dir: dir }
    }

    fn pods(&self) -> &Arc<ResourceCache> {
        self.cache.resource("/registry/pods/").unwrap()
    }

    async fn create(&self, key: &str, node: &str) -> Revision {
        self.storage.create(key, pod(node), None).await.unwrap()
    }

    async fn update(&self, key: &str, node: &str, expected: Revision) -> Revision {
        self.storage.update(key, pod(node), expected, None).await.unwrap()
    }
}

fn pod(node: &str) -> Bytes {
    json!({"kind": "Pod", "metadata": {"uid": "u", "labels": {"node": node}}, "spec": {"nodeName": node}})
        .to_string()
        .into()
}

async fn next(watcher: &mut CacheWatcher) -> Arc<CacheEvent> {
    tokio::time::timeout(DEADLINE, watcher.next()).await.expect("an event in time").expect("a running watch")
}

fn namespace(name: &str) -> WatchScope {
    WatchScope { namespace: Some(name.into()), ..WatchScope::default() }
}

fn on_node(name: &str) -> WatchScope {
    WatchScope { node_name: Some(name.into()), ..WatchScope::default() }
}

#[tokio::test]
async fn reads_are_consistent_and_carry_their_revision() {
    let f = Fixture::new(|_| {}).await;
    let revision = f.create("/registry/pods/default/a", "n1").await;
    assert!(f.cache.read_consistent().await.unwrap() >= revision);
    let object = f.pods().get("/registry/pods/default/a").unwrap();
    assert_eq!(
        (object.namespace(), object.name(), object.uid(), object.revision),
        ("default", "a", "u", revision)
    );
    assert_eq!(object.field("spec.nodeName"), Some("n1"));
    assert_eq!(object.field("metadata.namespace"), Some("default"));
    assert_eq!(object.label("node"), Some("n1"));
    let json: Value = serde_json::from_slice(&object.bytes).unwrap();
    assert_eq!(json["metadata"]["resourceVersion"], revision.to_string());

    f.storage.create("/registry/minions/n1", pod(""), None).await.unwrap();
    let other = f.storage.create("/registry/unknown/x", pod(""), None).await.unwrap();
    f.cache.read_consistent().await.unwrap();
    assert!(
        f.pods().snapshot().revision() >= other,
        "a list is exact at the store's revision, whoever wrote it"
    );
    let nodes = f.cache.resource("/registry/minions/").unwrap();
    let node = nodes.get("/registry/minions/n1").unwrap();
    assert_eq!((node.namespace(), node.name()), ("", "n1"));
    assert_eq!(f.pods().snapshot().len(), 1);
}

#[tokio::test]
async fn what_was_stored_before_is_listed() {
    let dir = TempDir::new().unwrap();
    let storage = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
    for i in 0..2_500 {
        storage.create(&format!("/registry/pods/ns{}/p{i:04}", i % 3), pod("n"), None).await.unwrap();
    }
    storage.create("/registry/pods/ns0/broken", "not json".into(), None).await.unwrap();
    let resource = ResourceConfig { prefix: "/registry/pods/".into(), namespaced: true, fields: PODS };
    let config = CacheConfig { page: 1_000, ..CacheConfig::new(vec![resource]) };
    let cache = Cache::new(storage, config);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    tokio::spawn(cache.clone().run(stop));
    cache.read_consistent().await.unwrap();
    let pods = cache.resource("/registry/pods/").unwrap();
    let snapshot = pods.snapshot();
    assert_eq!((snapshot.len(), pods.stats().unreadable), (2_500, 1));
    assert_eq!(pods.stats().bytes, bytes(&snapshot));
    let of_ns1: Vec<_> = snapshot.range("/registry/pods/ns1/", None).map(|o| o.name().to_owned()).collect();
    assert_eq!(of_ns1.len(), 833);
    assert!(of_ns1.is_sorted());
    let after = format!("/registry/pods/ns1/{}", of_ns1[800]);
    assert_eq!(snapshot.range("/registry/pods/ns1/", Some(&after)).count(), 32);
    assert_eq!(pods.watch(WatchScope::default(), 5).unwrap_err().oldest, snapshot.revision());
}

#[tokio::test]
async fn a_watch_continues_from_the_past_to_the_present() {
    let f = Fixture::new(|_| {}).await;
    let start = f.cache.applied_revision();
    let a1 = f.create("/registry/pods/x/a", "n1").await;
    let b = f.create("/registry/pods/y/b", "n1").await;
    f.cache.read_consistent().await.unwrap();
    let mut all = f.pods().watch(WatchScope::default(), start).unwrap();
    let mut later = f.pods().watch(WatchScope::default(), a1).unwrap();
    let mut of_x = f.pods().watch(namespace("x"), start).unwrap();
    let a2 = f.update("/registry/pods/x/a", "n2", a1).await;
    let gone = f.storage.delete("/registry/pods/x/a", a2).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = next(&mut all).await;
        seen.push((event.revision, event.kind));
    }
    let expected = [
        (a1, EventKind::Added),
        (b, EventKind::Added),
        (a2, EventKind::Modified),
        (gone, EventKind::Deleted),
    ];
    assert_eq!(seen, expected);
    assert_eq!(next(&mut later).await.revision, b);
    assert_eq!(next(&mut of_x).await.revision, a1);
    assert_eq!(next(&mut of_x).await.revision, a2);
    let deleted = next(&mut of_x).await;
    let json: Value = serde_json::from_slice(&deleted.object.bytes).unwrap();
    assert_eq!(json["metadata"]["resourceVersion"], gone.to_string());
    assert_eq!(json["spec"]["nodeName"], "n2", "a deletion shows the last state");
    assert_eq!(deleted.previous.as_ref().unwrap().revision, a2);
}

#[tokio::test]
async fn a_watcher_of_a_node_sees_pods_come_and_go() {
    let f = Fixture::new(|_| {}).await;
    let start = f.cache.applied_revision();
    let mut n1 = f.pods().watch(on_node("n1"), start).unwrap();
    let mut n2 = f.pods().watch(on_node("n2"), start).unwrap();
    let mut named = f.pods().watch(WatchScope { name: Some("b".into()), ..namespace("x") }, start).unwrap();
    let a1 = f.create("/registry/pods/x/a", "").await;
    let a2 = f.update("/registry/pods/x/a", "n1", a1).await;
    let a3 = f.update("/registry/pods/x/a", "n2", a2).await;
    f.create("/registry/pods/y/b", "n3").await;
    let b = f.create("/registry/pods/x/b", "n3").await;
    assert_eq!(next(&mut n1).await.revision, a2);
    assert_eq!(next(&mut n1).await.revision, a3, "leaving is seen");
    assert_eq!(next(&mut n2).await.revision, a3);
    assert_eq!(next(&mut named).await.revision, b);
    f.cache.read_consistent().await.unwrap();
    for watcher in [&mut n1, &mut n2, &mut named] {
        assert_eq!(watcher.try_next().unwrap().map(|e| e.revision), None);
        assert!(watcher.progress().unwrap() >= b);
    }
}

/// What the JSON of all objects takes.
fn bytes(snapshot: &Snapshot) -> usize {
    snapshot.range("", None).map(|object| object.bytes.len()).sum()
}

#[tokio::test]
async fn the_size_of_all_objects_is_known() {
    let f = Fixture::new(|_| {}).await;
    let (a, b) = ("/registry/pods/x/a", "/registry/pods/x/b");
    let at = f.create(a, "node-with-a-name").await;
    let b_at = f.create(b, "").await;
    f.storage.update(a, pod("n"), at, None).await.unwrap();
    f.cache.read_consistent().await.unwrap();
    let both = f.pods().stats().bytes;
    assert_eq!(both, bytes(&f.pods().snapshot()));
    f.storage.delete(b, b_at).await.unwrap();
    f.cache.read_consistent().await.unwrap();
    let one = f.pods().stats().bytes;
    assert_eq!(one, bytes(&f.pods().snapshot()));
    assert!(0 < one && one < both);
}

#[tokio::test]
async fn a_slow_watcher_is_ended_and_costs_nobody_else() {
    let f = Fixture::new(|config| config.watcher_buffer = 4).await;
    let start = f.cache.applied_revision();
    let mut slow = f.pods().watch(WatchScope::default(), start).unwrap();
    let mut quick = f.pods().watch(WatchScope::default(), start).unwrap();
    for i in 0..10 {
        let revision = f.create(&format!("/registry/pods/x/{i}"), "").await;
        assert_eq!(next(&mut quick).await.revision, revision);
    }
    assert_eq!(slow.progress(), None);
    for _ in 0..4 {
        slow.next().await.unwrap();
    }
    assert_eq!(slow.next().await.unwrap_err(), WatchEnded::TooSlow);
    let stats = f.pods().stats();
    assert_eq!((stats.watchers, stats.slow_watchers, stats.events), (1, 1, 10));
    drop(quick);
    drop(slow);
    assert_eq!(f.pods().stats().watchers, 0);
}

#[tokio::test]
async fn history_is_bounded_and_says_so() {
    let f = Fixture::new(|config| config.history_events = 8).await;
    let mut revisions = Vec::new();
    for i in 0..20 {
        revisions.push(f.create(&format!("/registry/pods/x/{i}"), "").await);
    }
    f.cache.read_consistent().await.unwrap();
    let gone = f.pods().watch(WatchScope::default(), revisions[5]).unwrap_err();
    assert_eq!(gone, Gone { requested: revisions[5], oldest: revisions[11] });
    let mut watcher = f.pods().watch(WatchScope::default(), revisions[11]).unwrap();
    assert_eq!(next(&mut watcher).await.revision, revisions[12]);
}

#[tokio::test]
async fn watchers_end_when_the_server_stops() {
    let f = Fixture::new(|_| {}).await;
    let mut watcher = f.pods().watch(WatchScope::default(), f.cache.applied_revision()).unwrap();
    f.stop.cancel();
    assert_eq!(
        tokio::time::timeout(DEADLINE, watcher.next()).await.unwrap().unwrap_err(),
        WatchEnded::Stopped
    );
}

#[tokio::test]
async fn waiting_for_the_future_times_out() {
    let f = Fixture::new(|_| {}).await;
    let error = f.cache.wait_until(1_000, Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(error, CacheError::Behind { wanted: 1_000, .. }));
}

#[tokio::test]
async fn a_relist_ends_only_watchers_that_would_miss_something() {
    let f = Fixture::new(|_| {}).await;
    let a = f.create("/registry/pods/x/a", "").await;
    f.cache.read_consistent().await.unwrap();
    let mut pods = f.pods().watch(WatchScope::default(), a).unwrap();
    let services = f.cache.resource("/registry/services/specs/").unwrap();
    let mut quiet = services.watch(WatchScope::default(), a).unwrap();
    // What a list after a compaction would find.
    let entry = |revision| crate::storage::Entry {
        key: "/registry/pods/x/a".into(),
        revision,
        create_revision: a,
        value: pod("n1"),
    };
    let listed = |revision| {
        let object = f.pods().listed(&entry(revision)).unwrap();
        [(object.key.clone(), object)].into_iter().collect()
    };
    f.pods().replace(listed(a), a + 10);
    assert_eq!(pods.try_next().unwrap().map(|e| e.revision), None, "nothing changed");
    f.pods().replace(listed(a + 5), a + 10);
    services.replace(imbl::OrdMap::new(), a + 10);
    assert_eq!(pods.next().await.unwrap_err(), WatchEnded::Relisted);
    assert_eq!(quiet.try_next().unwrap().map(|e| e.revision), None);
    assert_eq!(f.pods().watch(WatchScope::default(), a).unwrap_err().oldest, a + 10);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Watch(u8, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..8, 0u8..4).prop_map(|(key, node)| Step::Put(key, node)),
        2 => (0u8..8).prop_map(Step::Delete),
        2 => (any::<u8>(), prop::option::of(0u8..4)).prop_map(|(from, node)| Step::Watch(from, node)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn watchers_get_exactly_the_events_after_their_start(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let f = Fixture::new(|_| {}).await;
            let node = |n: u8| if n == 0 { String::new() } else { format!("n{n}") };
            let mut live: BTreeMap<String, (Revision, String)> = BTreeMap::new();
            // Revision, node before and after.
            let mut log: Vec<(Revision, Vec<String>)> = Vec::new();
            let mut watchers = Vec::new();
            let base = f.cache.applied_revision();
            for step in steps {
                match step {
                    Step::Put(key, n) => {
                        let key = format!("/registry/pods/ns{}/{key}", key % 2);
                        let old = live.get(&key).cloned();
                        let revision = match &old {
                            Some((revision, _)) => f.update(&key, &node(n), *revision).await,
                            None => f.create(&key, &node(n)).await,
                        };
                        log.push((revision, old.into_iter().map(|old| old.1).chain([node(n)]).collect()));
                        live.insert(key, (revision, node(n)));
                    }
                    Step::Delete(key) => {
                        let key = format!("/registry/pods/ns{}/{key}", key % 2);
                        if let Some((revision, on)) = live.remove(&key) {
                            log.push((f.storage.delete(&key, revision).await.unwrap(), vec![on]));
                        }
                    }
                    Step::Watch(from, n) => {
                        // Any revision the cache has reached, or base.
                        let reached: Vec<_> = log.iter().map(|(r, _)| *r).filter(|r| *r <= f.cache.applied_revision()).collect();
                        let from = if reached.is_empty() { base } else { reached[usize::from(from) % reached.len()] };
                        let scope = n.map_or_else(WatchScope::default, |n| on_node(&node(n)));
                        watchers.push((from, n, f.pods().watch(scope, from).unwrap()));
                    }
                }
            }
            f.cache.read_consistent().await.unwrap();
            let snapshot: BTreeMap<_, _> = f.pods().snapshot().iter()
                .map(|o| (o.key.to_string(), (o.revision, o.field("spec.nodeName").unwrap().to_owned()))).collect();
            assert_eq!(snapshot, live);
            for (from, n, mut watcher) in watchers {
                let wanted: Vec<_> = log.iter()
                    .filter(|(revision, nodes)| *revision > from && n.is_none_or(|n| nodes.contains(&node(n))))
                    .map(|(revision, _)| *revision).collect();
                let mut got = Vec::new();
                while let Some(event) = watcher.try_next().unwrap() {
                    got.push(event.revision);
                }
                assert_eq!(got, wanted, "after {from} on {n:?}");
                assert!(watcher.progress().is_some());
            }
        });
    }
}
