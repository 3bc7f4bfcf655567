//! ServiceAccounts.

use serde_json::{Value, json};

use crate::catalog::Strategy;
use crate::{meta, table};

/// The strategy of service accounts.
pub struct ServiceAccount;

const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

/// Of a secret, an account knows the name and nothing else.
fn clean_secrets(account: &mut Value) {
    let secrets = account.get_mut("secrets").and_then(Value::as_array_mut);
    for secret in secrets.into_iter().flatten() {
        *secret = match secret.get("name") {
            Some(name) => json!({"name": name}),
            None => json!({}),
        };
    }
}

impl Strategy for ServiceAccount {
    fn prepare_for_create(&self, object: &mut Value) {
        clean_secrets(object);
    }

    fn prepare_for_update(&self, new: &mut Value, _old: &Value) {
        clean_secrets(new);
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_names() {
        let mut account =
            json!({"secrets": [{"name": "a", "uid": "u", "kind": "Secret"}, {"kind": "Secret"}]});
        ServiceAccount.prepare_for_create(&mut account);
        assert_eq!(account, json!({"secrets": [{"name": "a"}, {}]}));
    }
}
