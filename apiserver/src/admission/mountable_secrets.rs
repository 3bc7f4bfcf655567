//! Which secrets pods may refer to: those that their service account lists, where it is annotated to insist on it.
//! Words and order: upstream's `serviceaccount` plugin.

use std::collections::HashSet;

use api_types::meta::{at, str_at};
use serde_json::Value;

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// What Go reads as true.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];

/// Whether pods of this account are limited.
pub(super) fn is_enforced(account: &Value) -> bool {
    TRUE.contains(&str_at(account, &["metadata", "annotations", ENFORCE]))
}

/// Why a new pod may not run as the account, if it may not.
pub(super) fn refusal(account: &Value, pod: &Value) -> Option<String> {
    let limits = Limits::of(account, "secrets");
    let volumes = list(pod, "volumes").filter_map(|v| at(v, &["secret"]));
    let of_volumes = volumes.map(|s| str_at(s, &["secretName"])).find(|name| !limits.allows(name));
    if let Some(name) = of_volumes {
        return Some(limits.refuse(&format!("volume with secret.secretName={name:?}")));
    }
    let containers = [("initContainers", "init container"), ("containers", "container")];
    let of_containers =
        containers.into_iter().find_map(|(field, what)| limits.refuse_containers(pod, field, what));
    if of_containers.is_some() {
        return of_containers;
    }
    let pulls = Limits::of(account, "imagePullSecrets");
    let name = |reference: &Value| str_at(reference, &["name"]).to_owned();
    let (i, pull) =
        list(pod, "imagePullSecrets").map(name).enumerate().find(|(_, name)| !pulls.allows(name))?;
    Some(format!(
        "imagePullSecrets[{i}].name={pull:?} is not allowed because service account {} does not reference that imagePullSecret",
        pulls.account
    ))
}

/// Why ephemeral containers may not be added to a pod of the account, if they may not.
pub(super) fn ephemeral_refusal(account: &Value, pod: &Value) -> Option<String> {
    Limits::of(account, "secrets").refuse_containers(pod, "ephemeralContainers", "ephemeral container")
}

fn list<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    at(pod, &["spec", field]).and_then(Value::as_array).into_iter().flatten()
}

struct Limits<'a> {
    account: &'a str,
    names: HashSet<&'a str>,
}

impl<'a> Limits<'a> {
    fn of(account: &'a Value, field: &str) -> Self {
        let listed = account.get(field).and_then(Value::as_array).into_iter().flatten();
        Self {
            account: str_at(account, &["metadata", "name"]),
            names: listed.map(|reference| str_at(reference, &["name"])).collect(),
        }
    }

    fn allows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn refuse(&self, what: &str) -> String {
        format!(
            "{what} is not allowed because service account {} does not reference that secret",
            self.account
        )
    }

    fn refuse_containers(&self, pod: &Value, field: &str, what: &str) -> Option<String> {
        list(pod, field).find_map(|container| {
            let entries = |f: &str| container.get(f).and_then(Value::as_array).into_iter().flatten();
            let of_env = entries("env").find_map(|env| {
                let name = str_at(at(env, &["valueFrom", "secretKeyRef"])?, &["name"]);
                (!self.allows(name)).then(|| (format!("envVar {}", str_at(env, &["name"])), name))
            });
            let (from, name) = of_env.or_else(|| {
                let names =
                    entries("envFrom").filter_map(|from| Some(str_at(at(from, &["secretRef"])?, &["name"])));
                names.filter(|name| !self.allows(name)).map(|name| ("envFrom".to_owned(), name)).next()
            })?;
            let container = str_at(container, &["name"]);
            Some(
                self.refuse(&format!(
                    "{what} {container} with {from} referencing secret.secretName={name:?}"
                )),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn account(enforce: Option<&str>) -> Value {
        let mut account = json!({"metadata": {"name": "sa"}, "secrets": [{"name": "mine"}],
            "imagePullSecrets": [{"name": "pull"}]});
        if let Some(enforce) = enforce {
            account["metadata"]["annotations"][ENFORCE] = enforce.into();
        }
        account
    }

    #[test]
    fn the_annotation_is_read_as_go_does() {
        for (text, enforced) in [
            (None, false),
            (Some("true"), true),
            (Some("1"), true),
            (Some("yes"), false),
            (Some("false"), false),
        ] {
            assert_eq!(is_enforced(&account(text)), enforced, "{text:?}");
        }
    }

    #[test]
    fn references_beyond_the_list_are_refused() {
        let env = |name: &str| {
            json!([{"name": "c", "env": [{"name": "A", "value": "x"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]}])
        };
        let from = |name: &str| {
            json!([{"name": "c", "envFrom": [{"configMapRef": {"name": "x"}},
            {"secretRef": {"name": name}}]}])
        };
        let ending = "is not allowed because service account sa does not reference that secret";
        for (spec, why) in [
            (json!({"volumes": [{"name": "v", "secret": {"secretName": "mine"}}, {"name": "e", "emptyDir": {}}]}), None),
            (
                json!({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}),
                Some(format!("volume with secret.secretName=\"other\" {ending}")),
            ),
            (json!({"containers": env("mine")}), None),
            (
                json!({"containers": env("other")}),
                Some(format!("container c with envVar B referencing secret.secretName=\"other\" {ending}")),
            ),
            (
                json!({"containers": from("other")}),
                Some(format!("container c with envFrom referencing secret.secretName=\"other\" {ending}")),
            ),
            (
                json!({"initContainers": env("other")}),
                Some(format!("init container c with envVar B referencing secret.secretName=\"other\" {ending}")),
            ),
            (
                json!({"initContainers": from("other")}),
                Some(format!("init container c with envFrom referencing secret.secretName=\"other\" {ending}")),
            ),
            (json!({"imagePullSecrets": [{"name": "pull"}]}), None),
            (
                json!({"imagePullSecrets": [{"name": "pull"}, {"name": "mine"}]}),
                Some(
                    "imagePullSecrets[1].name=\"mine\" is not allowed because service account sa does not reference that imagePullSecret"
                        .to_owned(),
                ),
            ),
        ] {
            assert_eq!(refusal(&account(None), &json!({"spec": spec})), why, "{spec}");
        }
        let pod = json!({"spec": {"ephemeralContainers": from("other")}});
        assert_eq!(
            ephemeral_refusal(&account(None), &pod),
            Some(format!(
                "ephemeral container c with envFrom referencing secret.secretName=\"other\" {ending}"
            ))
        );
        assert_eq!(
            ephemeral_refusal(&account(None), &json!({"spec": {"ephemeralContainers": from("mine")}})),
            None
        );
    }
}
