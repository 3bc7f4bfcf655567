//! The harness: an API server on a temporary directory, requests with an injected identity, parsed answers.

pub mod certificates;
pub mod kind;
pub mod objects;
pub mod owners;
mod watch;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apiserver::server::Server;
use apiserver::{Config, Datastore, Running, UserInfo};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use watch::Watch;

/// Patch media types.
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// An API server of one test, and the user that asks it.
#[derive(Clone)]
pub struct Api {
    pub server: Arc<Server>,
    user: Arc<UserInfo>,
    _owned: Arc<Owned>,
}

/// Ends with the last handle of the test.
struct Owned {
    stop: CancellationToken,
    _running: Running,
    _dir: tempfile::TempDir,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A user of the group that may do everything.
pub fn admin() -> UserInfo {
    UserInfo::authenticated("admin", vec!["system:masters".into()])
}

/// The agent of a node.
pub fn node(name: &str) -> UserInfo {
    UserInfo::authenticated(format!("system:node:{name}"), vec!["system:nodes".into()])
}

impl Api {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Self::config(dir.path(), certificates::write(dir.path()));
        std::fs::create_dir(dir.path().join("store")).unwrap();
        change(&mut config);
        let stop = CancellationToken::new();
        let running = apiserver::build(config, stop.clone()).await.unwrap().start().await.unwrap();
        let server = running.server.clone();
        Self {
            server,
            user: Arc::new(admin()),
            _owned: Arc::new(Owned { stop, _running: running, _dir: dir }),
        }
    }

    /// What a server is told that keeps everything in a directory.
    pub fn config(dir: &Path, (ca, cert, key): (PathBuf, PathBuf, PathBuf)) -> Config {
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: "127.0.0.1:6443".parse().unwrap(),
            serving: (cert, key),
            ca,
            node_client: None,
            datastore: Datastore::Embedded(dir.join("store")),
            service_network: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: (30000, 32767),
            history: Duration::from_secs(300),
            max_in_flight: (400, 200),
            request_timeout: Duration::from_secs(60),
            anonymous_auth: true,
            admission: Default::default(),
            service_accounts: Some(certificates::service_accounts(dir)),
            token_auth_file: None,
        }
    }

    /// The same server, asked by somebody else.
    pub fn acting(&self, user: UserInfo) -> Self {
        Self { user: Arc::new(user), ..self.clone() }
    }

    /// A namespace with the account that pods run as.
    pub async fn namespace(&self, name: &str) {
        self.post("/api/v1/namespaces", &objects::namespace(name)).await.created();
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
        self.post(&path, &objects::named("v1", "ServiceAccount", "default")).await.created();
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let uri = path.replace(' ', "%20");
        Ask { api: self, request: Request::builder().method(method).uri(uri).body(Body::empty()).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path).send().await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::POST, path).json(body).send().await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::PUT, path).json(body).send().await
    }

    pub async fn patch(&self, path: &str, language: &str, body: &Value) -> Reply {
        self.ask(Method::PATCH, path).json(body).media(language).send().await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path).send().await
    }

    pub async fn delete_with(&self, path: &str, options: &Value) -> Reply {
        self.ask(Method::DELETE, path).json(options).send().await
    }

    /// Opens a watch; the path carries its parameters.
    pub async fn watch(&self, path: &str) -> Watch {
        self.ask(Method::GET, path).watch().await
    }
}

/// A request that is being put together.
pub struct Ask<'a> {
    api: &'a Api,
    request: Request<Body>,
}

impl Ask<'_> {
    pub fn json(self, body: &Value) -> Self {
        self.raw(body.to_string()).media("application/json")
    }

    pub fn raw(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Body::from(body.into());
        self
    }

    pub fn media(self, media: &str) -> Self {
        self.header("content-type", media)
    }

    pub fn accept(self, media: &str) -> Self {
        self.header("accept", media)
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub async fn send(self) -> Reply {
        let (parts, body) = self.answer().await.into_parts();
        let raw = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        Reply { code: parts.status, headers: parts.headers, raw, body }
    }

    pub async fn watch(self) -> Watch {
        let (parts, body) = self.answer().await.into_parts();
        assert_eq!(parts.status, StatusCode::OK, "the watch was refused");
        Watch::new(body)
    }

    async fn answer(mut self) -> http::Response<Body> {
        self.request.extensions_mut().insert(self.api.user.clone());
        self.api.server.handle(self.request).await
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub raw: Bytes,
    pub body: Value,
}

impl Reply {
    /// The body of an answer that must have this code.
    #[track_caller]
    pub fn with(self, code: u16) -> Value {
        assert_eq!(self.code.as_u16(), code, "{}", String::from_utf8_lossy(&self.raw));
        self.body
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        self.with(200)
    }

    #[track_caller]
    pub fn created(self) -> Value {
        self.with(201)
    }

    /// The message of a refusal with this code and reason.
    #[track_caller]
    pub fn refused(self, code: u16, reason: &str) -> String {
        let status = self.with(code);
        assert_eq!(status["kind"], "Status", "{status}");
        assert_eq!(status["status"], "Failure", "{status}");
        assert_eq!(status["code"], code, "{status}");
        assert_eq!(status["reason"].as_str().unwrap_or(""), reason, "{status}");
        status["message"].as_str().unwrap_or("").to_owned()
    }

    /// The `Warning` headers.
    pub fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }
}

/// Waits until it is so, for what another task does in its own time.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// `metadata.name` of the items of a list.
pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// `metadata.resourceVersion`.
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}
