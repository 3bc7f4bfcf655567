//! Allocation by several API servers at once, on one store.

use std::collections::HashSet;

use api_types::catalog;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cache::{CacheConfig, ResourceConfig};
use crate::storage::ListOptions;
use crate::storage::embedded::{EmbeddedOptions, EmbeddedStorage};

/// A store, and API servers on it.
struct Fixture {
    storage: Arc<dyn Storage>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let storage = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
        Self { storage, stop: CancellationToken::new(), _dir: dir }
    }

    /// The allocators of another API server: 14 addresses to give, and 2 ports.
    async fn server(&self) -> Allocators {
        let resource =
            |prefix: &str, namespaced| ResourceConfig { prefix: prefix.into(), namespaced, fields: &[] };
        let config = CacheConfig::new(vec![
            resource("/registry/ipaddresses/", false),
            resource("/registry/servicecidrs/", false),
            resource("/registry/services/specs/", true),
        ]);
        let own = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/28"]}});
        // The first one brings it.
        drop(self.storage.create("/registry/servicecidrs/kubernetes", own.to_string().into(), None).await);
        let cache = Cache::new(self.storage.clone(), config);
        tokio::spawn(cache.clone().run(self.stop.clone()));
        cache.ready().await;
        let ranges =
            Ranges { network: Ipv4Addr::new(10, 96, 0, 0), prefix: 28, first_port: 30000, last_port: 30001 };
        Allocators::new(ranges, self.storage.clone(), cache, TaskTracker::new())
    }

    /// The names of the stored addresses.
    async fn addresses(&self) -> HashSet<String> {
        let page = self.storage.list("/registry/ipaddresses/", ListOptions::default()).await.unwrap();
        page.entries.iter().map(|e| e.key.rsplit('/').next().unwrap().to_owned()).collect()
    }

    async fn store(&self, service: &Value) {
        let key = kind().key(meta::namespace(service), meta::name(service));
        self.storage.create(&key, service.to_string().into(), None).await.unwrap();
    }
}

fn kind() -> &'static Kind {
    catalog::by_kind("", "v1", "Service").unwrap()
}

fn service(name: &str, kind: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"type": kind, "ports": [{"port": 80}]}})
}

fn ip(service: &Value) -> String {
    str_at(service, &["spec", "clusterIP"]).to_owned()
}

#[tokio::test]
async fn two_servers_never_give_the_same_address() {
    let f = Fixture::new();
    let servers = [f.server().await, f.server().await];
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..40 {
        let a = servers[i % 2].clone();
        tasks.spawn(async move {
            let mut s = service(&format!("s{i}"), "ClusterIP");
            match a.on_create(kind(), &mut s, false).await {
                Ok(claim) => {
                    claim.keep().await;
                    Some(ip(&s))
                }
                Err(e) => {
                    assert!(e.message.contains("range is full"), "{e}");
                    None
                }
            }
        });
    }
    let given: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    let unique: HashSet<String> = given.iter().cloned().collect();
    assert_eq!(unique.len(), given.len(), "{given:?}");
    assert_eq!(given.len(), 14, "all but the network's and the broadcast address are given");
    assert_eq!(f.addresses().await, unique);
}

#[tokio::test]
async fn two_servers_never_give_the_same_port() {
    let f = Fixture::new();
    let servers = [f.server().await, f.server().await];
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..6 {
        let a = servers[i % 2].clone();
        tasks.spawn(async move {
            let mut s = service(&format!("s{i}"), "NodePort");
            let claim = a.on_create(kind(), &mut s, false).await.ok()?;
            claim.keep().await;
            s["spec"]["ports"][0]["nodePort"].as_u64()
        });
    }
    let mut given: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    given.sort_unstable();
    assert_eq!(given, [30000, 30001]);
    // Who got no port has no address either.
    assert_eq!(f.addresses().await.len(), 2);
}

#[tokio::test]
async fn what_is_not_kept_returns() {
    let f = Fixture::new();
    let a = f.server().await;
    let mut s = service("s", "NodePort");
    let claim = a.on_create(kind(), &mut s, false).await.unwrap();
    assert_eq!(f.addresses().await.len(), 1);
    claim.undo().await;
    assert!(f.addresses().await.is_empty());
    // A request that is dropped half-way.
    drop(a.on_create(kind(), &mut service("s", "NodePort"), false).await.unwrap());
    a.0.tasks.close();
    a.0.tasks.wait().await;
    assert!(f.addresses().await.is_empty());
    // Both ports are free again.
    for name in ["a", "b"] {
        a.on_create(kind(), &mut service(name, "NodePort"), false).await.unwrap().keep().await;
    }
    assert!(a.on_create(kind(), &mut service("c", "NodePort"), false).await.is_err());
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let f = Fixture::new();
    let a = f.server().await;
    let mut s = service("s", "NodePort");
    a.on_create(kind(), &mut s, true).await.unwrap().keep().await;
    assert!(!ip(&s).is_empty());
    assert!(s["spec"]["ports"][0]["nodePort"].is_u64());
    assert!(f.addresses().await.is_empty());
    assert!(f.storage.get("/registry/ranges/servicenodeports").await.unwrap().is_none());
    let mut taken = service("t", "NodePort");
    a.on_create(kind(), &mut taken, false).await.unwrap().keep().await;
    let mut again = taken.clone();
    let refused = a.on_create(kind(), &mut again, true).await.err().unwrap();
    assert!(refused.message.contains("provided IP is already allocated"), "{refused}");
    again["spec"]["clusterIP"] = Value::Null;
    again["spec"]["clusterIPs"] = Value::Null;
    let refused = a.on_create(kind(), &mut again, true).await.err().unwrap();
    assert!(refused.message.contains("provided port is already allocated"), "{refused}");
}

