//! ComponentStatuses: made for each request, deprecated since 1.19.

use serde_json::Value;

use super::check::{list, text};
use crate::catalog::Strategy;
use crate::meta;

/// The strategy of component statuses.
pub struct ComponentStatus;

impl Strategy for ComponentStatus {
    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        let healthy = list(o, "conditions").iter().find(|c| text(c, "type") == Some("Healthy"));
        let field = |f: &str| healthy.and_then(|c| text(c, f)).unwrap_or("");
        let status = match healthy.map(|_| field("status")) {
            None => "Unknown",
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
        };
        vec![meta::name(o).into(), status.into(), field("message").into(), field("error").into()]
    }
}
