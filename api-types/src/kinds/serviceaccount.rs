//! ServiceAccounts.

use serde_json::Value;

use crate::catalog::Strategy;
use crate::{meta, table};

/// The strategy of service accounts.
pub struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let secrets = o.get("secrets").and_then(Value::as_array).map_or(0, Vec::len);
        vec![meta::name(o).into(), secrets.into(), table::age(o, now).into()]
    }
}
