//! Whose token is this?

use api_types::meta::{at, str_at};
use api_types::status::Status;
use serde_json::{Value, json};

use super::user_json;
use crate::server::Server;

/// The status of a `TokenReview`.
pub(super) async fn review(server: &Server, review: &Value) -> Result<Value, Status> {
    let token = str_at(review, &["spec", "token"]);
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked: Vec<String> = at(review, &["spec", "audiences"])
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let own = server.tokens().map_or(&[][..], |t| t.audiences());
    let known = match server.authenticator().review(token, &asked).await {
        Ok(Some(known)) => known,
        Ok(None) => return Ok(json!({"user": {}})),
        Err(refused) => return Ok(json!({"user": {}, "error": refused.to_string()})),
    };
    // A token without audiences of its own is for this server, and for nobody else.
    let mut audiences = known.audiences;
    if audiences.is_empty() && !asked.is_empty() {
        audiences = asked.into_iter().filter(|a| own.contains(a)).collect();
        if audiences.is_empty() {
            return Ok(json!({"user": {}}));
        }
    }
    let mut status = json!({"authenticated": true, "user": user_json(&known.user)});
    if !audiences.is_empty() {
        status["audiences"] = json!(audiences);
    }
    Ok(status)
}
