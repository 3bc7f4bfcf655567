//! Answers in gzip: large ones, for clients that ask. Bound and level are upstream's: below 128 KiB, and above the
//! fastest level, it costs more than it saves.

use std::io::Write;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, header};

/// From which size on answers are compressed.
const LEAST: u64 = 128 * 1024;

/// On an answer whose body is streamed: how long it will be at least.
#[derive(Clone, Copy, Debug)]
pub struct Length(pub u64);

/// Whether the client takes gzip.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(',')).any(|e| {
        let (name, weight) = e.split_once(';').unwrap_or((e, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

/// Compresses an answer in JSON or YAML that is large enough.
pub fn compress(mut response: Response<Body>) -> Response<Body> {
    let text = response.headers().get(header::CONTENT_TYPE);
    let text = text.is_some_and(|v| v == "application/json" || v == "application/yaml");
    let length = match response.extensions().get::<Length>() {
        Some(length) => length.0,
        None => response.body().size_hint().exact().unwrap_or(0),
    };
    if !text || length < LEAST || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(header::CONTENT_LENGTH);
    response.map(gzip)
}

fn gzip(body: Body) -> Body {
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let state = (body.into_data_stream(), encoder);
    Body::from_stream(stream::unfold(state, |(mut plain, encoder)| async move {
        let mut encoder = encoder?;
        loop {
            let written = match plain.next().await {
                Some(Ok(bytes)) => encoder.write_all(&bytes),
                // The connection is cut, so that the client does not take a part for the whole.
                Some(Err(e)) => return Some((Err(std::io::Error::other(e)), (plain, None))),
                None => return Some((encoder.finish().map(Bytes::from), (plain, None))),
            };
            if let Err(e) = written {
                return Some((Err(e), (plain, None)));
            }
            let packed = encoder.get_mut();
            if !packed.is_empty() {
                let bytes = Bytes::from(std::mem::take(packed));
                return Some((Ok(bytes), (plain, Some(encoder))));
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_take() {
        for (text, takes) in [
            ("gzip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(is_accepted(&headers), takes, "{text}");
        }
    }
}
