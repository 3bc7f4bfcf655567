//! ComponentStatuses, which nobody stores.

use http::Method;
use serde_json::json;

use crate::common::{Api, names};

#[tokio::test]
async fn component_statuses() {
    let api = Api::start().await;
    let path = "/api/v1/componentstatuses";
    let reply = api.get(path).await;
    assert_eq!(reply.warnings(), ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let list = reply.ok();
    assert_eq!(list["kind"], "ComponentStatusList");
    assert_eq!(names(&list), ["controller-manager", "scheduler", "etcd-0"]);
    assert_eq!(
        list["items"][2]["conditions"],
        json!([{"type": "Healthy", "status": "True", "message": "ok"}])
    );
    let one = api.get(&format!("{path}/etcd-0")).await.ok();
    assert_eq!(one["kind"], "ComponentStatus");
    assert_eq!(one["conditions"][0]["status"], "True");
    assert_eq!(api.get(&format!("{path}/none")).await.refused(500, ""), "component not found: none");
    let selected = api.get(&format!("{path}?fieldSelector=metadata.name=scheduler")).await.ok();
    assert_eq!(names(&selected), ["scheduler"]);
    assert_eq!(names(&api.get(&format!("{path}?labelSelector=a=b")).await.ok()), Vec::<String>::new());
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = api.ask(Method::GET, path).accept(table).send().await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["controller-manager", "Unknown", "", ""]));
    assert_eq!(table["rows"][2]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    api.post(path, &json!({"metadata": {"name": "x"}})).await.refused(405, "MethodNotAllowed");
    api.delete(&format!("{path}/etcd-0")).await.refused(405, "MethodNotAllowed");
    api.get(&format!("{path}?watch=1")).await.refused(405, "MethodNotAllowed");
}
