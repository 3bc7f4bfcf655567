//! The rules against a real kernel, in a network namespace of the test's own. Needs root, `ip`, `nsenter` and `nft`;
//! skipped with a word about it otherwise.
//!
//! The test starts itself again inside the namespace. Endpoints are sockets on addresses of `lo` there, a client
//! outside the node is a second namespace behind a veth pair.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Service, ServiceCache, ServiceKey, ServicePort, ServiceProxy, Slice, SlicePort, cleanup,
    diff::Loaded,
    model::{
        Family, rules,
        tests::{endpoint, entry, here},
    },
    nft,
};

const INSIDE: &str = "SKIFF_TEST_NETNS";
const DEADLINE: Duration = Duration::from_secs(10);

fn sh(script: &str) -> bool {
    Command::new("sh").args(["-ec", script]).status().is_ok_and(|status| status.success())
}

/// Removes the namespaces however the test ends.
struct Namespaces(String);

impl Drop for Namespaces {
    fn drop(&mut self) {
        sh(&format!("ip netns del {0}; ip netns del {0}-c", self.0));
    }
}

/// Runs `inside` in network namespaces that last as long as it does, in another process.
fn in_namespaces<F: Future<Output = ()>>(test: &str, inside: impl FnOnce(String) -> F) {
    if let Ok(name) = std::env::var(INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.expect("a runtime").block_on(inside(name));
    }
    if !nix::unistd::geteuid().is_root() || !sh("nft --version >/dev/null && command -v nsenter >/dev/null") {
        api_types::testing::skipped("this needs root, nft and nsenter");
        return;
    }
    let name = format!("skiff-{test}-{}", std::process::id());
    let namespaces = Namespaces(name.clone());
    assert!(sh(&format!("ip netns add {name} && ip netns add {name}-c")), "namespaces");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{name}"))
        .arg(program)
        .args([
            "--include-ignored",
            "--exact",
            &format!("network::proxy::netns_tests::{test}"),
            "--nocapture",
        ])
        .env(INSIDE, &name)
        .stderr(Stdio::inherit())
        .output()
        .expect("nsenter runs");
    drop(namespaces);
    let told = String::from_utf8_lossy(&output.stdout);
    // Without the lines of the runner inside, which would be counted as another test.
    told.lines().filter(|line| !line.starts_with("test ")).for_each(|line| println!("{line}"));
    assert!(output.status.success());
}

#[test]
fn services_for_real() {
    in_namespaces("services_for_real", |name| async move { inside(&name).await });
}

/// Run with `cargo test -p nodeagent --lib -- --ignored --nocapture many_services`.
#[test]
#[ignore = "a benchmark, not a test"]
fn many_services() {
    in_namespaces("many_services", |_| async {
        for count in [100u16, 1000, 5000] {
            load_many(count).await;
        }
    });
}

async fn load_many(count: u16) {
    let address = |net: u8, number: u16| format!("10.{net}.{}.{}", number / 250, number % 250 + 1);
    let wanted = |number: u16, last_net: u8| {
        let endpoints = [240, 241, last_net].map(|net| endpoint(&address(net, number), "here", true, false));
        let key = ServiceKey::new("ns", &format!("service-{number}"));
        let entry = entry(service(&address(96, number), "tcp", None), endpoints.to_vec());
        (key.clone(), rules(&key, &entry, &here(), Family::V4))
    };
    let mut loaded = Loaded::new("skiff-proxy", Family::V4, false);
    let start = Instant::now();
    let text = loaded.load_all((0..count).map(|number| wanted(number, 242)).collect());
    let made = start.elapsed();
    nft::load(&text).await.expect("loaded");
    let all = start.elapsed();
    let (key, rules) = wanted(0, 243);
    let start = Instant::now();
    let mut text = String::new();
    loaded.change(&key, rules, &mut text);
    nft::load(&text).await.expect("changed");
    println!("{count} services: all in {all:?} ({made:?} to compute), one change in {:?}", start.elapsed());
}

/// Answers every connection with the address it was made to.
async fn serve(address: &str) {
    let listener = TcpListener::bind(address).await.expect("an endpoint listens");
    let name = address.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            let answer = format!("{name} {}", from.ip());
            // The client may be gone by then.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
}

