//! Paths, methods, forms; discovery, OpenAPI, health, metrics.

use api_types::catalog;
use http::Method;
use serde_json::json;

use crate::common::objects::configmap;
use crate::common::{Api, MERGE};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn what_is_not_there() {
    let api = Api::start().await;
    for path in [
        "/api/v1/nosuch",
        "/api/v2/pods",
        "/api/v3",
        "/apis/apps/v2/deployments",
        "/apis/apps/v1/nosuch",
        "/api/v1/namespaces/x/y/z",
        "/api/v1/namespaces/default/nodes",
        "/apis/apps/v1/deployments/a",
        "/api/v1/pods/a",
    ] {
        let message = api.get(path).await.refused(404, "NotFound");
        assert_eq!(message, "the server could not find the requested resource", "{path}");
    }
    for path in ["/nosuch", "/apis/nosuch/v1/x", "/apis/nosuch", "/healthz/nope"] {
        let reply = api.get(path).await;
        assert_eq!((reply.code.as_u16(), &reply.raw[..]), (404, &b"404 page not found\n"[..]), "{path}");
    }
}

#[tokio::test]
async fn methods() {
    let api = Api::start().await;
    for (method, path) in [
        (Method::POST, "/api/v1/configmaps"),
        (Method::DELETE, "/api/v1/configmaps"),
        (Method::DELETE, "/api/v1/namespaces"),
        (Method::PUT, MAPS),
        (Method::PATCH, MAPS),
        (Method::PUT, "/api/v1/nodes"),
        (Method::POST, "/api/v1/namespaces/default/configmaps/a"),
        (Method::POST, "/version"),
        (Method::GET, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ] {
        let reply = api.ask(method.clone(), path).json(&json!({})).send().await;
        assert_eq!(reply.code, 405, "{method} {path}: {reply:?}");
    }
    let head = api.ask(Method::HEAD, MAPS).send().await;
    assert_eq!(head.code, 200);
}

#[tokio::test]
async fn forms_and_media_types() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    for accept in ["text/html", "application/xml", "application/json;as=Table;v=v9;g=meta.k8s.io"] {
        api.ask(Method::GET, MAPS).accept(accept).send().await.refused(406, "NotAcceptable");
    }
    for accept in [
        "*/*",
        "application/*",
        "application/json, */*",
        "application/vnd.kubernetes.protobuf,application/json",
    ] {
        let reply = api.ask(Method::GET, MAPS).accept(accept).send().await;
        assert_eq!(reply.headers["content-type"], "application/json", "{accept}");
        reply.ok();
    }
    for (method, media) in [(Method::POST, "text/plain"), (Method::PUT, MERGE)] {
        let path = if method == Method::POST { MAPS.to_owned() } else { format!("{MAPS}/a") };
        let reply = api.ask(method, &path).raw("{}").media(media).send().await;
        reply.refused(415, "UnsupportedMediaType");
    }
    let reply = api.ask(Method::GET, MAPS).header("audit-id", "mine").send().await;
    assert_eq!(reply.headers["audit-id"], "mine");
}

#[tokio::test]
async fn discovery_names_every_kind() {
    let api = Api::start().await;
    let groups = api.get("/apis").await.ok();
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let all = [
        api.ask(Method::GET, "/api").accept(aggregated).send().await.ok(),
        api.ask(Method::GET, "/apis").accept(aggregated).send().await.ok(),
    ];
    for k in catalog::all() {
        let root = if k.group.is_empty() {
            format!("/api/{}", k.version)
        } else {
            format!("/apis/{}/{}", k.group, k.version)
        };
        let list = api.get(&root).await.ok();
        let entry = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == k.plural).unwrap();
        assert_eq!(entry["kind"], k.kind);
        assert_eq!(entry["verbs"], json!(k.verbs));
        assert_eq!(entry["namespaced"], k.namespaced());
        if !k.group.is_empty() {
            let known = groups["groups"].as_array().unwrap().iter().any(|g| g["name"] == k.group);
            assert!(known, "{k:?}");
            let preferred = if k.group == "autoscaling" { "v2" } else { "v1" };
            let group = api.get(&format!("/apis/{}", k.group)).await.ok();
            assert_eq!(group["preferredVersion"]["version"], preferred, "{k:?}");
        }
        let found = all
            .iter()
            .flat_map(|d| d["items"].as_array().unwrap())
            .filter(|g| g["metadata"]["name"].as_str().unwrap_or("") == k.group)
            .any(|g| {
                g["versions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|v| v["resources"].as_array().unwrap().iter().any(|r| r["resource"] == k.plural))
            });
        assert!(found, "{k:?} is missing from aggregated discovery");
    }
    assert_eq!(api.get("/api").await.ok()["kind"], "APIVersions");
    assert_eq!(api.get("/version").await.ok()["minor"], "36");
}

