//! What others break of the addresses and ports of services is put right while the server runs.

use serde_json::{Value, json};

use crate::common::{Api, MERGE, Watch, version};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events?watch=1";

const MANAGED: &str = "ipaddress.kubernetes.io/managed-by";

fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-of-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}})
}

/// An address that an allocator has made long ago.
fn address(ip: &str, parent: &Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"ipaddress.kubernetes.io/ip-family": "IPv4", MANAGED: "ipallocator.k8s.io"}},
        "spec": {"parentRef": parent}})
}

fn parent(name: &str) -> Value {
    json!({"resource": "services", "namespace": "default", "name": name})
}

/// Written to the store as another server's crash could leave it.
async fn store(api: &Api, key: &str, object: &Value) {
    let key = format!("/registry/{key}");
    api.server.registry().storage().create(&key, object.to_string().into(), None).await.unwrap();
}

/// The next event about the object of that name: its reason and note.
async fn told(events: &mut Watch, name: &str) -> (String, String) {
    loop {
        let (_, event) = events.event().await;
        if event["regarding"]["name"] == name {
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            return (text("reason"), text("note"));
        }
    }
}

#[tokio::test]
async fn a_deleted_address_comes_back() {
    let api = Api::start().await;
    let made = api
        .post(SERVICES, &json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}))
        .await
        .created();
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    let one = format!("{ADDRESSES}/{ip}");
    let before = api.get(&one).await.ok();
    let mut events = api.watch(EVENTS).await;
    let mut watch = api.watch(&format!("{ADDRESSES}?watch=1&resourceVersion={}", version(&before))).await;
    api.delete(&one).await.ok();
    assert_eq!(watch.shorts(2).await, [format!("DELETED {ip}"), format!("ADDED {ip}")]);
    let after = api.get(&one).await.ok();
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"]);
    let (reason, note) = told(&mut events, "a").await;
    assert_eq!(reason, "ClusterIPNotAllocated");
    assert_eq!(note, format!("Cluster IP [IPv4]: {ip} is not allocated; repairing"));
    // Nothing of the kind is told of one that goes in the ordinary way.
    api.delete(&format!("{SERVICES}/a")).await.ok();
    assert_eq!(watch.short().await, format!("DELETED {ip}"));
    store(&api, "services/specs/default/z", &service("z", "10.96.0.9")).await;
    assert_eq!(watch.short().await, "ADDED 10.96.0.9");
}

#[tokio::test]
async fn an_address_refers_to_its_service() {
    let api = Api::start().await;
    let list = api.get(ADDRESSES).await.ok();
    let mut events = api.watch(EVENTS).await;
    let mut watch = api.watch(&format!("{ADDRESSES}?watch=1&resourceVersion={}", version(&list))).await;
    // Somebody has made it for a gateway before the service came by another way.
    let gateway = json!({"group": "gateway.networking.k8s.io", "resource": "gateways", "name": "g"});
    let mut foreign = address("10.96.0.20", &gateway);
    foreign["metadata"]["labels"] = json!({});
    store(&api, "ipaddresses/10.96.0.20", &foreign).await;
    assert_eq!(watch.short().await, "ADDED 10.96.0.20");
    store(&api, "services/specs/default/b", &service("b", "10.96.0.20")).await;
    let (kind, corrected) = watch.event().await;
    assert_eq!((kind.as_str(), &corrected["spec"]["parentRef"]), ("MODIFIED", &parent("b")));
    assert_eq!(corrected["metadata"]["labels"][MANAGED], "ipallocator.k8s.io");
    let (reason, note) = told(&mut events, "b").await;
    assert_eq!(reason, "ClusterIPNotAllocated");
    assert_eq!(
        note,
        "the ClusterIP [IPv4]: 10.96.0.20 for Service default/b has a wrong reference; repairing"
    );
    // Its labels are what allocators know it by.
    let unlabel = json!({"metadata": {"labels": {MANAGED: null}}});
    api.patch(&format!("{ADDRESSES}/10.96.0.20"), MERGE, &unlabel).await.ok();
    let (_, bare) = watch.event().await;
    assert_eq!(bare["metadata"]["labels"].get(MANAGED), None);
    let (_, again) = watch.event().await;
    assert_eq!(again["metadata"]["labels"][MANAGED], "ipallocator.k8s.io");
}

