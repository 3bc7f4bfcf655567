//! Raw requests to an API server: what kubectl does not show (status codes, reasons) or is too slow for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

/// An API client with its own runtime.
#[derive(Clone)]
pub struct Api {
    runtime: Arc<Runtime>,
    config: Config,
    /// The client itself, for asynchronous tests.
    pub client: Client,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The body; a string when it is no JSON.
    pub body: Value,
    /// The `Warning` headers.
    pub warnings: Vec<String>,
}

impl Answer {
    /// A field of the body by JSON pointer, as text.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }
    /// The object's resource version.
    pub fn resource_version(&self) -> u64 {
        self.text("/metadata/resourceVersion").parse().unwrap_or(0)
    }
    /// The answer when its code is one of 200, 201, 202.
    pub fn success(self) -> Result<Self> {
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.body);
        Ok(self)
    }
}

impl Api {
    /// A client with the identity of a kubeconfig.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("starting a runtime")?;
        let kubeconfig =
            Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
        let config = runtime
            .block_on(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()))
            .context("reading the kubeconfig")?;
        Self::new(Arc::new(runtime), config)
    }

    fn new(runtime: Arc<Runtime>, mut config: Config) -> Result<Self> {
        config.read_timeout = Some(Duration::from_secs(60));
        // What the server says is what a test wants to see: the client must not ask again by itself.
        config.default_retry = false;
        let guard = runtime.enter();
        let client = Client::try_from(config.clone()).context("making a client")?;
        drop(guard);
        Ok(Self { runtime, config, client })
    }

    /// The same server with other credentials: a bearer token, or nobody's.
    pub fn with_token(&self, token: Option<&str>) -> Result<Self> {
        let mut config = self.config.clone();
        config.auth_info = kube::config::AuthInfo::default();
        config.auth_info.token = token.map(|t| t.to_owned().into());
        Self::new(self.runtime.clone(), config)
    }

    /// A client with a connection of its own.
    pub fn another(&self) -> Result<Self> {
        Self::new(self.runtime.clone(), self.config.clone())
    }

    /// Runs something asynchronous to its end.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Sends a request; headers are pairs.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        self.wait(send(&self.client, method, path, headers, body))
    }
    /// GET.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], Vec::new())
    }
    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().into_bytes())
    }
    /// PUT of JSON.
    pub fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send("PUT", path, &[("content-type", "application/json")], body.to_string().into_bytes())
    }
    /// A merge patch.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        let header = [("content-type", "application/merge-patch+json")];
        self.send("PATCH", path, &header, body.to_string().into_bytes())
    }
    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.send("DELETE", path, &[], Vec::new())
    }
}

/// Sends a request.
pub async fn send(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer> {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).context("making a request")?;
    let response = client.send(request).await.with_context(|| format!("{method} {path}"))?;
    let (parts, body) = response.into_parts();
    let warnings = parts.headers.get_all("warning");
    let warnings = warnings.iter().filter_map(|w| w.to_str().ok()).map(str::to_owned).collect();
    let bytes =
        body.collect_bytes().await.with_context(|| format!("reading the answer of {method} {path}"))?;
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer { status: parts.status.as_u16(), body, warnings })
}
