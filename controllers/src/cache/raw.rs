//! Objects of any kind as JSON, for controllers that look at many kinds in few places.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use super::{Meta, Object};

/// An object as it came, without managed fields; of a pod, what decides where it counts and how much it asks for.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    /// Metadata.
    pub metadata: Meta,
    /// The whole object.
    pub value: Value,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let metadata = value.get("metadata").map(Meta::deserialize).transpose();
        Ok(Raw { metadata: metadata.map_err(D::Error::custom)?.unwrap_or_default(), value })
    }
}

impl Object for Raw {
    fn namespace(&self) -> &str {
        &self.metadata.namespace
    }
    fn name(&self) -> &str {
        &self.metadata.name
    }
    fn uid(&self) -> &str {
        &self.metadata.uid
    }
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
    fn controller_uid(&self) -> Option<&str> {
        self.metadata.controller().map(|owner| &*owner.uid)
    }
    fn trim(&mut self) {
        let keep = |value: Option<&mut Value>, keep: fn(&str) -> bool| {
            if let Some(Value::Object(map)) = value {
                map.retain(|key, _| keep(key));
            }
        };
        keep(self.value.get_mut("metadata"), |key| key != "managedFields");
        let containers = ["containers", "initContainers"];
        if self.value.get("spec").is_none_or(|spec| containers.iter().all(|list| spec.get(list).is_none())) {
            return;
        }
        keep(self.value.get_mut("spec"), |key| key != "volumes");
        self.trim_status();
        for list in containers {
            let list = self.value.get_mut("spec").and_then(|spec| spec.get_mut(list)?.as_array_mut());
            for container in list.into_iter().flatten() {
                keep(Some(container), |key| matches!(key, "name" | "resources" | "restartPolicy"));
            }
        }
    }
}

impl Raw {
    /// Keeps of a pod's status what decides whether it counts, and of its containers those that are being resized:
    /// all others count with what they ask for.
    fn trim_status(&mut self) {
        let spec = self.value.get("spec").cloned().unwrap_or_default();
        let asked = |name: &Value| {
            let lists =
                ["containers", "initContainers"].into_iter().filter_map(|list| spec.get(list)?.as_array());
            let found = lists.flatten().find(|container| container.get("name") == Some(name));
            found
                .and_then(|container| container.get("resources"))
                .cloned()
                .unwrap_or_else(|| serde_json::json!({}))
        };
        let Some(Value::Object(status)) = self.value.get_mut("status") else { return };
        status.retain(|key, _| {
            matches!(
                key.as_str(),
                "phase" | "qosClass" | "conditions" | "containerStatuses" | "initContainerStatuses"
            )
        });
        if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
            conditions.retain(|condition| condition["type"] == "PodResizePending");
        }
        for list in ["containerStatuses", "initContainerStatuses"] {
            let Some(Value::Array(statuses)) = status.get_mut(list) else { continue };
            statuses.retain_mut(|status| {
                if let Value::Object(map) = status {
                    map.retain(|key, _| matches!(key.as_str(), "name" | "resources" | "allocatedResources"));
                }
                let asked = asked(&status["name"]);
                let requests = asked.get("requests").unwrap_or(&Value::Null);
                let allocated = status.get("allocatedResources").unwrap_or(requests);
                status.get("resources").is_some_and(|has| *has != asked) || allocated != requests
            });
        }
        status.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_pods_only_what_counts_is_kept() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let pod = |has: &str, allocated: &str| {
            json!({
                "metadata": {"name": "p", "managedFields": []},
                "spec": {"volumes": [], "containers": [{"name": "a", "image": "i", "resources": of("1")}]},
                "status": {
                    "phase": "Running", "podIP": "10.0.0.1",
                    "conditions": [{"type": "Ready"}],
                    "containerStatuses": [{"name": "a", "ready": true, "resources": of(has),
                        "allocatedResources": {"cpu": allocated}}],
                },
            })
        };
        let resized = json!([{"name": "a", "resources": of("2"), "allocatedResources": {"cpu": "1"}}]);
        let promised = json!([{"name": "a", "resources": of("1"), "allocatedResources": {"cpu": "2"}}]);
        for (has, allocated, statuses) in [("1", "1", Value::Null), ("2", "1", resized), ("1", "2", promised)]
        {
            let mut raw: Raw = serde_json::from_value(pod(has, allocated)).unwrap();
            raw.trim();
            let mut status = json!({"phase": "Running"});
            if !statuses.is_null() {
                status["containerStatuses"] = statuses;
            }
            assert_eq!(raw.value["status"], status);
            assert_eq!(raw.value["spec"], json!({"containers": [{"name": "a", "resources": of("1")}]}));
        }
    }
}
