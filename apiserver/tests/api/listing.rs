//! LIST: selectors, pages, versions, forms.

use http::Method;
use serde_json::json;

use crate::common::objects::{configmap, labelled, pod};
use crate::common::{Api, names, version};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn filled() -> Api {
    let api = Api::start().await;
    for (name, labels) in [
        ("a", json!({"app": "web", "tier": "front"})),
        ("b", json!({"app": "web"})),
        ("c", json!({"app": "db"})),
        ("d", json!({})),
    ] {
        api.post(MAPS, &labelled(name, &labels)).await.created();
    }
    api
}

#[tokio::test]
async fn label_and_field_selectors() {
    let api = filled().await;
    for (query, want) in [
        ("", "abcd"),
        ("labelSelector=app=web", "ab"),
        ("labelSelector=app==web,tier", "a"),
        ("labelSelector=app!=web", "cd"),
        ("labelSelector=app in (web,db),!tier", "bc"),
        ("labelSelector=app notin (web)", "cd"),
        ("labelSelector=!app", "d"),
        ("fieldSelector=metadata.name=b", "b"),
        ("fieldSelector=metadata.name!=b", "acd"),
        ("fieldSelector=metadata.namespace=other", ""),
        ("fieldSelector=metadata.name=a&labelSelector=app=db", ""),
    ] {
        assert_eq!(names(&api.get(&format!("{MAPS}?{query}")).await.ok()).concat(), want, "{query}");
    }
    for query in [
        "labelSelector=a b",
        "labelSelector=a in b",
        "labelSelector=-x=y",
        "fieldSelector=spec.x=y",
        "fieldSelector=bad",
        "limit=x",
        "timeoutSeconds=x",
        "resourceVersion=x",
    ] {
        api.get(&format!("{MAPS}?{query}")).await.refused(400, "BadRequest");
    }
}

#[tokio::test]
async fn fields_of_pods() {
    let api = Api::start().await;
    api.namespace("a").await;
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = "n1".into();
    for p in [bound, pod("free")] {
        api.post("/api/v1/namespaces/a/pods", &p).await.created();
    }
    for (selector, want) in [
        ("spec.nodeName=n1", "bound"),
        ("spec.nodeName=", "free"),
        ("status.phase!=Running,spec.nodeName!=n1", "free"),
        ("spec.restartPolicy=Never", ""),
    ] {
        let path = format!("/api/v1/pods?fieldSelector={selector}");
        assert_eq!(names(&api.get(&path).await.ok()).concat(), want, "{selector}");
    }
}

#[tokio::test]
async fn pages_show_one_revision_while_objects_change() {
    let api = filled().await;
    let first = api.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    // What happens now is after the list.
    api.delete(&format!("{MAPS}/c")).await.ok();
    api.post(MAPS, &configmap("cc")).await.created();
    let second = api.get(&format!("{MAPS}?limit=1&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap().to_owned();
    let last = api.get(&format!("{MAPS}?continue={token}")).await.ok();
    assert_eq!(names(&last), ["d"]);
    assert!(last["metadata"].get("continue").is_none());
    assert_eq!(names(&api.get(MAPS).await.ok()).join(""), "abccd");
}

#[tokio::test]
async fn pages_with_a_selector() {
    let api = filled().await;
    let path = format!("{MAPS}?labelSelector=app!=web&limit=1");
    let first = api.get(&path).await.ok();
    assert_eq!(names(&first), ["c"]);
    assert!(first["metadata"].get("remainingItemCount").is_none());
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&api.get(&format!("{path}&continue={token}")).await.ok()), ["d"]);
}

