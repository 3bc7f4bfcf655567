//! Whether a token whose signature is right is good now. Words and order: upstream's `claims.go`.

use std::sync::Arc;

use api_types::catalog::{self, Kind};
use api_types::meta::{at, str_at};
use jiff::Timestamp;
use serde_json::Value;

use crate::authn::user::{SERVICE_ACCOUNT_PREFIX, service_account_groups};
use crate::authn::{Authenticated, Refused, UserInfo};
use crate::cache::CachedObject;
use crate::registry::read::Freshness;
use crate::registry::{Registry, parse_stored};
use crate::server::metrics::tokens::Tokens as Uses;

/// How long an account or pod that is being deleted is still believed: its last words.
const DELETION_LEEWAY_SECONDS: i64 = 60;

const INVALIDATED: &str = "service account token has been invalidated";

/// The user of verified claims, for one of the audiences that are `wanted`.
pub(super) async fn judge(
    registry: &Registry,
    uses: &Uses,
    claims: &Value,
    wanted: &[String],
    now: i64,
) -> Result<Authenticated, Refused> {
    let refuse = |why: &str| Err(Refused::new(why));
    let number = |f: &str| claims.get(f).and_then(Value::as_i64);
    let common = common(&audiences(claims), wanted)?;
    if number("nbf").is_some_and(|t| now < t) {
        return refuse("service account token is not valid yet");
    }
    if number("exp").is_none_or(|t| now >= t) {
        return refuse("service account token has expired");
    }
    let private = claims.get("kubernetes.io").unwrap_or(&Value::Null);
    let namespace = str_at(private, &["namespace"]);
    let account = str_at(private, &["serviceaccount", "name"]);
    if namespace.is_empty() || account.is_empty() {
        return refuse("service account token claims could not be validated");
    }
    let there = Lookup { registry, now };
    let uid = str_at(private, &["serviceaccount", "uid"]);
    if there.find("serviceaccounts", namespace, account, uid).await.is_none() {
        return refuse(INVALIDATED);
    }
    for (claim, plural, scope) in
        [("secret", "secrets", namespace), ("pod", "pods", namespace), ("node", "nodes", "")]
    {
        let Some(bound) = at(private, &[claim]) else { continue };
        // The node of a pod is told, not bound to: a pod outlives its node's registration.
        if claim == "node" && private.get("pod").is_some() {
            continue;
        }
        if there.find(plural, scope, str_at(bound, &["name"]), str_at(bound, &["uid"])).await.is_none() {
            return refuse(INVALIDATED);
        }
    }
    if let Some(warn_after) = at(private, &["warnafter"]).and_then(Value::as_i64).filter(|t| *t != 0) {
        if now > warn_after { &uses.stale } else { &uses.valid }.inc();
    }
    let user = Arc::new(user(namespace, account, uid, private, str_at(claims, &["jti"])));
    Ok(Authenticated { user, audiences: common, warnings: Vec::new() })
}

/// The audiences that are in both lists: there must be one.
pub(super) fn common(audiences: &[String], wanted: &[String]) -> Result<Vec<String>, Refused> {
    let common: Vec<String> = audiences.iter().filter(|a| wanted.contains(a)).cloned().collect();
    if common.is_empty() {
        return Err(Refused::new(format!(
            "token audiences {audiences:?} is invalid for the target audiences {wanted:?}"
        )));
    }
    Ok(common)
}

pub(super) fn audiences(claims: &Value) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn user(namespace: &str, account: &str, uid: &str, private: &Value, jti: &str) -> UserInfo {
    let groups = service_account_groups(namespace).to_vec();
    let mut user = UserInfo::authenticated(format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{account}"), groups);
    user.uid = uid.to_owned();
    let mut tell = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    for object in ["pod", "node"] {
        tell(&format!("{object}-name"), str_at(private, &[object, "name"]));
        tell(&format!("{object}-uid"), str_at(private, &[object, "uid"]));
    }
    if !jti.is_empty() {
        tell("credential-id", &format!("JTI={jti}"));
    }
    user
}

struct Lookup<'a> {
    registry: &'a Registry,
    now: i64,
}

impl Lookup<'_> {
    /// The object with this name and identity, unless it has been on its way out for too long.
    async fn find(&self, plural: &str, namespace: &str, name: &str, uid: &str) -> Option<()> {
        let kind = catalog::by_resource("", "v1", plural)?;
        let object = self.object(kind, namespace, name, uid).await?;
        if object.uid() != uid {
            return None;
        }
        if !object.index.is_deleting() {
            return Some(());
        }
        let object = parse_stored(&object.bytes).ok()?;
        let deleted: Option<Timestamp> = str_at(&object, &["metadata", "deletionTimestamp"]).parse().ok();
        let gone = deleted.is_some_and(|t| t.as_second() + DELETION_LEEWAY_SECONDS < self.now);
        (!gone).then_some(())
    }

    /// From the cache; where that does not know it, or knows another one by its name, from the store.
    async fn object(&self, kind: &Kind, namespace: &str, name: &str, uid: &str) -> Option<Arc<CachedObject>> {
        let cached = self.registry.peek(kind, namespace, name).filter(|o| o.uid() == uid);
        match cached {
            Some(found) => Some(found),
            None => self.registry.get(kind, namespace, name, Freshness::Consistent).await.ok(),
        }
    }
}
