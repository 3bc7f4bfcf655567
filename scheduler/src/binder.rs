//! Tells the API server which node a pod got. Many bindings are under way at a time; the driver goes on deciding.

use std::sync::Arc;

use http::{Request, header};
use kube::Client;
use serde_json::json;

use crate::pod::PodInfo;

/// How a binding ended.
pub(crate) struct Bound {
    pub pod: Arc<PodInfo>,
    pub node: Arc<str>,
    pub result: Result<(), kube::Error>,
}

/// Binds `pod` to `node`.
pub(crate) async fn bind(client: Client, pod: Arc<PodInfo>, node: Arc<str>) -> Bound {
    let result = post(&client, &pod, &node).await;
    Bound { pod, node, result }
}

async fn post(client: &Client, pod: &PodInfo, node: &str) -> Result<(), kube::Error> {
    let binding = json!({"apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": &*pod.name, "namespace": &*pod.namespace, "uid": &*pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let request = Request::post(format!("/api/v1/namespaces/{}/pods/{}/binding", pod.namespace, pod.name))
        .header(header::CONTENT_TYPE, "application/json")
        .body(binding.to_string().into_bytes());
    client.request_text(request.map_err(kube::Error::HttpError)?).await.map(drop)
}
