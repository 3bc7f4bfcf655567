//! From a request to its handler: one file a verb or subresource, generic over the catalog entry.
//!
//! [`dispatch`] is the whole router. It looks the kind up in the catalog, checks that the kind serves the verb, and
//! calls the handler; a new kind changes nothing here.

mod apply;
mod binding;
pub(crate) mod compress;
mod computed;
mod create;
mod delete;
mod ephemeral_containers;
mod eviction;
mod finalize;
mod get;
pub mod health;
mod list;
mod manager;
mod node_proxy;
pub(crate) mod openid;
mod patch;
mod pieces;
mod proxy;
pub mod respond;
pub(crate) mod reviews;
mod scale;
pub(crate) mod snapshot;
mod token;
mod update;
mod watch;
pub mod yaml;

use std::sync::Arc;
use std::time::Instant;

use api_types::catalog::{self, Kind, Subresource};
use api_types::status::Status;
use axum::body::Body;
use http::{Method, StatusCode, header};
use parking_lot::Mutex;

use crate::authn::UserInfo;
use crate::discovery;
use crate::registry::read::Freshness;
use crate::registry::{Owners, Part, Registry, Warnings, Write};
use crate::request::RequestInfo;
use crate::request::negotiate::{self, Encoding, Form};
use crate::request::options::{self, Manner};
use crate::request::query::Query;
use crate::server::Server;
use respond::Answer;

/// One request for a resource, on its way to a handler.
pub struct Call<'a> {
    /// The server.
    pub server: &'a Arc<Server>,
    /// What is asked.
    pub info: &'a RequestInfo,
    /// Of which kind.
    pub kind: &'static Kind,
    /// With which parameters.
    pub query: Query,
    /// By whom.
    pub user: Arc<UserInfo>,
    /// The form of the answer.
    pub form: Form,
    /// How the answer is written. What is there as a whole is brought to it at the edge.
    pub encoding: Encoding,
    parts: http::request::Parts,
    body: Mutex<Option<Body>>,
    /// What the client should read beside the answer.
    warnings: Warnings,
}

impl Call<'_> {
    /// The generic store.
    pub fn registry(&self) -> &Registry {
        self.server.registry()
    }

    /// Waits until reads are as fresh as asked, and counts how long it took.
    pub async fn freshen(&self, freshness: Freshness) -> Result<(), Status> {
        if freshness != Freshness::Consistent {
            return self.registry().freshen(freshness).await;
        }
        let started = Instant::now();
        let fresh = self.registry().freshen(freshness).await;
        self.server.metrics().resources().waited(self.kind, started.elapsed(), fresh.is_ok());
        fresh
    }

    /// The HTTP method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path and query as they were sent.
    pub fn uri(&self) -> &http::Uri {
        &self.parts.uri
    }

    /// A header of the request.
    pub fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The media type of the body.
    pub fn content_type(&self) -> Option<&str> {
        self.parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok())
    }

    /// What the client says it is.
    fn user_agent(&self) -> &str {
        self.parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// The body; empty when it was taken before.
    pub fn take_body(&self) -> Body {
        self.body.lock().take().unwrap_or_default()
    }

    /// The whole request again, for handlers that pass it on.
    pub fn into_request(self) -> http::Request<Body> {
        let body = self.body.into_inner().unwrap_or_default();
        http::Request::from_parts(self.parts, body)
    }

    /// Who writes, and how. Refuses parameters that make no sense; those of deletions are judged with their body.
    pub fn write(&self) -> Result<Write<'_>, Status> {
        let manner = || match apply::is_apply(self.content_type()) {
            true => Manner::Apply,
            false => Manner::Patch,
        };
        match self.info.verb {
            "delete" | "deletecollection" => {}
            "patch" => options::write(&self.query, "PatchOptions", manner())?,
            "update" => options::write(&self.query, "UpdateOptions", Manner::Object)?,
            _ => options::write(&self.query, "CreateOptions", Manner::Object)?,
        }
        Ok(Write {
            user: &self.user,
            dry_run: self.query.dry_run(),
            subresource: self.subresource().map_or("", Subresource::path),
            owners: Owners::Update(manager::of(&self.query, self.user_agent()).into()),
            warnings: self.warnings.clone(),
        })
    }

    /// What a PUT or PATCH of this path may change.
    pub fn part(&self) -> Part {
        match self.subresource() {
            Some(Subresource::Status) => Part::Status,
            Some(Subresource::Approval) => Part::Approval,
            Some(Subresource::Resize) => Part::Resize,
            _ => Part::Whole,
        }
    }

    /// The subresource of the path, where the kind has it.
    fn subresource(&self) -> Option<Subresource> {
        self.kind.subresources.iter().copied().find(|s| s.path() == self.info.subresource)
    }
}

/// What can be created and nothing else, as (group, kind, plural, namespaced): it is asked and answered, not stored.
pub fn created_only() -> impl Iterator<Item = (&'static str, &'static str, &'static str, bool)> {
    let reviews = reviews::ALL.into_iter().map(|(_, group, kind, plural, ns)| (group, kind, plural, ns));
    reviews.chain([("", "Binding", binding::PLURAL, true)])
}