#[tokio::test]
async fn a_change_frees_what_it_no_longer_needs() {
    let f = Fixture::new();
    let a = f.server().await;
    let mut old = service("s", "NodePort");
    a.on_create(kind(), &mut old, false).await.unwrap().keep().await;
    let mut new = old.clone();
    new["spec"] = json!({"type": "ExternalName", "externalName": "x"});
    a.on_update(kind(), &mut new, &old, false).await.unwrap().keep().await;
    assert!(f.addresses().await.is_empty());
    let mut other = service("o", "NodePort");
    a.on_create(kind(), &mut other, false).await.unwrap().keep().await;
    // Somebody else's address is not given back by a name.
    a.on_delete(
        kind(),
        &json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"clusterIP": ip(&other)}}),
    )
    .await;
    assert_eq!(f.addresses().await.len(), 1);
    a.on_delete(kind(), &other).await;
    assert!(f.addresses().await.is_empty());
}

#[tokio::test]
async fn a_start_puts_right_what_a_crash_has_left() {
    // A service that was never written, and one whose address and port nobody knows, or knows as the other's.
    for lost_address in ["10.96.0.5", "10.96.0.9"] {
        let f = Fixture::new();
        let before = f.server().await;
        let mut lost = service("lost", "NodePort");
        lost["spec"]["clusterIP"] = lost_address.into();
        before.on_create(kind(), &mut lost, false).await.unwrap().keep().await;
        let mut there = service("there", "NodePort");
        there["spec"]["clusterIP"] = "10.96.0.9".into();
        there["spec"]["ports"][0]["nodePort"] = 30001.into();
        f.store(&there).await;
        let a = f.server().await;
        a.repair(true).await.unwrap();
        assert_eq!(f.addresses().await, HashSet::from(["10.96.0.9".to_owned()]), "{lost_address}");
        let mut next = service("next", "NodePort");
        a.on_create(kind(), &mut next, false).await.unwrap().keep().await;
        assert_eq!(next["spec"]["ports"][0]["nodePort"], 30000);
    }
}

#[tokio::test]
async fn what_may_be_another_servers_has_time() {
    let f = Fixture::new();
    let other = f.server().await;
    let mut s = service("soon", "NodePort");
    other.on_create(kind(), &mut s, false).await.unwrap().keep().await;
    let a = f.server().await;
    a.repair(false).await.unwrap();
    assert_eq!(f.addresses().await, HashSet::from([ip(&s)]));
    let mut port = service("p", "NodePort");
    a.on_create(kind(), &mut port, false).await.unwrap().keep().await;
    assert_ne!(port["spec"]["ports"][0]["nodePort"], s["spec"]["ports"][0]["nodePort"]);
}

#[tokio::test]
async fn ranges_are_those_of_cidrs_that_are_ready() {
    let cidr = |range: &str, deleted: bool, ready: Option<&str>| {
        let mut cidr = json!({"metadata": {"name": "x"}, "spec": {"cidrs": [range, "2001:db8::/64"]}});
        if deleted {
            cidr["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        if let Some(ready) = ready {
            cidr["status"] = json!({"conditions": [{"type": "Ready", "status": ready}]});
        }
        cidr.to_string()
    };
    let (more, own) = ("10.97.0.0/28", "10.96.0.0/28");
    for (name, others, own_deleted, asked, given) in [
        ("another range", vec![], false, "10.97.0.3", false),
        ("nobody has said anything", vec![cidr(more, false, None)], false, "10.97.0.3", true),
        ("it is ready", vec![cidr(more, false, Some("True"))], false, "10.97.0.3", true),
        ("its network address", vec![cidr(more, false, Some("True"))], false, "10.97.0.0", false),
        ("its broadcast address", vec![cidr(more, false, Some("True"))], false, "10.97.0.15", false),
        ("it is not ready", vec![cidr(more, false, Some("False"))], false, "10.97.0.3", false),
        ("it goes", vec![cidr(more, true, Some("True"))], false, "10.97.0.3", false),
        ("the first one goes", vec![], true, "10.96.0.3", false),
        ("the first one goes, another has its range", vec![cidr(own, false, None)], true, "10.96.0.3", true),
        ("all of its range go", vec![cidr(own, true, None)], true, "10.96.0.3", false),
    ] {
        let f = Fixture::new();
        for (i, other) in others.iter().enumerate() {
            let key = format!("/registry/servicecidrs/other{i}");
            f.storage.create(&key, other.clone().into(), None).await.unwrap();
        }
        let first = cidr(own, own_deleted, Some("True"));
        f.storage.create("/registry/servicecidrs/kubernetes", first.into(), None).await.unwrap();
        let a = f.server().await;
        let mut s = service("s", "ClusterIP");
        s["spec"]["clusterIP"] = asked.into();
        match a.on_create(kind(), &mut s, false).await {
            Ok(claim) => {
                claim.keep().await;
                assert!(given, "{name}");
                assert_eq!(f.addresses().await, HashSet::from([asked.to_owned()]), "{name}");
            }
            Err(refused) => {
                assert!(!given, "{name}: {refused}");
                let why = format!(
                    "failed to allocate IP {asked}: the provided network does not match the current range"
                );
                assert!(refused.message.contains(&why), "{name}: {refused}");
            }
        }
    }
}
