//! What a token says.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// An object by name and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Bound {
    fn json(&self) -> Value {
        json!({"name": self.name, "uid": self.uid})
    }
}

/// A token to be issued.
#[derive(Clone, Debug)]
pub struct Issue<'a> {
    /// The account's namespace.
    pub namespace: &'a str,
    /// The account.
    pub account: Bound,
    /// The pod it is bound to.
    pub pod: Option<Bound>,
    /// The secret it is bound to.
    pub secret: Option<Bound>,
    /// The node it is bound to, or its pod runs on.
    pub node: Option<Bound>,
    /// Whom it is for.
    pub audiences: &'a [String],
    /// Seconds since 1970.
    pub issued: i64,
    /// How many seconds it is good for.
    pub seconds: i64,
    /// After how many seconds its use is warned of, where it is good for longer than was asked.
    pub warn_after: Option<i64>,
}

impl Issue<'_> {
    /// Its claims, as upstream writes them.
    pub(super) fn claims(&self, issuer: &str) -> Value {
        let mut private = json!({"namespace": self.namespace, "serviceaccount": self.account.json()});
        for (field, bound) in [("pod", &self.pod), ("secret", &self.secret), ("node", &self.node)] {
            if let Some(bound) = bound {
                private[field] = bound.json();
            }
        }
        if let Some(seconds) = self.warn_after {
            private["warnafter"] = (self.issued + seconds).into();
        }
        json!({
            "iss": issuer,
            "sub": format!("system:serviceaccount:{}:{}", self.namespace, self.account.name),
            "aud": self.audiences,
            "iat": self.issued,
            "nbf": self.issued,
            "exp": self.issued + self.seconds,
            "jti": uuid::Uuid::new_v4().to_string(),
            "kubernetes.io": private,
        })
    }
}

/// The claims of a token nobody has verified, to tell whose it would be; `None` when it is no JWT.
pub(super) fn unverified(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
