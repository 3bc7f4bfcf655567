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

    fn prepare_for_create(&self, object: &mut Value) {
        drop_election(object, &Value::Null);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        drop_election(new, old);
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

/// What CoordinatedLeaderElection brings, which 1.36 has off: dropped unless it is there already.
fn drop_election(new: &mut Value, old: &Value) {
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["strategy", "preferredHolder"] {
        if meta::str_at(old, &["spec", field]).is_empty() {
            spec.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elections_by_strategy_are_dropped() {
        let sent = json!({"spec": {"holderIdentity": "a", "strategy": "OldestEmulationVersion", "preferredHolder": "b"}});
        let mut new = sent.clone();
        Lease.prepare_for_create(&mut new);
        assert_eq!(new, json!({"spec": {"holderIdentity": "a"}}));
        let mut kept = sent.clone();
        Lease.prepare_for_update(&mut kept, &sent);
        assert_eq!(kept, sent);
    }
}