#[tokio::test]
async fn tokens_are_checked() {
    let api = filled().await;
    let list = api.get(&format!("{MAPS}?limit=1")).await.ok();
    let token = list["metadata"]["continue"].as_str().unwrap();
    for query in
        ["continue=zzz".to_owned(), "continue=e30".to_owned(), format!("continue={token}&resourceVersion=5")]
    {
        api.get(&format!("{MAPS}?{query}")).await.refused(400, "BadRequest");
    }
    // A token is no way into another namespace.
    api.get(&format!("/api/v1/namespaces/kube-system/configmaps?continue={token}"))
        .await
        .refused(400, "BadRequest");
    api.get(&format!("/api/v1/namespaces/default/secrets?continue={token}")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn history_ends() {
    let api = filled().await;
    let first = api.get(&format!("{MAPS}?limit=1")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let at = first["metadata"]["resourceVersion"].as_str().unwrap();
    let last = version(&api.post(MAPS, &configmap("e")).await.created());
    api.server.registry().storage().compact(last).await.unwrap();
    let reply = api.get(&format!("{MAPS}?continue={token}&limit=2")).await;
    let inexact = reply.body["metadata"]["continue"].as_str().unwrap().to_owned();
    let message = reply.refused(410, "Expired");
    assert!(message.contains("use the continue token in this response"), "{message}");
    // Who would rather have the rest as it is now than begin again.
    let rest = api.get(&format!("{MAPS}?continue={inexact}&limit=2")).await.ok();
    assert_eq!(names(&rest).concat(), "bc");
    let more = rest["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&api.get(&format!("{MAPS}?continue={more}")).await.ok()).concat(), "de");
    let message = api
        .get(&format!("{MAPS}?resourceVersion={at}&resourceVersionMatch=Exact"))
        .await
        .refused(410, "Expired");
    assert_eq!(message, "The resourceVersion for the provided list is too old.");
    assert_eq!(names(&api.get(&format!("{MAPS}?limit=9")).await.ok()).concat(), "abcde");
}

#[tokio::test]
async fn versions() {
    let api = filled().await;
    let before = api.get(MAPS).await.ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.post(MAPS, &configmap("e")).await.created();
    // A consistent read: from here on even the least demanding one shows it.
    assert_eq!(names(&api.get(MAPS).await.ok()).concat(), "abcde");
    for (query, want) in [
        ("resourceVersion=0".to_owned(), "abcde"),
        (format!("resourceVersion={before}"), "abcde"),
        (format!("resourceVersion={before}&resourceVersionMatch=NotOlderThan"), "abcde"),
        (format!("resourceVersion={before}&resourceVersionMatch=Exact"), "abcd"),
    ] {
        assert_eq!(names(&api.get(&format!("{MAPS}?{query}")).await.ok()).concat(), want, "{query}");
    }
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=5&resourceVersionMatch=x",
        "resourceVersion=5&resourceVersionMatch=Exact&continue=x",
    ] {
        let message = api.get(&format!("{MAPS}?{query}")).await.refused(422, "Invalid");
        assert!(
            message.starts_with("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: "),
            "{message}"
        );
    }
    let future = api.get(&format!("{MAPS}?resourceVersion=99999999")).await;
    assert_eq!(future.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    future.refused(504, "Timeout");
}

#[tokio::test]
async fn forms() {
    let api = filled().await;
    let table = api
        .ask(http::Method::GET, &format!("{MAPS}?limit=1"))
        .accept("application/json;as=Table;v=v1;g=meta.k8s.io")
        .send()
        .await
        .ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert!(table["metadata"]["continue"].is_string());
    let partial = api
        .ask(http::Method::GET, MAPS)
        .accept("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
        .send()
        .await
        .ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("data").is_none());
    let all = api.get("/api/v1/configmaps").await.ok();
    assert_eq!(all["kind"], "ConfigMapList");
    // One is the server's own.
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
    let empty = api.get("/api/v1/namespaces/nowhere/configmaps").await.ok();
    assert_eq!(empty["items"], json!([]));
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_ask() {
    use std::io::Read;
    let api = Api::start().await;
    for name in ["a", "b"] {
        let mut object = configmap(name);
        object["data"] = json!({"text": "word ".repeat(20_000)});
        api.post(MAPS, &object).await.created();
    }
    let plain = api.get(MAPS).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let packed = api.ask(Method::GET, MAPS).header("accept-encoding", "gzip").send().await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.raw.len() < plain.raw.len() / 10, "{} of {}", packed.raw.len(), plain.raw.len());
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&packed.raw[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.raw);
    // A small answer is not worth it.
    let small =
        api.ask(Method::GET, "/api/v1/namespaces/kube-system/configmaps").header("accept-encoding", "gzip");
    assert!(!small.send().await.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn what_another_server_stored_in_an_older_version() {
    let api = Api::start().await;
    let stored = r#"{"kind":"CronJob","apiVersion":"batch/v1beta1","metadata":{"name":"old","namespace":"default","uid":"u"},"spec":{"schedule":"@daily","concurrencyPolicy":"Allow","suspend":true,"jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}"#;
    let storage = api.server.registry().storage();
    storage.create("/registry/cronjobs/default/old", stored.into(), None).await.unwrap();
    let path = "/apis/batch/v1/namespaces/default/cronjobs";
    let list = api.get(path).await.ok();
    assert_eq!((&list["apiVersion"], list["items"][0].get("apiVersion")), (&json!("batch/v1"), None));
    assert_eq!(api.get(&format!("{path}/old")).await.ok()["apiVersion"], "batch/v1");
    let patch = json!({"spec": {"suspend": false}});
    let patched = api.patch(&format!("{path}/old"), crate::common::MERGE, &patch).await.ok();
    assert_eq!((&patched["apiVersion"], &patched["spec"]["suspend"]), (&json!("batch/v1"), &json!(false)));
    let entry = storage.get("/registry/cronjobs/default/old").await.unwrap().unwrap();
    let text = String::from_utf8(entry.value.to_vec()).unwrap();
    assert!(text.contains("\"batch/v1\"") && !text.contains("v1beta1"), "{text}");
}

#[tokio::test]
async fn items_do_not_repeat_what_the_list_is_of() {
    let api = Api::start().await;
    let made = api.post(MAPS, &configmap("a")).await.created();
    // As an earlier version of this server, or another program, has ordered its fields.
    let other = r#"{"apiVersion":"v1","data":{"x":"y"},"kind":"ConfigMap","metadata":{"name":"b","namespace":"default"}}"#;
    let storage = api.server.registry().storage();
    storage.create("/registry/configmaps/default/b", other.into(), None).await.unwrap();
    let list = api.get(MAPS).await.ok();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    for item in list["items"].as_array().unwrap() {
        assert!(item.get("kind").is_none() && item.get("apiVersion").is_none(), "{item}");
    }
    assert_eq!(list["items"][1]["data"], json!({"x": "y"}));
    assert_eq!(
        (&made["kind"], &api.get(&format!("{MAPS}/b")).await.ok()["kind"]),
        (&json!("ConfigMap"), &json!("ConfigMap"))
    );
}

#[tokio::test]
async fn answers_in_yaml() {
    let api = Api::start().await;
    let mut object = configmap("a");
    object["data"] = json!({"yes": "no", "number": "0644", "text": "one\n\n  two\n", "time": "2001-01-01"});
    api.post(MAPS, &object).await.created();
    api.post(MAPS, &configmap("b")).await.created();
    let one = format!("{MAPS}/a");
    for (path, code) in [
        (one.as_str(), 200),
        (MAPS, 200),
        ("/api/v1/namespaces/none/configmaps", 200),
        ("/api/v1/namespaces/default/configmaps/none", 404),
        ("/apis/autoscaling/v1/horizontalpodautoscalers", 200),
        ("/apis/apps/v1", 200),
    ] {
        let reply = api.ask(Method::GET, path).accept("application/yaml").send().await;
        assert_eq!(
            (reply.code.as_u16(), &reply.headers["content-type"]),
            (code, &"application/yaml".parse().unwrap())
        );
        let read: serde_json::Value = serde_saphyr::from_slice(&reply.raw).unwrap();
        assert_eq!(read, api.get(path).await.body, "{path}: {}", String::from_utf8_lossy(&reply.raw));
    }
    let made = api.ask(Method::POST, MAPS).json(&configmap("c")).accept("application/yaml").send().await;
    assert_eq!(made.code, 201);
    assert!(made.raw.starts_with(b"apiVersion: v1\ndata:\n"), "{}", String::from_utf8_lossy(&made.raw));
    let watch = api.ask(Method::GET, &format!("{MAPS}?watch=1")).accept("application/yaml").send().await;
    assert_eq!(watch.code, 406, "changes are not streamed in YAML");
}
