//! Continue tokens and bearer tokens, through the whole server.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};

use crate::common::objects::configmap;
use crate::common::{Api, names};
use crate::runner::{Corpus, run_with};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn on<T>(runtime: &tokio::runtime::Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(future)
}

#[test]
fn continue_tokens() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = on(&runtime, async {
        let api = Api::start().await;
        for name in ["a", "b", "c", "d"] {
            api.post(MAPS, &configmap(name)).await.created();
        }
        api
    });
    let first = on(&runtime, api.get(&format!("{MAPS}?limit=2"))).ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let plain = URL_SAFE_NO_PAD.decode(token).unwrap();
    let seeds: &[&[u8]] = &[
        &plain,
        br#"{"v":"meta.k8s.io/v1","rv":-1,"start":"/registry/secrets/default/x"}"#,
        br#"{"rv":1,"start":"../../secrets/"}"#,
    ];
    let words = ["\"rv\":", "\"start\":", "\"v\":", "..", "/", "\u{0}", "-1", "null", "{", "}"];
    run_with(&Corpus { name: "continue tokens", seeds, words: &words }, 400, |input| {
        // The text inside, and the token itself.
        let outside: String =
            input.iter().filter(|b| b.is_ascii_alphanumeric()).map(|b| char::from(*b)).collect();
        for token in [URL_SAFE_NO_PAD.encode(input), outside] {
            if token.is_empty() {
                continue;
            }
            let reply = on(&runtime, api.get(&format!("{MAPS}?limit=2&continue={token}")));
            let code = reply.code.as_u16();
            assert!([200, 400, 410, 504].contains(&code), "{code}: {}", String::from_utf8_lossy(&reply.raw));
            if code == 200 {
                let names = names(&reply.ok());
                assert!(names.len() <= 2, "a page is no longer than asked for");
                assert!(
                    names.iter().all(|n| ["a", "b", "c", "d", "kube-root-ca.crt"].contains(&n.as_str())),
                    "{names:?}"
                );
            }
        }
    });
}

#[test]
fn bearer_tokens() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = on(&runtime, async {
        let api = Api::start().await;
        api.namespace("n").await;
        api
    });
    let body =
        serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let issued =
        on(&runtime, api.post("/api/v1/namespaces/n/serviceaccounts/default/token", &body)).created();
    let token = issued["status"]["token"].as_str().unwrap().to_owned();
    let ask = |value: &[u8]| {
        let header = http::HeaderValue::from_bytes(value).ok()?;
        let request = Request::builder().method(Method::GET).uri("/api/v1/namespaces/n/pods");
        let request = request.header("authorization", header).body(Body::empty()).unwrap();
        Some(on(&runtime, api.server.handle(request)).status().as_u16())
    };
    let whole = format!("Bearer {token}");
    assert_eq!(ask(whole.as_bytes()), Some(403), "the account is known and may do nothing");
    let seeds: &[&[u8]] =
        &[whole.as_bytes(), b"Bearer abcdef.0123456789abcdef", b"Bearer a.b.c", b"Basic YTpi", b"bearer  x"];
    let words = ["Bearer ", ".", "eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", "=", "-", "_", ","];
    // As upstream reads the header: a scheme, one space, a token; without both it is nobody in particular who asks.
    let shown = |value: &[u8]| {
        let text = String::from_utf8_lossy(value).into_owned();
        let mut parts = text.trim().splitn(3, ' ').map(str::to_owned);
        let scheme = parts.next().unwrap_or_default();
        parts.next().filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
    };
    run_with(&Corpus { name: "bearer tokens", seeds, words: &words }, 1_000, |input| match ask(input) {
        None | Some(401) => {}
        Some(403) if shown(input).is_none_or(|shown| shown == token) => {}
        Some(other) => panic!("answered with {other}"),
    });
}
