//! Requests by path, for controllers that need no whole type of what they read and write.

use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Media types of patches.
const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Reads one object, or a list.
pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, kube::Error> {
    client.request(Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?).await
}

/// Replaces an object.
pub(crate) async fn put(client: &Client, path: &str, object: &Value) -> Result<(), kube::Error> {
    send(client, Request::put(path).header(CONTENT_TYPE, "application/json"), object).await
}

/// Patches an object in the language of that media type.
pub(crate) async fn patch(
    client: &Client,
    path: &str,
    language: &str,
    patch: &Value,
) -> Result<(), kube::Error> {
    send(client, Request::patch(path).header(CONTENT_TYPE, language), patch).await
}

/// Applies a configuration as the manager of that name, whoever else owns the fields.
pub(crate) async fn apply(
    client: &Client,
    path: &str,
    manager: &str,
    configuration: &Value,
) -> Result<(), kube::Error> {
    patch(client, &format!("{path}?fieldManager={manager}&force=true"), APPLY, configuration).await
}

/// Deletes the object if it is still this incarnation, or this version.
pub(crate) async fn delete(client: &Client, path: &str, preconditions: &Value) -> Result<(), kube::Error> {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    send(client, Request::delete(path).header(CONTENT_TYPE, "application/json"), &options).await
}

async fn send(client: &Client, request: http::request::Builder, body: &Value) -> Result<(), kube::Error> {
    let body = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    client.request_text(request.body(body).map_err(kube::Error::HttpError)?).await.map(drop)
}