#[tokio::test]
async fn openapi_documents_describe_every_kind() {
    let api = Api::start().await;
    let v2 = api.get("/openapi/v2").await.ok();
    let index = api.get("/openapi/v3").await.ok();
    for k in catalog::all() {
        let root = if k.group.is_empty() {
            format!("api/{}", k.version)
        } else {
            format!("apis/{}/{}", k.group, k.version)
        };
        let middle = if k.namespaced() { "/namespaces/{namespace}" } else { "" };
        let path = format!("/{root}{middle}/{}/{{name}}", k.plural);
        assert!(v2["paths"][&path].is_object(), "{path} is missing from v2");
        let url = index["paths"][&root]["serverRelativeURL"]
            .as_str()
            .unwrap_or_else(|| panic!("{root} is missing from v3"));
        let v3 = api.get(url).await.ok();
        assert!(v3["paths"][&path].is_object(), "{path} is missing from v3");
        let schemas = v3["components"]["schemas"].as_object().unwrap();
        let described = schemas.values().any(|s| {
            s["x-kubernetes-group-version-kind"]
                .as_array()
                .is_some_and(|l| l.iter().any(|g| g["kind"] == k.kind && g["group"] == k.group))
        });
        assert!(described, "{k:?} has no schema");
    }
}

#[tokio::test]
async fn health_and_metrics() {
    let api = Api::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/livez/ping", "/readyz/etcd"] {
        let reply = api.get(path).await;
        assert_eq!((reply.code.as_u16(), &reply.raw[..]), (200, &b"ok"[..]), "{path}");
    }
    let verbose = api.get("/readyz?verbose").await;
    let text = String::from_utf8_lossy(&verbose.raw);
    let ready = [
        "ping",
        "log",
        "etcd",
        "etcd-readiness",
        "informer-sync",
        "poststarthook/start-system-namespaces-controller",
        "poststarthook/start-service-ip-repair-controllers",
        "poststarthook/rbac/bootstrap-roles",
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        "poststarthook/priority-and-fairness-config-producer",
        "poststarthook/start-kubernetes-service-cidr-controller",
        "poststarthook/bootstrap-controller",
        "autoregister-completion",
        "shutdown",
    ];
    let lines: String = ready.iter().map(|name| format!("[+]{name} ok\n")).collect();
    assert_eq!(text, format!("{lines}readyz check passed\n"));
    for name in ready {
        assert_eq!(api.get(&format!("/readyz/{name}")).await.code, 200, "{name}");
    }
    let text = api.get("/livez?verbose&exclude=etcd&exclude=b&exclude=a").await;
    let text = String::from_utf8_lossy(&text.raw).into_owned();
    assert!(text.contains("[+]etcd excluded: ok\n") && !text.contains("etcd-readiness"), "{text}");
    let warned =
        "warn: some health checks cannot be excluded: no matches for \"a\",\"b\"\nlivez check passed\n";
    assert!(text.ends_with(warned), "{text}");
    for path in ["/livez/informer-sync", "/livez/shutdown", "/healthz/etcd-readiness", "/readyz/nope"] {
        assert_eq!(api.get(path).await.code, 404, "{path}");
    }
    // The reasons are for those who may read them.
    let anonymous = api.acting(apiserver::UserInfo::anonymous());
    assert_eq!(anonymous.get("/readyz?verbose").await.code, 200);
    anonymous.get("/readyz/etcd").await.refused(403, "Forbidden");
    api.get(MAPS).await.ok();
    api.post(MAPS, &configmap("a")).await.created();
    let mut watch = api.watch(&format!("{MAPS}?watch=1")).await;
    // The server itself watches config maps too.
    let of_secrets = api.watch("/api/v1/secrets?watch=1").await;
    watch.next().await;
    api.post(MAPS, &configmap("a")).await.refused(409, "AlreadyExists");
    let metrics = api.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.raw);
    let maps = "group=\"\",resource=\"configmaps\"";
    for line in [
        format!(
            "apiserver_request_total{{code=\"201\",component=\"apiserver\",dry_run=\"\",{maps},scope=\"resource\",subresource=\"\",verb=\"POST\",version=\"v1\"}} 1"
        ),
        format!(
            "apiserver_longrunning_requests{{component=\"apiserver\",{maps},scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}} 1"
        ),
        format!("apiserver_resource_objects{{{maps}}} 2"),
        format!("watch_cache_capacity{{{maps}}} 16384"),
        "apiserver_storage_objects{resource=\"configmaps\"} 2".into(),
        "etcd_requests_total{group=\"\",operation=\"create\",resource=\"configmaps\"} 3".into(),
        "etcd_request_errors_total{group=\"\",operation=\"create\",resource=\"configmaps\"} 0".into(),
        "apiserver_cache_list_total{group=\"\",index=\"\",resource=\"configmaps\"} 1".into(),
        format!("apiserver_cache_list_returned_objects_total{{{maps}}} 0"),
        format!("apiserver_watch_events_total{{{maps},version=\"v1\"}} 1"),
        format!("apiserver_watch_events_sizes_bucket{{le=\"1024\",{maps},version=\"v1\"}} 1"),
        format!("apiserver_watch_cache_initializations_total{{{maps}}} 1"),
        format!("apiserver_watch_cache_consistent_read_total{{fallback=\"false\",{maps},success=\"true\"}} 2"),
        "apiserver_admission_controller_admission_duration_seconds_count{name=\"LimitRanger\",operation=\"CREATE\",rejected=\"false\",type=\"validate\"}".into(),
        "authentication_attempts{result=\"failure\"} 0".into(),
        "# TYPE authentication_attempts counter".into(),
        "# TYPE etcd_requests_total counter".into(),
        "apiserver_registered_watchers{group=\"\",kind=\"Secret\",version=\"v1\"} 1".into(),
    ] {
        let ends = |l: &str| line.ends_with('}') && l.starts_with(&line);
        assert!(text.lines().any(|l| l == line || ends(l)), "{line} is not in {text}");
    }
    for begin in [
        "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} ",
        "authenticated_user_requests{username=\"admin\"} ",
    ] {
        let value =
            text.lines().find_map(|l| l.strip_prefix(begin)).unwrap_or_else(|| panic!("no {begin}in {text}"));
        assert!(value.parse::<f64>().unwrap() > 0.0, "{begin}{value}");
    }
    let sizes = format!(
        "apiserver_response_sizes_count{{component=\"apiserver\",{maps},scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"}} 1"
    );
    assert!(text.lines().any(|l| l == sizes), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    drop((watch, of_secrets));
}

