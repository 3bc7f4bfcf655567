//! Answers in YAML, for clients that ask for it: the same documents, their keys in order.

use api_types::status::Status;
use axum::body::{Body, HttpBody};
use http::{HeaderValue, Response, header};
use serde_json::Value;

use super::respond;

/// The media type.
pub const MEDIA: HeaderValue = HeaderValue::from_static("application/yaml");

/// One document.
pub fn document(value: &Value) -> Result<String, Status> {
    // Strings that YAML 1.1 reads as something else (`yes`, `0644`) are quoted: kubectl reads 1.1.
    serde_saphyr::to_string(value).map_err(|e| Status::internal(format!("encoding the answer as YAML: {e}")))
}

/// One document as an item of a list: its first line behind a dash.
pub fn item(value: &Value) -> Result<String, Status> {
    let document = document(value)?;
    let mut out = String::with_capacity(document.len() + document.len() / 8);
    for (i, line) in document.lines().enumerate() {
        // What is left of a line that is empty is no space at its end.
        out.push_str(match (i, line.is_empty()) {
            (0, _) => "- ",
            (_, true) => "",
            (_, false) => "  ",
        });
        out.push_str(line);
        out.push('\n');
    }
    Ok(out)
}

/// An answer in JSON that is there as a whole, as YAML. Anything else stays what it is.
pub async fn convert(response: Response<Body>) -> Response<Body> {
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|v| v == "application/json");
    if !json || response.body().size_hint().exact().is_none() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is in memory already, as a whole: a bound here would only cut it off.
    let text = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => serde_json::from_slice::<Value>(&bytes)
            .map_err(|e| Status::internal(format!("reading the answer: {e}")))
            .and_then(|value| document(&value)),
        Err(e) => Err(Status::internal(format!("reading the answer: {e}"))),
    };
    match text {
        Ok(text) => {
            parts.headers.insert(header::CONTENT_TYPE, MEDIA);
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(text))
        }
        Err(status) => respond::status(&status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_are_indented_as_a_whole() {
        let value = json!({"data": {"a": "yes", "b": "0644", "text": "one\n\n  two\n"}, "list": [{"x": 1}]});
        let text = format!("items:\n{}{}", item(&value).unwrap(), item(&json!({"z": null})).unwrap());
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, json!({"items": [value, {"z": null}]}), "{text}");
        assert!(text.contains("\"yes\"") || text.contains("'yes'"), "{text}");
    }
}
