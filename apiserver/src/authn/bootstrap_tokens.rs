//! Bootstrap tokens: secrets of `kube-system` a new machine shows once. Rules: upstream's
//! `plugin/pkg/auth/authenticator/token/bootstrap`.

use std::sync::Arc;

use api_types::catalog;
use api_types::meta::{self, str_at};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Authenticated, Refused, TokenAuthenticator, UserInfo};
use crate::registry::{Registry, parse_stored};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Judges bootstrap tokens by the cached secrets.
pub struct BootstrapTokens(pub Arc<Registry>);

/// Id and secret of `abcdef.0123456789abcdef`.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits =
        |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

fn field(secret: &Value, name: &str) -> String {
    let bytes = STANDARD.decode(str_at(secret, &["data", name])).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The user of a secret, if the token is its own and it may be used to authenticate.
fn user(stored: &Value, id: &str, secret: &str, now: Timestamp) -> Option<UserInfo> {
    let expected = field(stored, "token-secret");
    let same = Sha256::digest(expected.as_bytes()) == Sha256::digest(secret.as_bytes());
    if str_at(stored, &["type"]) != TYPE
        || meta::is_deleting(stored)
        || expected.is_empty()
        || !same
        || field(stored, "token-id") != id
        || field(stored, "usage-bootstrap-authentication") != "true"
    {
        return None;
    }
    let expiration = field(stored, "expiration");
    // A time that cannot be read is as good as one that has passed.
    if !expiration.is_empty() && !expiration.parse::<Timestamp>().is_ok_and(|t| now < t) {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    let extra = field(stored, "auth-extra-groups");
    for group in extra.split(',').filter(|g| !g.is_empty()) {
        if !group.starts_with("system:bootstrappers:") {
            tracing::warn!(
                id,
                group,
                "a bootstrap token names a group that is not below system:bootstrappers:"
            );
            return None;
        }
        groups.push(group.to_owned());
    }
    Some(UserInfo::authenticated(format!("system:bootstrap:{id}"), groups))
}

#[async_trait]
impl TokenAuthenticator for BootstrapTokens {
    async fn authenticate(&self, token: &str, _: &[String]) -> Result<Option<Authenticated>, Refused> {
        let Some((id, secret)) = parts(token) else { return Ok(None) };
        let Some(kind) = catalog::by_resource("", "v1", "secrets") else { return Ok(None) };
        let name = format!("bootstrap-token-{id}");
        let Some(found) = self.0.peek(kind, NAMESPACE, &name) else { return Ok(None) };
        let stored = parse_stored(&found.bytes).map_err(|s| Refused::new(s.message))?;
        let user = user(&stored, id, secret, Timestamp::now());
        Ok(user.map(|u| Authenticated::anywhere(Arc::new(u))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_decide() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let secret = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef",
                "usage-bootstrap-authentication": "true", "expiration": "2026-01-02T00:00:00Z",
                "auth-extra-groups": "system:bootstrappers:a"});
            change(data.as_object_mut().unwrap());
            for v in data.as_object_mut().unwrap().values_mut() {
                *v = STANDARD.encode(v.as_str().unwrap()).into();
            }
            json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": TYPE, "data": data})
        };
        let ask = |s: &Value| user(s, "abcdef", "0123456789abcdef", now);
        let good = ask(&secret(&|_| {})).unwrap();
        assert_eq!(good.name, "system:bootstrap:abcdef");
        assert_eq!(good.groups, ["system:bootstrappers", "system:bootstrappers:a", "system:authenticated"]);
        let set = |k: &'static str, v: &'static str| {
            move |d: &mut serde_json::Map<String, Value>| {
                d.insert(k.into(), v.into());
            }
        };
        for (field, value) in [
            ("token-secret", "0123456789abcdeg"),
            ("token-id", "abcdeg"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2025-12-31T00:00:00Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert!(ask(&secret(&set(field, value))).is_none(), "{field}={value}");
        }
        let mut other = secret(&|_| {});
        other["type"] = "Opaque".into();
        assert!(ask(&other).is_none());
        assert!(parts("abcdef.0123456789abcdef").is_some());
        for bad in ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde_"]
        {
            assert!(parts(bad).is_none(), "{bad}");
        }
    }
}
