//! Events: one object, two forms.

use serde_json::json;

use crate::common::{Api, MERGE, names};

const CORE: &str = "/api/v1/namespaces/default/events";
const GROUP: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn core(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "reason": "Pulled", "message": "m", "type": "Normal",
        "source": {"component": "agent", "host": "n1"}, "count": 2,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}})
}

#[tokio::test]
async fn both_groups_show_the_same() {
    let api = Api::start().await;
    let made = api.post(CORE, &core("e1")).await.created();
    let other = api.get(&format!("{GROUP}/e1")).await.ok();
    assert_eq!(other["apiVersion"], "events.k8s.io/v1");
    assert_eq!(other["note"], "m");
    assert_eq!(other["regarding"]["name"], "p");
    assert_eq!(other["deprecatedCount"], 2);
    assert_eq!(other["metadata"]["uid"], made["metadata"]["uid"]);
    let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e2"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i",
        "action": "Bind", "reason": "Scheduled", "type": "Normal", "note": "n",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "q"}});
    api.post(GROUP, &new).await.created();
    let shown = api.get(&format!("{CORE}/e2")).await.ok();
    assert_eq!(shown["message"], "n");
    assert_eq!(shown["involvedObject"]["name"], "q");
    assert_eq!(shown["reportingComponent"], "c");
    for path in [CORE, GROUP] {
        let list = api.get(path).await.ok();
        assert_eq!(names(&list), ["e1", "e2"]);
    }
    let patched = api
        .patch(
            &format!("{GROUP}/e2"),
            MERGE,
            &json!({"series": {"count": 3, "lastObservedTime": "2026-01-01T00:02:00.000000Z"}}),
        )
        .await
        .ok();
    assert_eq!(patched["series"]["count"], 3);
}

#[tokio::test]
async fn watches_and_selectors() {
    let api = Api::start().await;
    let mut core_watch = api.watch(&format!("{CORE}?watch=1&fieldSelector=involvedObject.name=p")).await;
    let mut group_watch = api.watch(&format!("{GROUP}?watch=1")).await;
    let mut other = core("other");
    other["involvedObject"]["name"] = "q".into();
    api.post(CORE, &other).await.created();
    api.post(CORE, &core("mine")).await.created();
    assert_eq!(core_watch.short().await, "ADDED mine");
    let (_, first) = group_watch.event().await;
    assert_eq!(first["regarding"]["name"], "q");
    let selected =
        api.get(&format!("{CORE}?fieldSelector=involvedObject.name=p,reason=Pulled,type=Normal")).await.ok();
    assert_eq!(names(&selected), ["mine"]);
    api.get(&format!("{CORE}?fieldSelector=note=x")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn an_event_stays_in_its_namespace() {
    let api = Api::start().await;
    let mut e = core("e");
    e["involvedObject"]["namespace"] = "elsewhere".into();
    let message = api.post(CORE, &e).await.refused(422, "Invalid");
    assert!(message.contains("involvedObject.namespace"), "{message}");
}