#[tokio::test]
async fn documents_are_kept_by_their_hash() {
    let api = Api::start().await;
    let index = api.get("/openapi/v3").await.ok();
    let paths = index["paths"].as_object().unwrap();
    for place in ["api/v1", "apis/apps/v1", "apis/authentication.k8s.io/v1", "apis/autoscaling/v2"] {
        let url = paths[place]["serverRelativeURL"].as_str().unwrap();
        let reply = api.get(url).await;
        assert!(reply.headers["cache-control"].to_str().unwrap().contains("immutable"), "{place}");
        let tag = reply.headers["etag"].to_str().unwrap().to_owned();
        assert!(!reply.ok()["paths"].as_object().unwrap().is_empty(), "{place}");
        let again = api.ask(Method::GET, url).header("if-none-match", &tag).send().await;
        assert_eq!((again.code.as_u16(), again.raw.len()), (304, 0));
        let old = api.get(&format!("/openapi/v3/{place}?hash=OLD")).await;
        assert_eq!((old.code.as_u16(), old.headers["location"].to_str().unwrap()), (301, url));
    }
    let of = |group: &str| format!("/openapi/v3/apis/{group}/v1");
    let reviews = api.get(&of("authentication.k8s.io")).await.ok();
    let review = &reviews["components"]["schemas"]["io.k8s.api.authentication.v1.TokenReview"];
    assert_eq!(review["x-kubernetes-group-version-kind"][0]["kind"], "TokenReview");
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let reply = api.ask(Method::GET, "/openapi/v2").accept(protobuf).send().await;
    assert_eq!(reply.code, 200);
    assert!(reply.raw.starts_with(b"\x0a\x032.0"), "swagger: 2.0");
    assert!(reply.raw.len() > 500_000, "{}", reply.raw.len());
}
