//! The way of a request: who, may they, is there room, do it, count it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use api_types::status::Status;
use axum::body::Body;
use futures::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::SemaphorePermit;

use super::Server;
use crate::authn::impersonation::{self, ImpersonationError};
use crate::authn::{Authenticated, AuthnError, ConnectionIdentity, UserInfo};
use crate::authz::{Attributes, Decision, Forbidden};
use crate::discovery;
use crate::endpoints::respond::{self, Answer};
use crate::endpoints::{compress, dispatch, health, openid, snapshot, yaml};
use crate::request::RequestInfo;
use crate::request::negotiate::{self, Encoding};
use crate::request::query::Query;

impl Server {
    /// Answers one request. Who asks comes as an extension: `Arc<UserInfo>` from inside the process,
    /// `Arc<ConnectionIdentity>` from a TLS connection, whose other end is its `PeerAddress`.
    pub async fn handle(self: &Arc<Self>, mut request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let query = Query::parse(request.uri().query());
        let selected = query.field_selector().ok();
        let name = selected.as_ref().and_then(|s| s.exact("metadata.name"));
        let info = RequestInfo::parse(request.method(), request.uri().path(), query.flag("watch"), name);
        let audit_id = audit_id(&mut request);
        let packed = matches!(info.verb, "get" | "list")
            && !info.is_long_running()
            && compress::is_accepted(request.headers());
        let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok());
        let yaml = info.path.starts_with("/api") && negotiate::encoding(accept) == Encoding::Yaml;
        let counted = self.metrics.begin(&info, &query, is_apply(&request));
        let mut warnings = Vec::new();
        let checked = self.checked(&info, &query, request, &mut warnings);
        let answer = AssertUnwindSafe(checked).catch_unwind().await;
        let mut response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => respond::status(&status),
            Err(_) => {
                // The panic hook has logged it; the client gets what upstream's recovery answers.
                tracing::error!(path = %info.path, verb = info.verb, "a handler panicked");
                respond::status(&Status::internal(
                    "This request caused apiserver to panic. Look in the logs for details.",
                ))
            }
        };
        if yaml {
            response = yaml::convert(response).await;
        }
        respond::warn(&mut response, &warnings);
        if packed {
            response = compress::compress(response);
        }
        response.headers_mut().insert("audit-id", audit_id);
        self.metrics.end(counted, response, started.elapsed())
    }

    async fn checked(
        self: &Arc<Self>,
        info: &RequestInfo,
        query: &Query,
        request: Request<Body>,
        warnings: &mut Vec<String>,
    ) -> Answer {
        let known = request.extensions().get::<Arc<UserInfo>>().cloned();
        let connection = request.extensions().get::<Arc<ConnectionIdentity>>().cloned();
        let started = Instant::now();
        let user = match known {
            Some(user) => user,
            None => {
                let known = self.identify(connection, request.headers()).await.map_err(|e| {
                    let filters = self.metrics.filters();
                    filters.unauthenticated(!matches!(e, AuthnError::Missing), started.elapsed());
                    tracing::debug!(error = %crate::registry::chain(&e), "a request is unauthenticated");
                    Status::unauthorized()
                })?;
                *warnings = known.warnings;
                known.user
            }
        };
        self.metrics.filters().authenticated(&user.name, started.elapsed());
        let user = match impersonation::impersonate(&user, request.headers(), self.authorizer()) {
            Ok(Some(other)) => other,
            Ok(None) => user,
            Err(ImpersonationError::Forbidden(f)) => return Err(forbidden(f)),
            Err(ImpersonationError::Invalid(text)) => return Err(Status::internal(text)),
        };
        self.authorize(&user, info, query)?;
        let _slot = self.slot(info, &user)?;
        if info.is_long_running() {
            return self.route(info, query, user, request).await;
        }
        match tokio::time::timeout(self.request_timeout, self.route(info, query, user, request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.metrics.terminated(info, StatusCode::GATEWAY_TIMEOUT);
                Err(Status::timeout(format!(
                    "Timeout: request did not complete within the allowed duration of {}s",
                    self.request_timeout.as_secs_f64()
                )))
            }
        }
    }

    async fn identify(
        &self,
        connection: Option<Arc<ConnectionIdentity>>,
        headers: &http::HeaderMap,
    ) -> Result<Authenticated, AuthnError> {
        self.authenticator.authenticate(connection.as_deref(), headers).await
    }

    fn authorize(&self, user: &UserInfo, info: &RequestInfo, query: &Query) -> Result<(), Status> {
        let selected = query.field_selector().unwrap_or_default();
        let fields: Vec<(&str, &str)> = selected
            .terms
            .iter()
            .filter(|(_, _, equal)| *equal)
            .map(|(f, v, _)| (f.as_str(), v.as_str()))
            .collect();
        let attributes = if info.is_resource {
            Attributes::resource(user, info.verb, &info.group, &info.version, &info.resource)
                .with_subresource(&info.subresource)
                .named(&info.name)
                .in_namespace(&info.namespace)
                .selecting(&fields)
        } else {
            Attributes::path(user, info.verb, &info.path)
        };
        let started = Instant::now();
        let decision = self.authorizer().authorize(&attributes);
        self.metrics.filters().authorized(&decision, started.elapsed());
        match decision {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                Err(forbidden(Forbidden::new(&attributes, &reason)))
            }
        }
    }

    /// A place among the requests in flight. What keeps the cluster alive needs none.
    fn slot(&self, info: &RequestInfo, user: &UserInfo) -> Result<Option<SemaphorePermit<'_>>, Status> {
        let vital = info.resource == "leases" || (info.resource == "nodes" && info.subresource == "status");
        if info.is_long_running()
            || (vital && user.node().is_some())
            || user.is_in("system:masters") && !info.is_resource
            || !info.is_resource && health::serves(&info.path)
        {
            return Ok(None);
        }
        let slots = if info.is_read_only() { &self.read_slots } else { &self.write_slots };
        slots.try_acquire().map(Some).map_err(|_| {
            self.metrics.terminated(info, StatusCode::TOO_MANY_REQUESTS);
            Status::too_many_requests("Too many requests, please try again later.", 1)
        })
    }

    async fn route(
        self: &Arc<Self>,
        info: &RequestInfo,
        query: &Query,
        user: Arc<UserInfo>,
        request: Request<Body>,
    ) -> Answer {
        if info.is_resource {
            return dispatch(self, info, user, request).await;
        }
        if let Some(answer) = health::answer(self, &info.path, query).await {
            return Ok(answer);
        }
        // What is left needs no body, and a body cannot be shared between threads.
        let (parts, _) = request.into_parts();
        let accept = parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
        if info.verb != "get" && info.verb != "head" {
            return Err(if discovery::answer(&info.path, None).is_some() {
                Status::method_not_allowed()
            } else {
                Status::no_such_path()
            });
        }
        if let Some(answer) = discovery::answer(&info.path, accept) {
            return answer;
        }
        if let Some(answer) = self.documents.answer(&info.path, query.get("hash"), &parts.headers) {
            return answer;
        }
        if let Some(answer) = openid::answer(self, &info.path) {
            return Ok(answer);
        }
        match info.path.as_str() {
            snapshot::PATH => snapshot::answer(self).await,
            "/metrics" => Ok(self.metrics.answer(self).await),
            "/" => Ok(respond::json(StatusCode::OK, &root_paths())),
            path if discovery::serves(path) => Err(Status::no_such_path()),
            _ => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
        }
    }
}

fn root_paths() -> serde_json::Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, versions) in api_types::catalog::groups() {
        if group.is_empty() {
            continue;
        }
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    paths.extend(
        [
            "/.well-known/openid-configuration",
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            snapshot::PATH,
            "/version",
        ]
        .map(String::from),
    );
    serde_json::json!({"paths": paths})
}

fn forbidden(f: Forbidden) -> Status {
    let mut s = Status::new(403, "Forbidden", f.message);
    let mut details = serde_json::Map::new();
    for (k, v) in [("name", f.name), ("group", f.group), ("kind", f.kind)] {
        if !v.is_empty() {
            details.insert(k.into(), v.into());
        }
    }
    s.details = details.into();
    s
}

/// Whether the body is to be applied on the server.
fn is_apply(request: &Request<Body>) -> bool {
    let media = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    media.is_some_and(|m| m.starts_with(b"application/apply-patch"))
}

/// Takes the client's audit id or makes one.
fn audit_id(request: &mut Request<Body>) -> HeaderValue {
    let own = request.headers().get("audit-id").filter(|v| v.len() <= 64).cloned();
    own.unwrap_or_else(|| {
        HeaderValue::from_str(&uuid::Uuid::new_v4().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}
