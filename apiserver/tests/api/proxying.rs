//! `proxy` of pods and services: to a real listener on an address of this machine.

use std::net::{IpAddr, UdpSocket};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::objects::{pod, service};
use crate::common::{Api, MERGE};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// An address of this machine that is not its loopback; finding it sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|a| !a.is_loopback() && !a.is_unspecified())
}

/// Answers every request with its own head and body as text, and redirects `/away`.
async fn echo(address: IpAddr) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let n = stream.read(&mut buffer).await.unwrap_or(0);
                    seen.extend_from_slice(&buffer[..n]);
                    let text = String::from_utf8_lossy(&seen).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        if n == 0 {
                            return;
                        }
                        continue;
                    };
                    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                    if body.len() < length.unwrap_or(0usize) && n > 0 {
                        continue;
                    }
                    let head = if head.starts_with("GET /away ") {
                        "HTTP/1.1 302 Found\r\nlocation: /there\r\n".to_owned()
                    } else {
                        "HTTP/1.1 418 I'm a teapot\r\nx-seen: yes\r\n".to_owned()
                    };
                    let (head, text) = if text.starts_with("GET /page") {
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\naccess-control-allow-origin: *\r\n";
                        (head.to_owned(), "<a href=\"/a?b\">x</a><img src=i.png>".to_owned())
                    } else {
                        (head, text)
                    };
                    let answer = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
                    drop(stream.write_all(answer.as_bytes()).await);
                    return;
                }
            });
        }
    });
    port
}

async fn running_pod(api: &Api, address: &str, port: u16) {
    api.post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}})).await;
    let mut object = pod("p");
    object["spec"]["containers"][0]["ports"] = json!([{"containerPort": port}]);
    api.post(PODS, &object).await.created();
    let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    api.patch(&format!("{PODS}/p/status"), MERGE, &status).await.ok();
}

#[tokio::test]
async fn requests_reach_pods_and_services() {
    let Some(address) = own_address() else {
        api_types::testing::skipped("this machine has no address but its loopback");
        return;
    };
    let api = Api::start().await;
    let port = echo(address).await;
    running_pod(&api, &address.to_string(), port).await;
    for name in ["p".to_owned(), format!("p:{port}"), format!("http:p:{port}")] {
        let path = format!("{PODS}/{name}/proxy/a/b%20c?x=1&y");
        let reply = api
            .ask(Method::GET, &path)
            .header("authorization", "Bearer secret")
            .header("host", "api.example")
            .send()
            .await;
        let text = String::from_utf8(reply.raw.to_vec()).unwrap();
        assert_eq!(reply.code, 418, "{text}");
        assert_eq!(reply.headers["x-seen"], "yes");
        assert!(text.starts_with("GET /a/b%20c?x=1&y HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("host: api.example\r\n"), "{text}");
        assert!(!text.contains("secret"), "credentials are not passed on: {text}");
    }
    let sent = api.ask(Method::POST, &format!("{PODS}/p/proxy/form")).raw("hello").media("text/plain");
    let text = String::from_utf8(sent.send().await.raw.to_vec()).unwrap();
    assert!(text.starts_with("POST /form ") && text.ends_with("hello"), "{text}");
    let reply = api.get(&format!("{PODS}/p/proxy/away")).await;
    assert_eq!(reply.headers["location"], format!("{PODS}/p/proxy/there"));
    let reply = api.get(&format!("{PODS}/p/proxy/page")).await;
    assert_eq!(
        String::from_utf8_lossy(&reply.raw),
        format!("<a href=\"{PODS}/p/proxy/a?b\">x</a><img src=i.png>")
    );
    assert!(!reply.headers.contains_key("access-control-allow-origin"), "{:?}", reply.headers);
    let reply = api.get(&format!("{PODS}/p/proxy/told/")).await;
    let text = String::from_utf8_lossy(&reply.raw).into_owned();
    assert!(text.contains(&format!("x-forwarded-uri: {PODS}/p/proxy/told/\r\n")), "{text}");
    let reply = api.get(&format!("{PODS}/p/proxy?x=1")).await;
    assert_eq!(
        (reply.code.as_u16(), &reply.headers["location"]),
        (301, &format!("{PODS}/p/proxy/?x=1").parse().unwrap())
    );

    let mut object = service("s");
    object["spec"]["ports"] = json!([{"name": "web", "port": 80}]);
    api.post(SERVICES, &object).await.created();
    let refused = |reply: crate::common::Reply| reply.refused(503, "ServiceUnavailable");
    let message = refused(api.get(&format!("{SERVICES}/s:web/proxy/")).await);
    assert_eq!(message, "no endpoints available for service \"s\"");
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s"}, "subsets": [
        {"addresses": [{"ip": address.to_string()}], "ports": [{"name": "web", "port": port}]}]});
    api.post("/api/v1/namespaces/default/endpoints", &endpoints).await.created();
    api.get("/api/v1/namespaces/default/endpoints").await.ok();
    for name in ["s:web", "s:80", "http:s:web"] {
        let reply = api.get(&format!("{SERVICES}/{name}/proxy/")).await;
        assert_eq!(reply.code, 418, "{name}");
    }
    let message = refused(api.get(&format!("{SERVICES}/s:nosuch/proxy/")).await);
    assert_eq!(message, "no service port \"nosuch\" found for service \"s\"");
}

#[tokio::test]
async fn what_is_not_proxied_to() {
    let api = Api::start().await;
    running_pod(&api, "127.0.0.1", 1).await;
    let message = api.get(&format!("{PODS}/p/proxy/")).await.refused(400, "BadRequest");
    assert_eq!(message, "address not allowed");
    api.get(&format!("{PODS}/none/proxy/")).await.refused(404, "NotFound");
    let message = api.get(&format!("{PODS}/ftp:p:1/proxy/")).await.refused(400, "BadRequest");
    assert_eq!(message, "invalid pod request \"ftp:p:1\"");
    let of = |list: &Value, name: &str| {
        let found = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned();
        found.unwrap_or_default()
    };
    let core = api.get("/api/v1").await.ok();
    for (name, kind) in [
        ("pods/proxy", "PodProxyOptions"),
        ("services/proxy", "ServiceProxyOptions"),
        ("nodes/proxy", "NodeProxyOptions"),
    ] {
        assert_eq!(of(&core, name)["kind"], kind);
    }
}
