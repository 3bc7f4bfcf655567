//! Leases: who holds a lock, and since when.

use serde_json::Value;

use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, table};

/// The strategy of leases.
pub struct Lease;

impl Strategy for Lease {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            meta::object_mut(root, "spec");
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let number = |f: &str| meta::at(object, &["spec", f]).and_then(Value::as_i64);
        if let Some(n) = number("leaseDurationSeconds").filter(|n| *n <= 0) {
            errors.invalid(&Path::new("spec").child("leaseDurationSeconds"), n, "must be greater than 0");
        }
        if let Some(n) = number("leaseTransitions") {
            errors.non_negative(&Path::new("spec").child("leaseTransitions"), n);
        }
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            meta::name(o).into(),
            meta::str_at(o, &["spec", "holderIdentity"]).into(),
            table::age(o, now).into(),
        ]
    }
}
