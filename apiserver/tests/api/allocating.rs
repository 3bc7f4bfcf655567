//! Addresses and ports of services: IPAddresses, ServiceCIDRs, many creators at once.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE, names};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn service(name: &str, kind: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}})
}

fn ip(service: &Value) -> String {
    service["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_address_is_an_object() {
    let api = Api::start().await;
    let made = api.post(SERVICES, &service("a", "ClusterIP")).await.created();
    let one = format!("{ADDRESSES}/{}", ip(&made));
    let address = api.get(&one).await.ok();
    assert_eq!(
        address["spec"]["parentRef"],
        json!({"resource": "services", "namespace": "default", "name": "a"})
    );
    assert_eq!(
        address["metadata"]["labels"],
        json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
    );
    // A dry run takes nothing.
    let planned = api.post(&format!("{SERVICES}?dryRun=All"), &service("b", "NodePort")).await.created();
    api.get(&format!("{ADDRESSES}/{}", ip(&planned))).await.with(404);
    // A service without an address gives its own back.
    let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example",
        "clusterIP": null, "clusterIPs": null}});
    api.patch(&format!("{SERVICES}/a"), MERGE, &external).await.ok();
    api.get(&one).await.with(404);
    let back = json!({"spec": {"type": "ClusterIP", "externalName": null}});
    let back = api.patch(&format!("{SERVICES}/a"), MERGE, &back).await.ok();
    api.get(&format!("{ADDRESSES}/{}", ip(&back))).await.ok();
    api.delete(&format!("{SERVICES}/a")).await.ok();
    // Only that of the API itself is left.
    assert_eq!(names(&api.get(ADDRESSES).await.ok()), ["10.96.0.1"]);
}

