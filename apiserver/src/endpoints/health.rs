//! `/livez`, `/readyz` and `/healthz`: named checks.

use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};
use tokio::time::timeout;

use super::respond;
use crate::request::query::Query;
use crate::server::Server;

/// How long the store may take to answer before it counts as away.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// One named check.
struct Check {
    name: &'static str,
    ok: bool,
    why: String,
}

async fn checks(server: &Server, path: &str) -> Vec<Check> {
    let mut all = vec![Check { name: "ping", ok: true, why: String::new() }];
    let revision = server.registry().storage().current_revision();
    let store = timeout(STORE_TIMEOUT, revision).await.is_ok_and(|r| r.is_ok());
    all.push(Check { name: "etcd", ok: store, why: "the store does not answer".into() });
    if path.starts_with("/readyz") {
        let ready = server.is_bootstrapped();
        all.push(Check { name: "informer-sync", ok: ready, why: "the watch cache is being filled".into() });
        all.push(Check {
            name: "poststarthook/rbac/bootstrap-roles",
            ok: ready,
            why: "the default roles are not in place yet".into(),
        });
        let running = !server.stopping().is_cancelled();
        all.push(Check { name: "shutdown", ok: running, why: "process is shutting down".into() });
    }
    all
}

/// Answers a health path; `None` when it is none.
pub async fn answer(server: &Server, path: &str, query: &Query) -> Option<Response<Body>> {
    let (root, name) = match path.trim_start_matches('/').split_once('/') {
        Some((root, name)) => (root, Some(name)),
        None => (path.trim_start_matches('/'), None),
    };
    if !["livez", "readyz", "healthz"].contains(&root) {
        return None;
    }
    let excluded = query.all("exclude");
    let mut checks = checks(server, path).await;
    if let Some(name) = name {
        checks.retain(|c| c.name == name);
        if checks.is_empty() {
            return Some(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
        }
    }
    checks.retain(|c| !excluded.iter().any(|e| e == c.name));
    let failed = checks.iter().any(|c| !c.ok);
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    if !failed && !query.flag("verbose") {
        return Some(respond::text(code, "ok"));
    }
    let mut body = String::new();
    for c in &checks {
        if c.ok {
            body.push_str(&format!("[+]{} ok\n", c.name));
        } else {
            // The reason goes to the log; whoever asks need not be trusted with it.
            tracing::debug!(check = c.name, why = %c.why, "a health check fails");
            body.push_str(&format!("[-]{} failed: reason withheld\n", c.name));
        }
    }
    body.push_str(&format!("{root} check {}\n", if failed { "failed" } else { "passed" }));
    Some(respond::text(code, body))
}