/// Answers a request for a resource that was authenticated and authorized.
pub async fn dispatch(
    server: &Arc<Server>,
    info: &RequestInfo,
    user: Arc<UserInfo>,
    request: http::Request<Body>,
) -> Answer {
    if let Some(review) = reviews::find(info) {
        return review.answer(server, &user, info, request).await;
    }
    // The older place of a binding names its pod in the body.
    let binding = info.group.is_empty() && info.resource == binding::PLURAL;
    let resource = if binding { "pods" } else { info.resource.as_str() };
    let Some(kind) = catalog::by_resource(&info.group, &info.version, resource) else {
        return match discovery::serves(&info.path) {
            true => Err(Status::no_such_path()),
            false => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
        };
    };
    // A namespaced object has no path outside a namespace, and the other way round.
    let in_namespace = !info.namespace.is_empty();
    if kind.namespaced() && !in_namespace && !(info.name.is_empty() || info.is_collection()) {
        return Err(Status::no_such_path());
    }
    if !kind.namespaced() && in_namespace && kind.plural != "namespaces" {
        return Err(Status::no_such_path());
    }
    let (parts, body) = request.into_parts();
    let accept = parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let streams = matches!(info.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy");
    let (form, encoding) = if streams { Default::default() } else { negotiate::negotiate(accept)? };
    let query = Query::parse(parts.uri.query());
    let warnings = Warnings::default();
    warnings.add(kind.strategy.deprecation().map(str::to_owned));
    let body = Mutex::new(Some(body));
    let call =
        Call { server, info, kind, query, user, form, encoding, parts, body, warnings: warnings.clone() };
    let answer = if binding {
        binding::bind_named_in_body(call).await
    } else if info.subresource.is_empty() {
        whole(call).await
    } else {
        below(call).await
    };
    let warnings = warnings.all();
    if warnings.is_empty() {
        return answer;
    }
    // A refusal is answered here, so that what was to be said of the request is said with it.
    let mut response = answer.unwrap_or_else(|refusal| respond::status(&refusal));
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Verbs on the object itself or its collection.
async fn whole(call: Call<'_>) -> Answer {
    let verb = call.info.verb;
    // A new object is posted to its collection.
    if verb == "create" && !call.info.name.is_empty() {
        return Err(Status::method_not_allowed());
    }
    // Nothing is written, and nothing is swept away, across namespaces.
    if matches!(verb, "create" | "deletecollection")
        && call.kind.namespaced()
        && call.info.namespace.is_empty()
    {
        return Err(Status::method_not_allowed());
    }
    // A collection is neither replaced nor patched.
    if matches!(verb, "update" | "patch") && call.info.name.is_empty() {
        return Err(Status::method_not_allowed());
    }
    // The old form of a watch is one by its path, whatever the method.
    if verb == "watch" && !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    if !call.kind.verbs.contains(&verb) {
        return Err(Status::method_not_allowed());
    }
    match verb {
        "get" if call.kind.computed => computed::get(&call).await,
        "list" if call.kind.computed => computed::list(&call).await,
        "get" => get::get(&call).await,
        "list" => list::list(&call).await,
        "watch" => watch::watch(&call).await,
        "create" => create::create(call).await,
        "update" => update::update(call).await,
        "patch" => patch::patch(call).await,
        "delete" => delete::delete(call).await,
        "deletecollection" => delete::delete_collection(call).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Verbs on a subresource.
async fn below(call: Call<'_>) -> Answer {
    let Some(subresource) = call.subresource() else {
        return Err(Status::no_such_path());
    };
    if !subresource.verbs().contains(&call.info.verb) {
        return Err(Status::method_not_allowed());
    }
    match (subresource, call.info.verb) {
        (Subresource::Status | Subresource::Approval | Subresource::Resize, "get") => get::get(&call).await,
        (Subresource::Status | Subresource::Approval | Subresource::Resize, "update") => {
            update::update(call).await
        }
        (Subresource::Status | Subresource::Approval | Subresource::Resize, "patch") => {
            patch::patch(call).await
        }
        (Subresource::EphemeralContainers, "get") => get::get(&call).await,
        (Subresource::EphemeralContainers, _) => ephemeral_containers::change(call).await,
        (Subresource::Scale, _) => scale::scale(call).await,
        (Subresource::Binding, _) => binding::bind(call).await,
        (Subresource::Eviction, _) => eviction::evict(call).await,
        (Subresource::Proxy, _) => proxy::proxy(call).await,
        (Subresource::Token, _) => token::issue(call).await,
        (Subresource::Finalize, _) => finalize::finalize(call).await,
        (Subresource::Log | Subresource::Exec | Subresource::Attach | Subresource::PortForward, _) => {
            node_proxy::forward(call, subresource).await
        }
        _ => Err(Status::no_such_path()),
    }
}
