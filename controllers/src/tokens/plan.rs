//! What a secret with an account's token needs. Pure.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::view::{ACCOUNT_NAME, ACCOUNT_UID, TokenSecret};

/// An account by name and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub name: String,
    pub uid: String,
}

/// Which parts of a secret are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub root_ca: bool,
    pub namespace: bool,
    pub token: bool,
}

/// What is to be done with a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is complete, or nobody's.
    Nothing,
    /// Its account is not there.
    Delete,
    /// Something is missing.
    Fill(Missing),
}

/// What a secret of this account needs.
pub(super) fn plan(secret: &TokenSecret, account: Option<&Account>, root_ca: &str) -> Action {
    if secret.account.is_empty() {
        return Action::Nothing;
    }
    if account.is_none() {
        return Action::Delete;
    }
    let missing = Missing {
        root_ca: !root_ca.is_empty() && secret.root_ca != root_ca.as_bytes(),
        namespace: !secret.has_namespace,
        token: !secret.has_token,
    };
    if missing.root_ca || missing.namespace || missing.token {
        Action::Fill(missing)
    } else {
        Action::Nothing
    }
}

/// Puts the missing parts into the secret. `token` is used where there is none.
pub(super) fn fill(
    secret: &mut Value,
    account: &Account,
    missing: Missing,
    root_ca: &str,
    token: Option<&str>,
) {
    let namespace = api_types::meta::namespace(secret).to_owned();
    if !secret["data"].is_object() {
        secret["data"] = json!({});
    }
    let parts = [
        ("ca.crt", missing.root_ca.then_some(root_ca)),
        ("namespace", missing.namespace.then_some(namespace.as_str())),
        ("token", token.filter(|_| missing.token)),
    ];
    for (key, text) in parts {
        if let Some(text) = text {
            secret["data"][key] = json!(ByteString(text.as_bytes().to_vec()));
        }
    }
    let annotations = api_types::meta::metadata_mut(secret).entry("annotations").or_insert_with(|| json!({}));
    annotations[ACCOUNT_NAME] = account.name.as_str().into();
    annotations[ACCOUNT_UID] = account.uid.as_str().into();
}

/// The account without the reference to a secret; `None` when it has none.
pub(super) fn without_reference(account: &Value, secret: &str) -> Option<Value> {
    let is_it = |reference: &Value| reference.get("name").and_then(Value::as_str) == Some(secret);
    let secrets = account.get("secrets").and_then(Value::as_array)?;
    if !secrets.iter().any(is_it) {
        return None;
    }
    let mut account = account.clone();
    if let Some(secrets) = account["secrets"].as_array_mut() {
        secrets.retain(|reference| !is_it(reference));
    }
    Some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: &Value) -> TokenSecret {
        let object = json!({"metadata": {"name": "s", "namespace": "n", "annotations": {ACCOUNT_NAME: "a"}},
            "data": data});
        serde_json::from_value(object).expect("a secret")
    }

    fn account() -> Account {
        Account { name: "a".to_owned(), uid: "u".to_owned() }
    }

    #[test]
    fn secrets_are_filled_or_deleted() {
        let all = Missing { root_ca: true, namespace: true, token: true };
        let none = Missing { root_ca: false, namespace: false, token: false };
        // `CA`, `n`, `t`.
        let complete = json!({"ca.crt": "Q0E=", "namespace": "bg==", "token": "dA=="});
        let with = |key: &str, value: Value| {
            let mut data = complete.clone();
            data[key] = value;
            data
        };
        for (data, expected) in [
            (json!(null), Action::Fill(all)),
            (json!({}), Action::Fill(all)),
            (complete.clone(), Action::Nothing),
            (with("token", json!("")), Action::Fill(Missing { token: true, ..none })),
            (with("namespace", json!(null)), Action::Fill(Missing { namespace: true, ..none })),
            (with("ca.crt", json!("b2xk")), Action::Fill(Missing { root_ca: true, ..none })),
        ] {
            assert_eq!(plan(&secret(&data), Some(&account()), "CA"), expected, "{data}");
        }
        assert_eq!(plan(&secret(&json!({})), None, "CA"), Action::Delete);
        assert_eq!(plan(&secret(&with("ca.crt", json!(null))), Some(&account()), ""), Action::Nothing);
        assert_eq!(plan(&TokenSecret::default(), None, "CA"), Action::Nothing);
    }

    #[test]
    fn only_what_is_missing_is_put_in() {
        let mut secret = json!({"metadata": {"name": "s", "namespace": "n", "annotations": {"x": "y"}},
            "data": {"token": "a2VwdA==", "extra": "eA=="}});
        let missing = Missing { root_ca: true, namespace: true, token: false };
        fill(&mut secret, &account(), missing, "CA", Some("new"));
        assert_eq!(
            secret["data"],
            json!({"token": "a2VwdA==", "extra": "eA==", "ca.crt": "Q0E=", "namespace": "bg=="})
        );
        assert_eq!(secret["metadata"]["annotations"], json!({"x": "y", ACCOUNT_NAME: "a", ACCOUNT_UID: "u"}));
    }

    #[test]
    fn references_are_removed() {
        let account = json!({"secrets": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(without_reference(&account, "a"), Some(json!({"secrets": [{"name": "b"}]})));
        assert_eq!(without_reference(&account, "c"), None);
        assert_eq!(without_reference(&json!({}), "a"), None);
    }
}
