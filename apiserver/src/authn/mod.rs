//! Who is asking: client certificates, bearer tokens, impersonation, anonymous.
//!
//! Owns the [`UserInfo`] every later stage works with. A request is authenticated by the first method
//! that recognises a credential; one whose credential is refused by all is unauthorized, and one that
//! shows none is anonymous (if allowed). Certificates are judged here, at request time, and not in the
//! TLS handshake, so that a bad one ends as 401 and not as a broken connection.

pub mod bootstrap_tokens;
pub mod impersonation;
pub mod service_account;
pub mod static_tokens;
pub mod user;
pub mod x509;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

pub use user::UserInfo;
pub use x509::{CertError, ClientCertAuthenticator, ClientCertVerifier, ConnectionIdentity};

/// A request showed a credential that nobody accepts, or none where one is needed: answer 401.
#[derive(Debug, thiserror::Error)]
pub enum AuthnError {
    /// The client certificate was refused.
    #[error("client certificate refused")]
    Certificate(#[source] CertError),
    /// The bearer token was refused.
    #[error("bearer token refused")]
    Token(#[source] Refused),
    /// The bearer token is nobody's.
    #[error("no authenticator knows the bearer token")]
    UnknownToken,
    /// The `Authorization` header is not one this server understands.
    #[error("unsupported authorization scheme")]
    UnsupportedScheme,
    /// There was no credential and anonymous requests are off.
    #[error("no credential")]
    Missing,
}

/// A token that its authenticator knows and refuses. The text is for the log and for token reviews.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// For this reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The user of a token.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who.
    pub user: Arc<UserInfo>,
    /// For which of the audiences asked for; empty when the token is for any of this server's.
    pub audiences: Vec<String>,
    /// What the bearer should read although the token is good.
    pub warnings: Vec<String>,
}

impl Authenticated {
    /// A user whose token names no audience.
    fn anywhere(user: Arc<UserInfo>) -> Self {
        Self { user, audiences: Vec::new(), warnings: Vec::new() }
    }
}

/// Recognises bearer tokens.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync {
    /// The token's user, if it is for one of `audiences` (none: this server's own); `None` if the token is not of a
    /// kind this one judges.
    async fn authenticate(&self, token: &str, audiences: &[String])
    -> Result<Option<Authenticated>, Refused>;
}

/// All the ways a request can be authenticated.
pub struct Authenticator {
    certificates: Option<Arc<ClientCertAuthenticator>>,
    tokens: Vec<Arc<dyn TokenAuthenticator>>,
    anonymous: Option<Arc<UserInfo>>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Puts the methods together.
    #[must_use]
    pub fn new(
        certificates: Option<Arc<ClientCertAuthenticator>>,
        tokens: Vec<Arc<dyn TokenAuthenticator>>,
        allow_anonymous: bool,
    ) -> Self {
        let anonymous = allow_anonymous.then(|| Arc::new(UserInfo::anonymous()));
        Self { certificates, tokens, anonymous }
    }

    /// Authenticates a request that came over `connection` with these headers, in upstream's order:
    /// certificate, then token.
    pub async fn authenticate(
        &self,
        connection: Option<&ConnectionIdentity>,
        headers: &http::HeaderMap,
    ) -> Result<Authenticated, AuthnError> {
        let mut refused = None;
        if let (Some(certificates), Some(connection)) = (&self.certificates, connection) {
            match connection.authenticate(certificates, SystemTime::now()) {
                Ok(Some(user)) => return Ok(Authenticated::anywhere(user)),
                Ok(None) => {}
                Err(error) => refused = Some(AuthnError::Certificate(error)),
            }
        }
        match self.token(headers).await {
            Ok(Some(known)) => Ok(known),
            Ok(None) => match refused {
                Some(error) => Err(error),
                None => self.anonymous.clone().map(Authenticated::anywhere).ok_or(AuthnError::Missing),
            },
            Err(error) => Err(refused.unwrap_or(error)),
        }
    }

    async fn token(&self, headers: &http::HeaderMap) -> Result<Option<Authenticated>, AuthnError> {
        let Some(header) = headers.get(http::header::AUTHORIZATION) else { return Ok(None) };
        let header = header.to_str().map_err(|_| AuthnError::UnsupportedScheme)?;
        let mut parts = header.trim().splitn(3, ' ');
        let (scheme, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // As upstream: another scheme, or an empty token, is as good as no header.
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Ok(None);
        }
        match self.review(token, &[]).await {
            Ok(Some(known)) => Ok(Some(known)),
            Ok(None) => Err(AuthnError::UnknownToken),
            Err(error) => Err(AuthnError::Token(error)),
        }
    }

    /// Whose token this is, for one of these audiences (none: this server's own).
    pub async fn review(&self, token: &str, audiences: &[String]) -> Result<Option<Authenticated>, Refused> {
        for authenticator in &self.tokens {
            if let Some(known) = authenticator.authenticate(token, audiences).await? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);

    #[async_trait]
    impl TokenAuthenticator for Only {
        async fn authenticate(&self, token: &str, _: &[String]) -> Result<Option<Authenticated>, Refused> {
            if token == "broken" {
                return Err(Refused::new("expired"));
            }
            let user = Arc::new(UserInfo::authenticated("token-user", Vec::new()));
            Ok((token == self.0).then(|| Authenticated::anywhere(user)))
        }
    }

    async fn with(header: Option<&str>, anonymous: bool) -> Result<String, AuthnError> {
        let authenticator = Authenticator::new(None, vec![Arc::new(Only("good"))], anonymous);
        let mut headers = http::HeaderMap::new();
        if let Some(header) = header {
            headers.insert(http::header::AUTHORIZATION, header.parse().unwrap());
        }
        authenticator.authenticate(None, &headers).await.map(|known| known.user.name.clone())
    }

    #[tokio::test]
    async fn tokens_decide() {
        assert_eq!(with(Some("Bearer good"), true).await.unwrap(), "token-user");
        assert_eq!(with(Some("bearer good"), true).await.unwrap(), "token-user");
        assert!(matches!(with(Some("Bearer bad"), true).await, Err(AuthnError::UnknownToken)));
        assert!(matches!(with(Some("Bearer broken"), true).await, Err(AuthnError::Token(_))));
        assert_eq!(with(Some("Bearer "), true).await.unwrap(), "system:anonymous");
        assert_eq!(with(Some("Basic abc"), true).await.unwrap(), "system:anonymous");
        assert_eq!(with(None, true).await.unwrap(), "system:anonymous");
        assert!(matches!(with(None, false).await, Err(AuthnError::Missing)));
    }
}
