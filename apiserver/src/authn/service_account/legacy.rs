//! Tokens that are kept in secrets of the type `kubernetes.io/service-account-token`. They have no end: such a token is
//! good as long as its secret holds it and its account is the one it was issued for. Its use is written down in a
//! label of the secret, so that those nobody uses can be found, marked as invalid and removed. Words and order:
//! upstream's `pkg/serviceaccount/legacy.go`.

use std::sync::Arc;

use api_types::catalog;
use api_types::meta::{self, str_at};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Signer, validate};
use crate::authn::user::split_service_account;
use crate::authn::{Authenticated, Refused, UserInfo};
use crate::registry::read::Freshness;
use crate::registry::{Part, Registry, UpdateOptions, Write, parse_stored};
use crate::server::metrics::tokens::Tokens as Uses;

/// Who issues them.
pub const ISSUER: &str = "kubernetes/serviceaccount";

const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const AUTO_GENERATED: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.";

const ACCOUNT: &str = "kubernetes.io/serviceaccount/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/serviceaccount/service-account.uid";
const SECRET: &str = "kubernetes.io/serviceaccount/secret.name";
const NAMESPACE: &str = "kubernetes.io/serviceaccount/namespace";

/// Signs the token of an account that is to be kept in a secret.
pub fn sign(
    signer: &Signer,
    namespace: &str,
    account: &str,
    account_uid: &str,
    secret: &str,
) -> Result<String, String> {
    signer.sign(&json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        NAMESPACE: namespace,
        SECRET: secret,
        ACCOUNT: account,
        ACCOUNT_UID: account_uid,
    }))
}

/// The user of verified claims, for one of the audiences that are `wanted`. A token that names no audience is for
/// this server's `own`.
pub(super) async fn judge(
    registry: &Registry,
    uses: &Uses,
    token: &str,
    claims: &Value,
    own: &[String],
    wanted: &[String],
) -> Result<Authenticated, Refused> {
    let named = validate::audiences(claims);
    if named.is_empty() {
        uses.legacy.inc();
    }
    let common = validate::common(if named.is_empty() { own } else { &named }, wanted)?;
    let claim = |name: &str, called: &str| match str_at(claims, &[name]) {
        "" => Err(Refused::new(format!("{called} claim is missing"))),
        text => Ok(text.to_owned()),
    };
    let subject = claim("sub", "sub")?;
    let namespace = claim(NAMESPACE, "namespace")?;
    let secret_name = claim(SECRET, "secretName")?;
    let account_name = claim(ACCOUNT, "serviceAccountName")?;
    let account_uid = claim(ACCOUNT_UID, "serviceAccountUID")?;
    if split_service_account(&subject) != Some((&namespace, &account_name)) {
        return Err(Refused::new("sub claim is invalid"));
    }
    let secret = secret_of(registry, &namespace, &secret_name, token).await?;
    let account = account_of(registry, &namespace, &account_name, &account_uid).await?;
    if !str_at(&secret, &["metadata", "labels", INVALID_SINCE]).is_empty() {
        uses.invalidated.inc();
        note_use(registry, &secret).await;
        return Err(Refused::new(format!(
            "the token in secret {namespace}/{secret_name} for service account {namespace}/{account_name} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
        )));
    }
    let listed = account.get("secrets").and_then(Value::as_array).into_iter().flatten();
    let auto_generated = listed.into_iter().any(|reference| str_at(reference, &["name"]) == secret_name);
    if auto_generated { &uses.auto } else { &uses.manual }.inc();
    note_use(registry, &secret).await;
    let user = validate::user(&namespace, &account_name, &account_uid, &Value::Null, "");
    let warnings = if auto_generated { vec![AUTO_GENERATED.to_owned()] } else { Vec::new() };
    Ok(Authenticated { user: Arc::new(user), audiences: common, warnings })
}

