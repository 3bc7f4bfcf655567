//! ServiceAccounts.

use serde_json::Value;

use crate::catalog::Strategy;
use crate::{meta, table};

/// The strategy of service accounts.
pub struct ServiceAccount;

const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

impl Strategy for ServiceAccount {
    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let has = |o: &Value| meta::at(o, &["metadata", "annotations", ENFORCE_MOUNTABLE]).is_some();
        if !has(object) || old.is_some_and(has) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let secrets = o.get("secrets").and_then(Value::as_array).map_or(0, Vec::len);
        vec![meta::name(o).into(), secrets.into(), table::age(o, now).into()]
    }
}
