//! Who may use the server: the API server and administrators; `/healthz` is everybody's.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The user API servers present to nodes.
const API_SERVER: &str = "kube-apiserver-kubelet-client";
const MASTERS: &str = "system:masters";

/// Identity of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    user: Option<String>,
    groups: Vec<String>,
}

impl Client {
    /// A client that may do everything (servers without TLS in tests).
    pub fn trusted() -> Client {
        Client { user: Some(API_SERVER.to_owned()), groups: vec![MASTERS.to_owned()] }
    }

    /// The identity of a verified client certificate; nobody without one.
    pub fn from_certificates(chain: Option<&[CertificateDer<'_>]>) -> Client {
        let Some(leaf) = chain.and_then(|chain| chain.first()) else { return Client::default() };
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Client::default() };
        let subject = certificate.subject();
        Client {
            user: subject.iter_common_name().find_map(|name| name.as_str().ok()).map(str::to_owned),
            groups: subject
                .iter_organization()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
        }
    }

    fn verdict(&self) -> Result<(), (StatusCode, &'static str)> {
        match &self.user {
            None => Err((StatusCode::UNAUTHORIZED, "Unauthorized")),
            Some(user) if user == API_SERVER || self.groups.iter().any(|group| group == MASTERS) => Ok(()),
            Some(_) => Err((StatusCode::FORBIDDEN, "Forbidden")),
        }
    }
}

/// Lets a request through or answers it.
pub async fn authorize(request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" {
        return next.run(request).await;
    }
    let client = request.extensions().get::<Client>().cloned().unwrap_or_default();
    match client.verdict() {
        Ok(()) => next.run(request).await,
        Err(answer) => answer.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_server_and_masters_are_let_in() {
        let client = |user: Option<&str>, group: &str| Client {
            user: user.map(str::to_owned),
            groups: vec![group.to_owned()],
        };
        assert!(client(Some(API_SERVER), "x").verdict().is_ok());
        assert!(client(Some("admin"), MASTERS).verdict().is_ok());
        assert_eq!(client(Some("u"), "system:nodes").verdict().unwrap_err().0, StatusCode::FORBIDDEN);
        assert_eq!(client(None, "x").verdict().unwrap_err().0, StatusCode::UNAUTHORIZED);
    }
}
