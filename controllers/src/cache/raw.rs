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
        keep(self.value.get_mut("status"), |key| matches!(key, "phase" | "qosClass"));
        for list in containers {
            let list = self.value.get_mut("spec").and_then(|spec| spec.get_mut(list)?.as_array_mut());
            for container in list.into_iter().flatten() {
                keep(Some(container), |key| matches!(key, "name" | "resources" | "restartPolicy"));
            }
        }
    }
}