#[tokio::test]
async fn two_services_with_one_address_are_told() {
    let api = Api::start().await;
    let mut events = api.watch(EVENTS).await;
    store(&api, "services/specs/default/first", &service("first", "10.96.0.30")).await;
    assert_eq!(told(&mut events, "first").await.0, "ClusterIPNotAllocated");
    store(&api, "services/specs/default/second", &service("second", "10.96.0.30")).await;
    let (reason, note) = told(&mut events, "second").await;
    assert_eq!(reason, "ClusterIPAlreadyAllocated");
    assert_eq!(
        note,
        "Cluster IP [IPv4]:10.96.0.30 was assigned to multiple services; please recreate service"
    );
    let there = api.get(&format!("{ADDRESSES}/10.96.0.30")).await.ok();
    assert_eq!(there["spec"]["parentRef"], parent("first"));
    // The second one has it for itself when the first one goes.
    let mut watch = api.watch(&format!("{ADDRESSES}?watch=1&resourceVersion={}", version(&there))).await;
    api.delete(&format!("{SERVICES}/first")).await.ok();
    assert_eq!(watch.short().await, "DELETED 10.96.0.30");
    let (_, taken) = watch.event().await;
    assert_eq!(taken["spec"]["parentRef"], parent("second"));
    store(&api, "services/specs/default/far", &service("far", "10.200.0.1")).await;
    let (reason, note) = told(&mut events, "far").await;
    assert_eq!(reason, "ClusterIPOutOfRange");
    assert_eq!(
        note,
        "Cluster IP [IPv4]: 10.200.0.1 is not within any configured Service CIDR; please recreate service"
    );
}

#[tokio::test]
async fn addresses_without_a_service_go() {
    let api = Api::start().await;
    store(&api, "services/specs/default/c", &service("c", "10.96.0.40")).await;
    let thing = json!({"group": "example.com", "resource": "things", "name": "t"});
    for (ip, parent, reason, note) in [
        (
            "10.96.0.41",
            parent("gone"),
            "IPAddressNotAllocated",
            "IPAddress: 10.96.0.41 for Service default/gone appears to have leaked: cleaning up",
        ),
        (
            "10.96.0.42",
            parent("c"),
            "IPAddressWrongReference",
            "IPAddress: 10.96.0.42 for Service default/c has a wrong reference; cleaning up",
        ),
        ("10.96.0.43", thing.clone(), "IPAddressNotAllocated", ""),
    ] {
        let list = api.get(ADDRESSES).await.ok();
        let mut events = api.watch(EVENTS).await;
        let mut watch = api.watch(&format!("{ADDRESSES}?watch=1&resourceVersion={}", version(&list))).await;
        store(&api, &format!("ipaddresses/{ip}"), &address(ip, &parent)).await;
        loop {
            let change = watch.short().await;
            if change == format!("DELETED {ip}") {
                break;
            }
        }
        let (told_reason, told_note) = told(&mut events, ip).await;
        assert_eq!(told_reason, reason, "{ip}");
        if !note.is_empty() {
            assert_eq!(told_note, note);
        }
    }
    // Neither somebody else's, nor one whose service may be about to be written.
    let mut theirs = address("10.96.0.44", &thing);
    theirs["metadata"]["labels"] = json!({});
    store(&api, "ipaddresses/10.96.0.44", &theirs).await;
    let mut fresh = address("10.96.0.45", &parent("soon"));
    fresh["metadata"]["creationTimestamp"] = api_types::meta::now().into();
    store(&api, "ipaddresses/10.96.0.45", &fresh).await;
    let list = api.get(ADDRESSES).await.ok();
    let mut watch = api.watch(&format!("{ADDRESSES}?watch=1&resourceVersion={}", version(&list))).await;
    store(&api, "ipaddresses/10.96.0.46", &address("10.96.0.46", &parent("gone"))).await;
    assert_eq!(watch.shorts(2).await, ["ADDED 10.96.0.46", "DELETED 10.96.0.46"]);
    api.get(&format!("{ADDRESSES}/10.96.0.44")).await.ok();
    api.get(&format!("{ADDRESSES}/10.96.0.45")).await.ok();
}

#[tokio::test]
async fn ports_in_use_are_taken() {
    let api = Api::start().await;
    let mut events = api.watch("/api/v1/namespaces/default/events?watch=1").await;
    let with_port = |name: &str, ip: &str, port: u16| {
        let mut s = service(name, ip);
        s["spec"]["type"] = "NodePort".into();
        s["spec"]["ports"][0]["nodePort"] = port.into();
        s
    };
    for (name, ip, port, reason, message) in [
        ("p1", "10.96.0.51", 30051, "PortNotAllocated", "Port 30051 is not allocated; repairing"),
        (
            "p2",
            "10.96.0.52",
            30051,
            "PortAlreadyAllocated",
            "Port 30051 was assigned to multiple services; please recreate service",
        ),
        (
            "p3",
            "10.96.0.53",
            20000,
            "PortOutOfRange",
            "Port 20000 is not within the port range 30000-32767; please recreate service",
        ),
    ] {
        store(&api, &format!("services/specs/default/{name}"), &with_port(name, ip, port)).await;
        let event = loop {
            let (_, event) = events.event().await;
            let ours = event["source"]["component"] == "portallocator-repair-controller";
            if ours && event["involvedObject"]["name"] == name {
                break event;
            }
        };
        assert_eq!((event["reason"].as_str(), event["message"].as_str()), (Some(reason), Some(message)));
    }
    let asks = json!({"metadata": {"name": "asks"}, "spec": {"type": "NodePort",
        "ports": [{"port": 80, "nodePort": 30051}]}});
    let message = api.post(SERVICES, &asks).await.refused(422, "Invalid");
    assert!(message.ends_with("provided port is already allocated"), "{message}");
}
