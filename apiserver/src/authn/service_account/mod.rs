//! Service account tokens: signed here, judged here against the objects they are bound to.
//!
//! A token is good as long as its signature, time and audience are, *and* its account and the pod, secret or node it
//! is bound to are still the ones it was issued for. Those that are kept in secrets ([`legacy`]) have no end: they are
//! good as long as their secret is. Source of the rules: upstream's `pkg/serviceaccount`.

mod claims;
pub mod keys;
pub mod legacy;
mod validate;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use jsonwebtoken::{Header, Validation};
use serde_json::{Value, json};

use super::{Authenticated, Refused, TokenAuthenticator};
use crate::registry::Registry;
use crate::server::metrics::tokens::Tokens as Uses;

pub use claims::{Bound, Issue};

/// What an API server is told about service account tokens.
#[derive(Clone, Debug)]
pub struct ServiceAccountConfig {
    /// The private key new tokens are signed with (`--service-account-signing-key-file`).
    pub signing_key: PathBuf,
    /// Further keys that are accepted, for rotation (`--service-account-key-file`).
    pub keys: Vec<PathBuf>,
    /// Who issues tokens; further issuers are accepted (`--service-account-issuer`).
    pub issuers: Vec<String>,
    /// What a token is for that names nothing (`--api-audiences`); the issuer where empty.
    pub audiences: Vec<String>,
}

/// Signs tokens with a private key.
pub struct Signer(keys::SigningKey);

impl Signer {
    /// Reads the key of a PEM file.
    pub fn read(path: &Path) -> Result<Self, String> {
        keys::signing(path).map(Self)
    }

    /// Signs what a token says.
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let mut header = Header::new(self.0.public.algorithm);
        header.typ = None;
        header.kid = Some(self.0.public.id.clone());
        jsonwebtoken::encode(&header, claims, &self.0.key).map_err(|e| e.to_string())
    }
}

/// Signs tokens and tells what others need to verify them.
pub struct Tokens {
    signing: Signer,
    accepted: Vec<keys::VerificationKey>,
    issuers: Vec<String>,
    audiences: Vec<String>,
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Tokens {
    /// Reads the keys. The error names the file.
    pub fn new(config: ServiceAccountConfig) -> Result<Self, (PathBuf, String)> {
        let signing = Signer::read(&config.signing_key).map_err(|why| (config.signing_key.clone(), why))?;
        let mut accepted = Vec::new();
        for path in &config.keys {
            accepted.extend(keys::verification(path).map_err(|why| (path.clone(), why))?);
        }
        accepted.retain(|k| k.id != signing.0.public.id);
        let audiences = if config.audiences.is_empty() { config.issuers.clone() } else { config.audiences };
        Ok(Self { signing, accepted, issuers: config.issuers, audiences })
    }

    /// What a token is for that names nothing.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Who issues new tokens.
    pub fn issuer(&self) -> &str {
        self.issuers.first().map_or("", String::as_str)
    }

    /// The keys tokens are verified by, new tokens' first.
    fn keys(&self) -> impl Iterator<Item = &keys::VerificationKey> {
        std::iter::once(&self.signing.0.public).chain(&self.accepted)
    }

    /// The JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        json!({"keys": self.keys().map(|k| k.jwk.clone()).collect::<Vec<_>>()})
    }

    /// The OpenID provider's metadata, where the issuer is a URL that can be discovered.
    pub fn discovery(&self) -> Option<Value> {
        let issuer = self.issuer();
        if !issuer.starts_with("https://") {
            return None;
        }
        let mut algorithms: Vec<&str> = self.keys().filter_map(|k| k.jwk["alg"].as_str()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        Some(json!({
            "issuer": issuer,
            "jwks_uri": format!("{}/openid/v1/jwks", issuer.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        }))
    }

    /// Signs a token.
    pub fn sign(&self, issue: &Issue<'_>) -> Result<String, String> {
        self.signing.sign(&issue.claims(self.issuer()))
    }

    /// The claims of a token that one of our keys has signed; `None` when it is no token of an issuer of ours.
    fn verified(&self, token: &str) -> Option<Result<Value, Refused>> {
        let claimed = claims::unverified(token)?;
        let issuer = claimed.get("iss").and_then(Value::as_str)?;
        if issuer != legacy::ISSUER && !self.issuers.iter().any(|i| i == issuer) {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let mut refusal = None;
        for key in self.keys().filter(|k| header.kid.as_ref().is_none_or(|id| *id == k.id)) {
            if key.algorithm != header.alg {
                continue;
            }
            // Times and audiences are judged with the rest of the claims, where the words are upstream's.
            let mut validation = Validation::new(key.algorithm);
            validation.validate_exp = false;
            validation.validate_aud = false;
            validation.required_spec_claims.clear();
            match jsonwebtoken::decode::<Value>(token, &key.key, &validation) {
                Ok(data) => return Some(Ok(data.claims)),
                Err(e) => refusal = Some(Refused::new(e.to_string())),
            }
        }
        Some(Err(refusal.unwrap_or_else(|| Refused::new("no key is known that the token is signed with"))))
    }
}

/// Judges service account tokens.
pub struct ServiceAccountTokens {
    tokens: Arc<Tokens>,
    registry: Arc<Registry>,
    uses: Arc<Uses>,
}

impl ServiceAccountTokens {
    /// Judges them by these keys and objects, and counts which are used.
    pub fn new(tokens: Arc<Tokens>, registry: Arc<Registry>, uses: Arc<Uses>) -> Self {
        Self { tokens, registry, uses }
    }
}

#[async_trait]
impl TokenAuthenticator for ServiceAccountTokens {
    async fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused> {
        let Some(claims) = self.tokens.verified(token) else { return Ok(None) };
        let claims = claims?;
        let own = self.tokens.audiences();
        let wanted = if audiences.is_empty() { own } else { audiences };
        if claims.get("iss").and_then(Value::as_str) == Some(legacy::ISSUER) {
            return legacy::judge(&self.registry, &self.uses, token, &claims, own, wanted).await.map(Some);
        }
        validate::judge(&self.registry, &self.uses, &claims, wanted, now()).await.map(Some)
    }
}
