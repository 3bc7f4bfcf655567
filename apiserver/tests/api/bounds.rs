//! What is too much.

use http::Method;
use serde_json::json;

use crate::common::objects::configmap;
use crate::common::{Api, JSON_PATCH, MERGE};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn large_bodies() {
    let api = Api::start().await;
    let body = |n: usize| format!(r#"{{"metadata":{{"name":"a"}},"data":{{"a":"{}"}}}}"#, "x".repeat(n));
    let send = |body: String, method: Method, path: &'static str, media: &'static str| {
        let api = api.clone();
        async move { api.ask(method, path).raw(body).media(media).send().await }
    };
    let huge = send(body(3 << 20), Method::POST, MAPS, "application/json").await;
    huge.refused(413, "RequestEntityTooLarge");
    let large = send(body(2 << 20), Method::POST, MAPS, "application/json").await;
    large.refused(422, "Invalid");
    send(body(1 << 19), Method::POST, MAPS, "application/json").await.created();
    let one = "/api/v1/namespaces/default/configmaps/a";
    for (method, media) in
        [(Method::PUT, "application/json"), (Method::PATCH, MERGE), (Method::DELETE, "application/json")]
    {
        send(body(3 << 20), method, one, media).await.refused(413, "RequestEntityTooLarge");
    }
}

#[tokio::test]
async fn deep_and_crowded_documents() {
    let api = Api::start().await;
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let reply = api.ask(Method::POST, MAPS).raw(deep).media("application/json").send().await;
    reply.refused(400, "BadRequest");
    let deep = "[".repeat(100_000);
    for media in ["application/json", "application/yaml"] {
        let reply = api.ask(Method::POST, MAPS).raw(deep.clone()).media(media).send().await;
        reply.refused(400, "BadRequest");
    }
    let bomb = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
        let last = format!("*a{}", i - 1);
        format!("{text}a{i}: &a{i} [{}]\n", [last.as_str(); 9].join(","))
    });
    let reply = api.ask(Method::POST, MAPS).raw(bomb).media("application/yaml").send().await;
    reply.refused(400, "BadRequest");
    let twice = format!("{{\"metadata\":{{\"name\":\"d\"}},{}\"x\":1}}", "\"x\":1,".repeat(5000));
    let reply = api.ask(Method::POST, MAPS).raw(twice).media("application/json").send().await;
    assert!(reply.warnings().len() <= 101, "{}", reply.warnings().len());
    reply.created();
}

#[tokio::test]
async fn long_patches() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    let one = format!("{MAPS}/a");
    let operations = |n: usize| json!(vec![json!({"op": "test", "path": "/data/a", "value": "b"}); n]);
    api.patch(&one, JSON_PATCH, &operations(10_000)).await.ok();
    let message =
        api.patch(&one, JSON_PATCH, &operations(10_001)).await.refused(413, "RequestEntityTooLarge");
    assert_eq!(
        message,
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
    // Each step doubles what the last has made: what comes out must be bounded, not only what goes in.
    let mut doubling = vec![json!({"op": "add", "path": "/data/b", "value": ["y".repeat(1000)]})];
    for _ in 0..60 {
        doubling.push(json!({"op": "copy", "from": "/data/b", "path": "/data/b/-"}));
    }
    let reply = api.patch(&one, JSON_PATCH, &json!(doubling)).await;
    assert!(reply.raw.len() < 4096, "{}", reply.raw.len());
    reply.refused(422, "Invalid");
}

#[tokio::test]
async fn too_many_requests() {
    let api = Api::start_with(|c| c.max_in_flight = (1, 1)).await;
    // A write whose body does not come holds the only place.
    let (sender, body) = stalled();
    let request =
        http::Request::post(MAPS).extension(std::sync::Arc::new(crate::common::admin())).body(body).unwrap();
    let server = api.server.clone();
    let held = tokio::spawn(async move { server.handle(request).await.status() });
    sender.reserve().await.unwrap().send(Ok(bytes::Bytes::from_static(b"{\"metadata\":{\"name\":\"held\"}")));
    // The second piece is accepted only when the first was read: the write is in its place now.
    sender.reserve().await.unwrap().send(Ok(bytes::Bytes::new()));
    let reply = api.post(MAPS, &configmap("b")).await;
    assert_eq!(reply.headers["retry-after"], "1");
    reply.refused(429, "TooManyRequests");
    // Reads have places of their own, and health needs none.
    api.get(MAPS).await.ok();
    assert_eq!(api.get("/livez").await.code, 200);
    sender.send(Ok(bytes::Bytes::from_static(b"}"))).await.unwrap();
    drop(sender);
    assert_eq!(held.await.unwrap(), 201);
    api.post(MAPS, &configmap("b")).await.created();
}

type Piece = Result<bytes::Bytes, std::io::Error>;

/// A body that comes piece by piece.
fn stalled() -> (tokio::sync::mpsc::Sender<Piece>, axum::body::Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Piece>(1);
    let pieces = futures::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|p| (p, r)) });
    (sender, axum::body::Body::from_stream(pieces))
}
