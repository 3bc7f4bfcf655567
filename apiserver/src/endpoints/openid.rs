//! What others need to verify service account tokens: `/.well-known/openid-configuration` and `/openid/v1/jwks`.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::respond;
use crate::server::Server;

/// Answers a path; `None` when it is none of these, or this server issues no tokens that could be verified so.
pub fn answer(server: &Server, path: &str) -> Option<Response<Body>> {
    let tokens = server.tokens()?;
    let (value, media) = match path {
        "/.well-known/openid-configuration" => (tokens.discovery()?, "application/json"),
        "/openid/v1/jwks" => (tokens.key_set(), "application/jwk-set+json"),
        _ => return None,
    };
    let mut response = respond::json(StatusCode::OK, &value);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}
