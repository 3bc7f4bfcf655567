//! `/livez`, `/readyz` and `/healthz`: upstream's named checks, together or one by one.
//!
//! Checks come in upstream's order. The store is asked once a request, and only when a check that needs it is not
//! excluded. Why a check fails is told only to who may ask for that check by its name, and to the log.

mod log_check;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::respond;
use crate::registry::chain;
use crate::request::query::Query;
use crate::server::Server;
use crate::server::hooks::Hook;
pub use log_check::LogCheck;

/// How long the store may take to answer before it counts as away.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Ping,
    Log,
    Etcd,
    EtcdReadiness,
    InformerSync,
    Hook(Hook),
    Shutdown,
}

impl Check {
    /// Those of a path. Whether the server should get requests is more than whether it lives.
    fn of(root: &str) -> Vec<Self> {
        let ready = root == "readyz";
        let mut all = vec![Self::Ping, Self::Log, Self::Etcd];
        if ready {
            all.extend([Self::EtcdReadiness, Self::InformerSync]);
        }
        all.extend(Hook::ALL.map(Self::Hook));
        if ready {
            all.push(Self::Shutdown);
        }
        all
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Log => "log",
            Self::Etcd => "etcd",
            Self::EtcdReadiness => "etcd-readiness",
            Self::InformerSync => "informer-sync",
            Self::Hook(hook) => hook.check(),
            Self::Shutdown => "shutdown",
        }
    }

    /// Why it fails.
    async fn run(self, server: &Server, store: &StoreCheck) -> Result<(), String> {
        let unless = |fine: bool, why: &str| if fine { Ok(()) } else { Err(why.to_owned()) };
        match self {
            Self::Ping => Ok(()),
            Self::Log => server.log_check().check(),
            Self::Etcd | Self::EtcdReadiness => store.run(server).await,
            Self::InformerSync => {
                unless(server.registry().cache().is_ready(), "the watch cache is not filled yet")
            }
            Self::Hook(hook) => unless(server.hooks().is_done(hook), "not finished"),
            Self::Shutdown => unless(!server.stopping().is_cancelled(), "process is shutting down"),
        }
    }
}

/// Asks the store once.
#[derive(Default)]
struct StoreCheck(OnceCell<Result<(), String>>);

impl StoreCheck {
    async fn run(&self, server: &Server) -> Result<(), String> {
        let ask = async || match timeout(STORE_TIMEOUT, server.registry().storage().current_revision()).await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("the store has not answered for {}s", STORE_TIMEOUT.as_secs())),
        };
        self.0.get_or_init(ask).await.clone()
    }
}

/// Whether a path is one of health.
pub fn serves(path: &str) -> bool {
    root_of(path).is_some()
}

fn root_of(path: &str) -> Option<(&str, Option<&str>)> {
    let path = path.strip_prefix('/')?;
    let (root, name) = path.split_once('/').map_or((path, None), |(root, name)| (root, Some(name)));
    ["livez", "readyz", "healthz"].contains(&root).then_some((root, name))
}

/// Answers a health path; `None` when it is none.
pub async fn answer(server: &Server, path: &str, query: &Query) -> Option<Response<Body>> {
    let (root, name) = root_of(path)?;
    match name {
        Some(name) => one(server, root, name).await,
        None => Some(all(server, root, query).await),
    }
}

async fn one(server: &Server, root: &str, name: &str) -> Option<Response<Body>> {
    let check = Check::of(root).into_iter().find(|check| check.name() == name)?;
    Some(match check.run(server, &StoreCheck::default()).await {
        Ok(()) => respond::text(StatusCode::OK, "ok"),
        Err(why) => {
            respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n"))
        }
    })
}

async fn all(server: &Server, root: &str, query: &Query) -> Response<Body> {
    let excluded: BTreeSet<&str> = query.all("exclude").iter().map(String::as_str).collect();
    let (mut unknown, mut failed) = (excluded.clone(), false);
    let (store, mut body) = (StoreCheck::default(), String::new());
    for check in Check::of(root) {
        let name = check.name();
        if excluded.contains(name) {
            unknown.remove(name);
            body.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if let Err(why) = check.run(server, &store).await {
            failed = true;
            // The reason goes to the log; whoever asks need not be trusted with it.
            tracing::debug!(check = name, why, "a health check fails");
            body.push_str(&format!("[-]{name} failed: reason withheld\n"));
        } else {
            body.push_str(&format!("[+]{name} ok\n"));
        }
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
        body.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            names.join(",")
        ));
    }
    if failed {
        body.push_str(&format!("{root} check failed\n"));
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, body);
    }
    if query.all("verbose").is_empty() {
        return respond::text(StatusCode::OK, "ok");
    }
    body.push_str(&format!("{root} check passed\n"));
    respond::text(StatusCode::OK, body)
}
