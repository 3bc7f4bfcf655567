//! What every stored kind must do, as a table: created with its defaults, read, printed, refused, sealed.

use serde_json::{Value, json};

use super::{Api, MERGE};

/// Kinds whose status is written without metadata.
const STATUS_ALONE: [&str; 8] = [
    "validatingadmissionpolicies",
    "apiservices",
    "deployments",
    "flowschemas",
    "prioritylevelconfigurations",
    "resourceclaims",
    "servicecidrs",
    "volumeattachments",
];

/// A kind as a test tries it.
pub struct Kind<'a> {
    /// `/apis/storage.k8s.io/v1/storageclasses`.
    pub path: &'a str,
    /// An object that is accepted.
    pub object: Value,
    /// What must be there after it was created, as a part of the object.
    pub becomes: Value,
    /// The cells of its row, without its age; null where they are not looked at.
    pub row: Value,
    /// Changes of the object (as merge patches) that make it unacceptable, and the whole message of the refusal.
    pub refused: Vec<(Value, &'a str)>,
    /// Changes of the created object that are refused, and the message.
    pub sealed: Vec<(Value, &'a str)>,
    /// A status that `/status` takes, where the kind has that path.
    pub status: Option<Value>,
}

/// Applies a merge patch.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (k, v) in patch {
        if v.is_null() {
            target.as_object_mut().unwrap().remove(k);
        } else {
            merge(&mut target[k], v);
        }
    }
}

/// Fails unless every field of `part` is in `whole` with the same value.
#[track_caller]
pub fn assert_contains(whole: &Value, part: &Value, place: &str) {
    match part {
        Value::Object(fields) => {
            for (k, v) in fields {
                let found = whole.get(k).unwrap_or(&Value::Null);
                assert_contains(found, v, &format!("{place}.{k}"));
            }
        }
        Value::Array(items) => {
            let found = whole.as_array().map_or(0, Vec::len);
            assert_eq!(found, items.len(), "{place}: {whole}");
            for (i, item) in items.iter().enumerate() {
                assert_contains(&whole[i], item, &format!("{place}[{i}]"));
            }
        }
        other => assert_eq!(whole, other, "{place}"),
    }
}

impl Kind<'_> {
    /// Tries everything in the table; leaves the object there and gives it.
    pub async fn check(&self, api: &Api) -> Value {
        for (change, message) in &self.refused {
            let mut bad = self.object.clone();
            merge(&mut bad, change);
            let told = api.post(self.path, &bad).await.refused(422, "Invalid");
            assert_eq!(told, *message, "{}: {change}", self.path);
        }
        let made = api.post(self.path, &self.object).await.created();
        assert_contains(&made, &self.becomes, self.path);
        let name = made["metadata"]["name"].as_str().unwrap();
        let one = format!("{}/{name}", self.path);
        assert_eq!(api.get(&one).await.ok(), made);
        self.check_row(api, &one).await;
        for (change, message) in &self.sealed {
            let told = api.patch(&one, MERGE, change).await.refused(422, "Invalid");
            assert_eq!(told, *message, "{one}: {change}");
        }
        if let Some(status) = &self.status {
            self.check_status(api, &one, &made, status).await;
        }
        made
    }

    async fn check_row(&self, api: &Api, one: &str) {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let table = api.ask(http::Method::GET, one).accept(table).send().await.ok();
        let columns = table["columnDefinitions"].as_array().unwrap();
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(columns.len(), cells.len(), "{one}");
        let of_interest = columns.iter().zip(cells).filter(|(c, _)| c["name"] != "Age");
        let row: Vec<&Value> = of_interest.map(|(_, cell)| cell).collect();
        if !self.row.is_null() {
            assert_eq!(json!(row), self.row, "{one}");
        }
    }

    /// The status changes through its own path only, and nothing else changes there.
    async fn check_status(&self, api: &Api, one: &str, made: &Value, status: &Value) {
        let before = made.get("status").cloned().unwrap_or_default();
        let kept = api.patch(one, MERGE, &json!({"status": status})).await.ok();
        assert_eq!(
            kept.get("status").cloned().unwrap_or_default(),
            before,
            "{one}: status by the front door"
        );
        let written = json!({"metadata": {"labels": {"a": "b"}}, "spec": null, "status": status});
        let written = api.patch(&format!("{one}/status"), MERGE, &written).await.ok();
        assert_contains(&written["status"], status, one);
        assert_eq!(written.get("spec"), made.get("spec"), "{one}: spec by the status");
        let alone = STATUS_ALONE.iter().any(|plural| self.path.ends_with(&format!("/{plural}")));
        let label = written["metadata"]["labels"].get("a");
        assert_eq!(label.is_none(), alone, "{one}: labels by the status");
        assert_eq!(written["metadata"]["generation"], made["metadata"]["generation"], "{one}: generation");
    }
}