#[tokio::test]
async fn many_creators_get_different_addresses_and_ports() {
    let api = Api::start_with(|c| c.node_ports = (30000, 30019)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..30 {
        let api = api.clone();
        tasks.spawn(async move { api.post(SERVICES, &service(&format!("s{i}"), "NodePort")).await });
    }
    let (mut ips, mut ports, mut refused) = (HashSet::new(), HashSet::new(), 0);
    for reply in tasks.join_all().await {
        if reply.code == 201 {
            assert!(ips.insert(ip(&reply.body)), "{} twice", ip(&reply.body));
            assert!(ports.insert(reply.body["spec"]["ports"][0]["nodePort"].as_u64().unwrap()));
        } else {
            let message = reply.refused(500, "InternalError");
            assert_eq!(message, "Internal error occurred: failed to allocate a nodePort: range is full");
            refused += 1;
        }
    }
    assert_eq!((ips.len(), ports.len(), refused), (20, 20, 10));
    // Those that were refused hold nothing; the other one is the API's.
    assert_eq!(names(&api.get(ADDRESSES).await.ok()).len(), 21);
    api.delete(SERVICES).await.ok();
    assert_eq!(names(&api.get(SERVICES).await.ok()).len(), 0);
    api.post(SERVICES, &service("again", "NodePort")).await.created();
}

#[tokio::test]
async fn the_health_of_local_load_balancers_has_a_port() {
    let api = Api::start_with(|c| c.node_ports = (30000, 30003)).await;
    let balancer = |name: &str, port: u16| {
        json!({"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "healthCheckNodePort": port, "ports": [{"port": 80, "name": "a"}, {"port": 80, "protocol": "UDP", "name": "b"}]}})
    };
    let port = |service: &Value| service["spec"]["healthCheckNodePort"].as_u64().unwrap();
    let planned = api.post(&format!("{SERVICES}?dryRun=All"), &balancer("planned", 0)).await.created();
    assert!((30000..=30003).contains(&port(&planned)));
    let made = api.post(SERVICES, &balancer("a", 0)).await.created();
    // One number for both protocols, another for the health.
    let node = |i: usize| made["spec"]["ports"][i]["nodePort"].as_u64().unwrap();
    assert_eq!(node(0), node(1));
    assert_ne!(node(0), port(&made));
    let message = api.post(SERVICES, &balancer("b", port(&made) as u16)).await.refused(500, "InternalError");
    let wanted = format!(
        "Internal error occurred: failed to allocate requested HealthCheck NodePort {}: provided port is already allocated",
        port(&made)
    );
    assert_eq!(message, wanted);
    // It stays while it is needed, comes back when it is needed again, and is free when it is not.
    let one = format!("{SERVICES}/a");
    let labelled = api.patch(&one, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(port(&labelled), port(&made));
    let everywhere = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    assert!(api.patch(&one, MERGE, &everywhere).await.ok()["spec"]["healthCheckNodePort"].is_null());
    let here = json!({"spec": {"externalTrafficPolicy": "Local"}});
    port(&api.patch(&one, MERGE, &here).await.ok());
    api.post(SERVICES, &balancer("b", 0)).await.created();
    api.delete(&one).await.ok();
    // Ports that nobody asks for are not given out where they are not wanted; the health's is.
    let mut spare = balancer("c", 0);
    spare["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
    spare["spec"]["ports"][1]["port"] = json!(81);
    spare["spec"]["ports"][1]["nodePort"] = json!(30009);
    let message = api.post(SERVICES, &spare).await.refused(422, "Invalid");
    assert!(
        message.contains(
            "spec.ports[1].nodePort: Invalid value: 30009: provided port is not in the valid range"
        ),
        "{message}"
    );
    spare["spec"]["ports"][1]["nodePort"] = json!(0);
    let made = api.post(SERVICES, &spare).await.created();
    assert!(made["spec"]["ports"][0]["nodePort"].is_null() && port(&made) > 0, "{made}");
}

#[tokio::test]
async fn addresses_and_ranges_as_kinds() {
    let api = Api::start().await;
    let own = api.get(&format!("{CIDRS}/kubernetes")).await.ok();
    assert_eq!(own["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(own["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(own["status"]["conditions"][0]["status"], "True");
    let address = Kind {
        path: ADDRESSES,
        object: json!({"metadata": {"name": "10.96.9.9"}, "spec": {"parentRef":
            {"group": "example.com", "resource": "Things", "namespace": "n", "name": "t"}}}),
        becomes: json!({"metadata": {"name": "10.96.9.9"}}),
        row: json!(["10.96.9.9", "things.example.com/n/t"]),
        refused: vec![
            (
                json!({"metadata": {"name": "10.96.009.9"}}),
                "IPAddress.networking.k8s.io \"10.96.009.9\" is invalid: metadata.name: Invalid value: \"10.96.009.9\": must not have leading 0s",
            ),
            (
                json!({"metadata": {"name": "2001:DB8::1"}}),
                "IPAddress.networking.k8s.io \"2001:DB8::1\" is invalid: metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")",
            ),
            (
                json!({"spec": {"parentRef": null}}),
                "IPAddress.networking.k8s.io \"10.96.9.9\" is invalid: spec.parentRef: Required value",
            ),
            (
                json!({"spec": {"parentRef": {"resource": "", "name": "a/b"}}}),
                "IPAddress.networking.k8s.io \"10.96.9.9\" is invalid: [spec.parentRef.resource: Required value, spec.parentRef.name: Invalid value: \"a/b\": may not contain '/']",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"parentRef": {"name": "u"}}}),
            "IPAddress.networking.k8s.io \"10.96.9.9\" is invalid: spec.parentRef: Invalid value: {\"group\":\"example.com\",\"name\":\"u\",\"namespace\":\"n\",\"resource\":\"Things\"}: field is immutable",
        )],
        status: None,
    };
    address.check(&api).await;
    // Whose it is, no service gets it.
    let mut asked = service("asked", "ClusterIP");
    asked["spec"]["clusterIP"] = "10.96.9.9".into();
    let message = api.post(SERVICES, &asked).await.refused(422, "Invalid");
    assert!(
        message.contains("failed to allocate IP 10.96.9.9: provided IP is already allocated"),
        "{message}"
    );
    let range = Kind {
        path: CIDRS,
        object: json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]},
            "status": {"conditions": []}}),
        becomes: json!({"spec": {"cidrs": ["10.97.0.0/24"]}, "status": {}}),
        row: json!(["more", "10.97.0.0/24"]),
        refused: vec![
            (
                json!({"spec": {"cidrs": []}}),
                "ServiceCIDR.networking.k8s.io \"more\" is invalid: spec.cidrs: Required value: at least one CIDR required",
            ),
            (
                json!({"spec": {"cidrs": ["10.97.0.1/24"]}}),
                "ServiceCIDR.networking.k8s.io \"more\" is invalid: spec.cidrs[0]: Invalid value: \"10.97.0.1/24\": must not have bits set beyond the prefix length",
            ),
            (
                json!({"spec": {"cidrs": ["10.97.0.0/24", "10.98.0.0/24"]}}),
                "ServiceCIDR.networking.k8s.io \"more\" is invalid: spec.cidrs: Invalid value: [\"10.97.0.0/24\",\"10.98.0.0/24\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"cidrs": ["10.98.0.0/24"]}}),
            "ServiceCIDR.networking.k8s.io \"more\" is invalid: spec.cidrs[0]: Invalid value: \"10.98.0.0/24\": field is immutable",
        )],
        status: Some(json!({"conditions": [{"type": "Ready", "status": "True", "reason": "", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]})),
    };
    range.check(&api).await;
    api.patch(
        &format!("{CIDRS}/more"),
        MERGE,
        &json!({"spec": {"cidrs": ["10.97.0.0/24", "2001:db8::/64"]}}),
    )
    .await
    .ok();
    // Services may ask for its addresses.
    asked["spec"]["clusterIP"] = "10.97.0.7".into();
    api.post(SERVICES, &asked).await.created();
}
