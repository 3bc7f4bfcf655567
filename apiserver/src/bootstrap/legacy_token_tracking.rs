//! The config map that says since when the use of tokens in secrets is written down: those that were not used since
//! may be removed one day. It is made at start and again when it goes, but not more often than every half hour, so that
//! API servers of different versions do not fight; a date that cannot be read is written anew. Source of the rules:
//! upstream's `legacytokentracking`.

use std::sync::Arc;
use std::time::Duration;

use api_types::meta::str_at;
use api_types::status::Status;
use jiff::Timestamp;
use jiff::civil::Date;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::keep::keep;
use super::{ensure, kind};
use crate::authn::UserInfo;
use crate::registry::read::Freshness;
use crate::registry::{Part, UpdateOptions, Write, parse_stored};
use crate::server::Server;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-apiserver-legacy-service-account-token-tracking";
const KEY: &str = "since";
/// Between two times that it is made.
const PAUSE: Duration = Duration::from_secs(30 * 60);

fn today() -> String {
    Timestamp::now().strftime("%Y-%m-%d").to_string()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// Puts it in place.
pub(super) async fn run(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {KEY: today()}});
    ensure(server, kind("", "configmaps")?, NAMESPACE, object, write).await
}

/// Sees to it while the server runs.
pub(super) async fn follow(server: Arc<Server>) {
    let Ok(kind) = kind("", "configmaps") else { return };
    let user = UserInfo::api_server();
    let write = Write::own(&user);
    let made: Mutex<Option<Instant>> = Mutex::new(None);
    let look = || async {
        let found = match server.registry().get(kind, NAMESPACE, NAME, Freshness::Consistent).await {
            Ok(found) => found,
            Err(s) if s.reason == "NotFound" => {
                if let Some(rest) = made.lock().and_then(|at| PAUSE.checked_sub(at.elapsed())) {
                    return Ok(Some(rest));
                }
                run(&server, &write).await?;
                *made.lock() = Some(Instant::now());
                return Ok(None);
            }
            Err(s) => return Err(s),
        };
        if !is_date(str_at(&parse_stored(&found.bytes)?, &["data", KEY])) {
            correct(&server, &write).await?;
        }
        Ok(None)
    };
    keep(&server, kind, NAMESPACE, NAME, look).await;
}

async fn correct(server: &Server, write: &Write<'_>) -> Result<(), Status> {
    let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
    let derive = |current: Option<&Value>| {
        let mut new = current.cloned().unwrap_or_default();
        if !is_date(str_at(&new, &["data", KEY])) {
            new["data"][KEY] = today().into();
        }
        Ok(new)
    };
    match server.registry().update(kind("", "configmaps")?, NAMESPACE, NAME, options, write, derive).await {
        Err(s) if s.reason == "NotFound" => Ok(()),
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        assert!(is_date(&today()));
        for text in ["", "x", "2026-13-01", "2026-1-1", "2026-01-01T00:00:00Z", "+002026-01"] {
            assert!(!is_date(text), "{text}");
        }
    }
}