async fn serve_udp(address: &'static str) {
    let socket = UdpSocket::bind(address).await.expect("an endpoint listens");
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(address.as_bytes(), from).await;
        }
    });
}

/// Who answers at `address`, or why nobody does.
async fn ask(address: &str) -> String {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(Duration::from_secs(1), attempt).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => error.kind().to_string(),
        Err(_) => "silence".to_owned(),
    }
}

/// Who answers a client outside the node.
fn ask_from_outside(name: &str, address: &str) -> String {
    let (host, port) = address.split_once(':').expect("an address");
    let script = format!("exec 3<>/dev/tcp/{host}/{port} && cat <&3");
    let output = Command::new("nsenter")
        .args([&format!("--net=/run/netns/{name}-c"), "timeout", "2", "bash", "-c", &script])
        .output()
        .expect("nsenter runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn until(what: &str, address: &str, is: impl Fn(&str) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let answer = ask(address).await;
        if is(&answer) {
            return start.elapsed();
        }
        assert!(start.elapsed() < DEADLINE, "{what}: {address} still says {answer:?}");
    }
}

fn slice(protocol: &'static str, endpoints: &[(&str, bool)]) -> Slice {
    Slice {
        ports: vec![SlicePort { name: "p".into(), protocol, port: 8080 }],
        endpoints: endpoints
            .iter()
            .map(|(address, ready)| endpoint(address, "here", *ready, false))
            .collect(),
    }
}

fn service(address: &str, protocol: &'static str, node_port: Option<u16>) -> Service {
    Service {
        cluster_ips: vec![address.parse().expect("an address")],
        ports: vec![ServicePort { name: "p".into(), protocol, port: 80, node_port }],
        ..Service::default()
    }
}

