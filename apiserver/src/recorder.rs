//! Events about objects that the API server itself looks after: warnings, counted when repeated.
//!
//! Invariants: writing an event never fails what it is about; one that repeats within the memory of the recorder
//! raises the count of the first one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::status::Status;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::registry::{Part, Registry, UpdateOptions, Write};

/// Events that are known to be the same when they come again.
const REMEMBERED: usize = 1024;

/// Whose event, why, and in which words.
type Sameness = (String, String, String);

/// Namespace and name of an event.
type Place = (String, String);

#[derive(Default)]
struct Memory {
    known: HashMap<Sameness, Place>,
    order: VecDeque<Sameness>,
}

/// Writes events that one part of the API server signs.
pub struct Recorder {
    registry: Arc<Registry>,
    component: &'static str,
    user: UserInfo,
    memory: Mutex<Memory>,
}

impl Recorder {
    /// Signs as `component`.
    pub fn new(registry: Arc<Registry>, component: &'static str) -> Self {
        Self { registry, component, user: UserInfo::api_server(), memory: Mutex::default() }
    }

    /// Warns of something about an object.
    pub async fn warning(&self, about: &Value, reason: &str, message: &str) {
        self.record(about, reason, None, message).await;
    }

    /// Warns of something about an object that was found while doing `action`.
    pub async fn warning_while(&self, about: &Value, reason: &str, action: &str, message: &str) {
        self.record(about, reason, Some(action), message).await;
    }

    async fn record(&self, about: &Value, reason: &str, action: Option<&str>, message: &str) {
        if let Err(status) = self.write(about, reason, action, message).await {
            tracing::debug!(
                component = self.component,
                reason,
                error = status.message,
                "an event is not written"
            );
        }
    }

    async fn write(
        &self,
        about: &Value,
        reason: &str,
        action: Option<&str>,
        message: &str,
    ) -> Result<(), Status> {
        let kind = catalog::by_resource("", "v1", "events")
            .ok_or_else(|| Status::internal("events are not served"))?;
        let write = Write::own(&self.user);
        let same = (meta::uid(about).to_owned(), reason.to_owned(), message.to_owned());
        let known = self.memory.lock().known.get(&same).cloned();
        let now = Timestamp::now();
        if let Some((namespace, name)) = known {
            let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
            let derive = |current: Option<&Value>| {
                let mut event = current.cloned().unwrap_or_default();
                count(&mut event, now);
                Ok(event)
            };
            match self.registry.update(kind, &namespace, &name, options, &write, derive).await {
                // The first one has expired: this is a new one.
                Err(s) if s.reason == "NotFound" => {}
                outcome => return outcome.map(drop),
            }
        }
        let event = event(self.component, about, reason, action, message, now);
        let place = (meta::namespace(&event).to_owned(), meta::name(&event).to_owned());
        self.registry.create(kind, &place.0, event, &write).await?;
        let mut memory = self.memory.lock();
        if memory.known.insert(same.clone(), place).is_none() {
            memory.order.push_back(same);
        }
        if memory.order.len() > REMEMBERED
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.known.remove(&oldest);
        }
        Ok(())
    }
}

/// Says of an event that it has come again.
fn count(event: &mut Value, now: Timestamp) {
    if str_at(event, &["action"]).is_empty() {
        event["count"] = (meta::at(event, &["count"]).and_then(Value::as_i64).unwrap_or(1) + 1).into();
        event["lastTimestamp"] = meta::rfc3339(now).into();
        return;
    }
    let before = meta::at(event, &["series", "count"]).and_then(Value::as_i64).unwrap_or(1);
    event["series"] = json!({"count": before + 1, "lastObservedTime": micros(now)});
}

fn micros(t: Timestamp) -> String {
    t.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A new event. One with an action has the newer form, whose times are exact; an object without a namespace is
/// told of in `default`.
fn event(
    component: &str,
    about: &Value,
    reason: &str,
    action: Option<&str>,
    message: &str,
    now: Timestamp,
) -> Value {
    let namespace = match meta::namespace(about) {
        "" => "default",
        own => own,
    };
    let mut object = json!({});
    for field in ["apiVersion", "kind"] {
        object[field] = str_at(about, &[field]).into();
    }
    for field in ["namespace", "name", "uid", "resourceVersion"] {
        let value = str_at(about, &["metadata", field]);
        if !value.is_empty() {
            object[field] = value.into();
        }
    }
    let name = format!("{}.{:x}", meta::name(about), now.as_nanosecond());
    let mut event = json!({"apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": namespace}, "involvedObject": object, "type": "Warning",
        "reason": reason, "message": message, "reportingComponent": component});
    match action {
        Some(action) => {
            event["action"] = action.into();
            event["eventTime"] = micros(now).into();
            event["reportingInstance"] = component.into();
        }
        None => {
            event["source"] = json!({"component": component});
            event["firstTimestamp"] = meta::rfc3339(now).into();
            event["lastTimestamp"] = meta::rfc3339(now).into();
            event["count"] = 1.into();
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_both_forms_are_counted() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (first, second) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:09.5Z"));
        let about = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "metadata": {"name": "a", "uid": "u"}});
        let mut old = event("c", &about, "Why", None, "m", first);
        assert_eq!((meta::namespace(&old), &old["count"]), ("default", &json!(1)));
        assert_eq!(
            old["involvedObject"],
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "name": "a", "uid": "u"})
        );
        count(&mut old, second);
        assert_eq!((&old["count"], &old["lastTimestamp"]), (&json!(2), &json!("2026-01-01T00:00:09Z")));
        let mut new = event("c", &about, "Why", Some("Doing"), "m", first);
        assert_eq!((&new["eventTime"], &new["count"]), (&json!("2026-01-01T00:00:00.000000Z"), &Value::Null));
        count(&mut new, second);
        assert_eq!(new["series"], json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:09.500000Z"}));
    }
}
