//! Bodies: strictness, media types, malformed documents.

use http::Method;
use serde_json::json;

use crate::common::{Api, MERGE, Reply};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn post(api: &Api, query: &str, media: &str, body: impl Into<bytes::Bytes>) -> Reply {
    api.ask(Method::POST, &format!("{MAPS}{query}")).raw(body).media(media).send().await
}

#[tokio::test]
async fn unknown_and_repeated_fields() {
    let api = Api::start().await;
    let body = |name: &str| {
        format!(r#"{{"metadata":{{"name":"{name}","foo":1}},"data":{{"a":"b","a":"c"}},"bar":{{}}}}"#)
    };
    let strict = post(&api, "?fieldValidation=Strict", "application/json", body("s")).await;
    assert_eq!(
        strict.refused(400, "BadRequest"),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data.a\", unknown field \"bar\", unknown field \"metadata.foo\""
    );
    for query in ["?fieldValidation=Warn", ""] {
        let reply =
            post(&api, query, "application/json", body(if query.is_empty() { "d" } else { "w" })).await;
        assert_eq!(
            reply.warnings(),
            [
                "299 - \"duplicate field \\\"data.a\\\"\"",
                "299 - \"unknown field \\\"bar\\\"\"",
                "299 - \"unknown field \\\"metadata.foo\\\"\""
            ]
        );
        let made = reply.created();
        assert_eq!(made["data"], json!({"a": "c"}));
        assert!(made.get("bar").is_none() && made["metadata"].get("foo").is_none());
    }
    let silent = post(&api, "?fieldValidation=Ignore", "application/json", body("i")).await;
    assert!(silent.warnings().is_empty());
    silent.created();
    post(&api, "?fieldValidation=Other", "application/json", body("o")).await.with(422);
}

#[tokio::test]
async fn patches_are_strict_too() {
    let api = Api::start().await;
    post(&api, "", "application/json", r#"{"metadata":{"name":"a"}}"#).await.created();
    let patch = json!({"spec": {"x": 1}});
    let refused = api.patch(&format!("{MAPS}/a?fieldValidation=Strict"), MERGE, &patch).await;
    assert!(refused.code == 400 || refused.code == 422, "{refused:?}");
    assert!(refused.body["message"].as_str().unwrap().contains("unknown field \"spec\""), "{refused:?}");
    let warned = api.patch(&format!("{MAPS}/a"), MERGE, &patch).await;
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"spec\\\"\""]);
    warned.ok();
    let twice = api
        .ask(Method::PATCH, &format!("{MAPS}/a?fieldValidation=Strict"))
        .raw(r#"{"data":{"k":"1","k":"2"}}"#)
        .media(MERGE)
        .send()
        .await;
    assert!(twice.body["message"].as_str().unwrap_or("").contains("duplicate field \"data.k\""), "{twice:?}");
}

#[tokio::test]
async fn yaml() {
    let api = Api::start().await;
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: |\n    line\n  b: \"5\"\n";
    let made = post(&api, "", "application/yaml", text).await.created();
    assert_eq!(made["data"], json!({"a": "line\n", "b": "5"}));
    let twice = "metadata:\n  name: z\ndata:\n  a: b\n  a: c\n";
    let strict = post(&api, "?fieldValidation=Strict", "application/yaml", twice).await;
    strict.refused(400, "BadRequest");
    for bad in ["a: [", "\t- x", "- just\n- a list\n", "a: &x [*x]"] {
        assert_eq!(post(&api, "", "application/yaml", bad).await.code, 400, "{bad}");
    }
}

/// A length-delimited protobuf field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend_from_slice(bytes);
    out
}

#[tokio::test]
async fn protobuf() {
    let api = Api::start().await;
    let entry = [field(1, b"a"), field(2, b"b")].concat();
    let object = [field(1, &field(1, b"p")), field(2, &entry)].concat();
    let about = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
    let mut body = b"k8s\0".to_vec();
    body.extend([field(1, &about), field(2, &object)].concat());
    let made = post(&api, "", "application/vnd.kubernetes.protobuf", body.clone()).await.created();
    assert_eq!(made["metadata"]["name"], "p");
    assert_eq!(made["data"], json!({"a": "b"}));
    for cut in [0, 3, 5, body.len() - 3] {
        let reply = post(&api, "", "application/vnd.kubernetes.protobuf", body[..cut].to_vec()).await;
        reply.refused(400, "BadRequest");
    }
}

#[tokio::test]
async fn malformed_bodies() {
    let api = Api::start().await;
    for (body, part) in [
        ("", "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        ("{\"apiVersion\":", "json parse error: unexpected end of JSON input"),
        ("not json", "json parse error: invalid character 'o' in literal null (expecting 'u')"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
    ] {
        let message = post(&api, "", "application/json", body).await.refused(400, "BadRequest");
        assert!(message.contains(part), "{body}: {message}");
    }
    for body in ["[]", "5", "\"x\""] {
        assert_eq!(post(&api, "", "application/json", body).await.code, 400, "{body}");
    }
    let wrong = post(&api, "", "application/json", r#"{"metadata":{"name":"x"},"data":{"a":5}}"#).await;
    assert_eq!(
        wrong.refused(400, "BadRequest"),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    );
    let message = post(&api, "", "text/plain", "{}").await.refused(415, "UnsupportedMediaType");
    assert!(
        message
            .starts_with("the body of the request was in an unknown format - accepted media types include:"),
        "{message}"
    );
}