async fn inside(name: &str) {
    assert!(
        sh(&format!(
            "ip link set lo up; ip addr add 10.244.0.5/32 dev lo; ip addr add 10.244.0.6/32 dev lo
             ip link add outside type veth peer name eth0 netns {name}-c
             ip addr add 192.0.2.1/24 dev outside; ip link set outside up; ip route add default via 192.0.2.2
             ip -n {name}-c addr add 192.0.2.2/24 dev eth0; ip -n {name}-c link set eth0 up
             ip -n {name}-c route add default via 192.0.2.1
             echo 1 > /proc/sys/net/ipv4/ip_forward"
        )),
        "set up"
    );
    serve("10.244.0.5:8080").await;
    serve("10.244.0.6:8080").await;
    serve_udp("10.244.0.5:8080").await;
    serve_udp("10.244.0.6:8080").await;

    let cache = ServiceCache::new();
    cache.synced.send_replace((true, true));
    let (web, empty) = (ServiceKey::new("ns", "web"), ServiceKey::new("ns", "empty"));
    cache.set_service(web.clone(), Some(service("10.96.0.9", "tcp", Some(30080))));
    let set = |endpoints: &[(&str, bool)]| {
        cache.set_slice("ns", "web-1", Some((ServiceKey::new("ns", "web"), slice("tcp", endpoints))));
    };
    set(&[("10.244.0.5", true)]);
    cache.set_service(empty, Some(service("10.96.0.10", "tcp", Some(30081))));
    let config = Config::new(cache.clone(), "here".to_owned(), vec!["10.244.0.0/16".to_owned()]);
    let proxy = ServiceProxy::build(config).expect("a proxy");
    let (mut ready, token) = (proxy.ready(), CancellationToken::new());
    let task = tokio::spawn(proxy.run(token.clone()));
    timeout(DEADLINE, ready.wait_for(|ready| *ready)).await.expect("ready in time").expect("ready");

    // From the node itself, by cluster address, node port, and node port on localhost.
    for address in ["10.96.0.9:80", "192.0.2.1:30080", "127.0.0.1:30080"] {
        let answer = ask(address).await;
        assert!(answer.starts_with("10.244.0.5:8080"), "{address}: {answer}");
    }
    // Nobody there: refused at once, also at ports no service has.
    for address in ["10.96.0.10:80", "192.0.2.1:30081", "10.96.0.9:81"] {
        assert_eq!(ask(address).await, "connection refused", "{address}");
    }
    // From outside, masqueraded.
    for address in ["10.96.0.9:80", "192.0.2.1:30080"] {
        let answer = ask_from_outside(name, address);
        assert!(answer.starts_with("10.244.0.5:8080"), "{address}: {answer:?}");
    }
    assert_eq!(ask_from_outside(name, "10.96.0.10:80"), "");

    // Endpoints come and go.
    set(&[("10.244.0.5", true), ("10.244.0.6", true)]);
    let took = until("a second endpoint", "10.96.0.9:80", |answer| answer.starts_with("10.244.0.6")).await;
    println!("a new endpoint answered after {took:?}");
    set(&[("10.244.0.6", true)]);
    let start = Instant::now();
    let mut last_old = Duration::ZERO;
    for _ in 0..200 {
        if ask("10.96.0.9:80").await.starts_with("10.244.0.5") {
            last_old = start.elapsed();
        }
    }
    println!("an old endpoint answered for {last_old:?}");
    assert!(last_old < Duration::from_millis(500));

    // Many changes at once end in the last state.
    for round in 0..50 {
        let endpoints: &[(&str, bool)] = if round % 2 == 0 { &[("10.244.0.5", true)] } else { &[] };
        set(endpoints);
    }
    until("no endpoint", "10.96.0.9:80", |answer| answer == "connection refused").await;
    set(&[("10.244.0.5", true), ("10.244.0.6", true)]);
    until("endpoints again", "10.96.0.9:80", |answer| answer.starts_with("10.244")).await;

    // A client stays with its endpoint.
    let mut sticky = service("10.96.0.9", "tcp", Some(30080));
    sticky.affinity = Some(600);
    cache.set_service(web.clone(), Some(sticky));
    until("affinity", "10.96.0.9:80", |_| sh("nft list table ip skiff-proxy | grep -q 'set affinity-'"))
        .await;
    let first = ask("10.96.0.9:80").await;
    for _ in 0..20 {
        assert_eq!(ask("10.96.0.9:80").await, first);
    }

    udp(&cache).await;

    // A name server on the node is left alone, and leftovers of a dead process are replaced.
    token.cancel();
    task.await.expect("the proxy ends");
    assert!(ask("10.96.0.9:80").await.starts_with("10.244"), "rules outlive the process");
    cache.set_service(web, None);
    let config = Config::new(cache.clone(), "here".to_owned(), Vec::new());
    let proxy = ServiceProxy::build(config).expect("a proxy");
    let (mut ready, token) = (proxy.ready(), CancellationToken::new());
    let task = tokio::spawn(proxy.run(token.clone()));
    timeout(DEADLINE, ready.wait_for(|ready| *ready)).await.expect("ready in time").expect("ready");
    assert!(!sh("nft list table ip skiff-proxy | grep 10.96.0.9"));
    token.cancel();
    task.await.expect("the proxy ends");
    cleanup("skiff-proxy").await.expect("cleaned up");
    assert!(!sh("nft list tables | grep skiff-proxy"));
}

/// A client that keeps its port is sent to the new endpoint when the old one goes.
async fn udp(cache: &Arc<ServiceCache>) {
    let dns = ServiceKey::new("ns", "dns");
    cache.set_service(dns.clone(), Some(service("10.96.0.53", "udp", None)));
    cache.set_slice("ns", "dns-1", Some((dns.clone(), slice("udp", &[("10.244.0.5", true)]))));
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
    let server: SocketAddr = "10.96.0.53:80".parse().expect("an address");
    let answered_by = async |wanted: &str| {
        let start = Instant::now();
        loop {
            let mut buffer = [0; 32];
            // Refusals are reported on the socket, too.
            if socket.send_to(b"?", server).await.is_ok()
                && let Ok(Ok((length, _))) =
                    timeout(Duration::from_millis(100), socket.recv_from(&mut buffer)).await
                && buffer[..length] == *wanted.as_bytes()
            {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{wanted} does not answer over UDP");
        }
    };
    answered_by("10.244.0.5:8080").await;
    cache.set_slice("ns", "dns-1", Some((dns, slice("udp", &[("10.244.0.6", true)]))));
    if sh("command -v conntrack >/dev/null") {
        answered_by("10.244.0.6:8080").await;
    } else {
        println!("conntrack is not installed: stale UDP connections are not tried");
    }
}