/// The secret that holds the token.
async fn secret_of(registry: &Registry, namespace: &str, name: &str, token: &str) -> Result<Value, Refused> {
    // Compared by their digests, so that the time it takes tells nothing about the secret.
    let wanted = Sha256::digest(token);
    let holds = |secret: &Value| {
        let data = STANDARD.decode(str_at(secret, &["data", "token"])).unwrap_or_default();
        Sha256::digest(data) == wanted
    };
    // What the cache does not know as the token says, it may not know yet.
    let mut found = find(registry, "secrets", namespace, name, Freshness::Any).await;
    if !found.as_ref().is_some_and(&holds) {
        found = find(registry, "secrets", namespace, name, Freshness::Consistent).await;
    }
    match found {
        None => Err(Refused::new("Token has been invalidated")),
        Some(secret) if meta::is_deleting(&secret) => Err(Refused::new("Token has been invalidated")),
        Some(secret) if !holds(&secret) => Err(Refused::new("Token does not match server's copy")),
        Some(secret) => Ok(secret),
    }
}

/// The account that the token was issued for.
async fn account_of(registry: &Registry, namespace: &str, name: &str, uid: &str) -> Result<Value, Refused> {
    let mut found = find(registry, "serviceaccounts", namespace, name, Freshness::Any).await;
    if found.as_ref().is_none_or(|account| meta::uid(account) != uid) {
        found = find(registry, "serviceaccounts", namespace, name, Freshness::Consistent).await;
    }
    let account = found.ok_or_else(|| Refused::new(format!("serviceaccount {name:?} not found")))?;
    if meta::is_deleting(&account) {
        return Err(Refused::new(format!("ServiceAccount {namespace}/{name} has been deleted")));
    }
    if meta::uid(&account) != uid {
        let there = meta::uid(&account);
        return Err(Refused::new(format!("ServiceAccount UID ({there}) does not match claim ({uid})")));
    }
    Ok(account)
}

async fn find(
    registry: &Registry,
    plural: &str,
    namespace: &str,
    name: &str,
    freshness: Freshness,
) -> Option<Value> {
    let kind = catalog::by_resource("", "v1", plural)?;
    parse_stored(&registry.get(kind, namespace, name, freshness).await.ok()?.bytes).ok()
}

/// The date in UTC as the labels have it.
fn date(t: Timestamp) -> String {
    t.strftime("%Y-%m-%d").to_string()
}

/// Whether a label says that the token was used today; another server's day may have begun already.
fn is_recent(last_used: &str, now: Timestamp) -> bool {
    let tomorrow = now.checked_add(SignedDuration::from_hours(24)).unwrap_or(now);
    last_used == date(now) || last_used == date(tomorrow)
}

/// Writes down, once a day, that the token of a secret is used. A failure is no reason to refuse the token.
async fn note_use(registry: &Registry, secret: &Value) {
    let now = Timestamp::now();
    if is_recent(str_at(secret, &["metadata", "labels", LAST_USED]), now) {
        return;
    }
    let Some(kind) = catalog::by_resource("", "v1", "secrets") else { return };
    let user = UserInfo::api_server();
    let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
    let derive = |current: Option<&Value>| {
        let mut new = current.cloned().unwrap_or_default();
        // Another request of today may have been faster; another secret of that name is not meant.
        let same = meta::uid(&new) == meta::uid(secret);
        if same && !is_recent(str_at(&new, &["metadata", "labels", LAST_USED]), now) {
            let labels = meta::metadata_mut(&mut new).entry("labels").or_insert_with(|| json!({}));
            labels[LAST_USED] = date(now).into();
        }
        Ok(new)
    };
    let (namespace, name) = (meta::namespace(secret), meta::name(secret));
    let written = registry.update(kind, namespace, name, options, &Write::own(&user), derive).await;
    if let Err(status) = written {
        tracing::warn!(namespace, name, error = status.message, "the use of a token is not written down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_recent_today_and_tomorrow() {
        let now: Timestamp = "2026-02-28T23:59:00Z".parse().unwrap();
        for (label, recent) in [
            ("2026-02-28", true),
            ("2026-03-01", true),
            ("2026-02-27", false),
            ("2026-03-02", false),
            ("", false),
        ] {
            assert_eq!(is_recent(label, now), recent, "{label}");
        }
    }
}
