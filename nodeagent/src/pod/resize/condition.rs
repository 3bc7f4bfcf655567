//! What the status and the events tell of a resize: that it waits, that it goes on, what went wrong. The texts are
//! upstream's.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::amounts::Amounts;
use crate::pod::spec;
use crate::runtime::ContainerRecord;

/// The condition of a resize that is not allocated.
pub const PENDING: &str = "PodResizePending";
/// The condition of a resize that is allocated and not everywhere given yet.
pub const IN_PROGRESS: &str = "PodResizeInProgress";
/// The reason of a resize that waits for room.
pub const DEFERRED: &str = "Deferred";
/// The reason of a resize that could not be carried out.
pub const ERROR: &str = "Error";

/// A condition that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Reason.
    pub reason: String,
    /// Text.
    pub message: String,
    /// The generation of the specification it is about.
    pub generation: i64,
    /// Since when it holds with this reason.
    pub since: Timestamp,
    /// When it was last looked at.
    pub probed: Timestamp,
}

/// What is known of a pod's resize.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resize {
    /// It waits.
    pub pending: Option<Told>,
    /// It goes on.
    pub progress: Option<Told>,
    /// What running containers, by id, were given since they were made.
    pub given: BTreeMap<String, Amounts>,
    /// Containers, by id, that are ended only to be resized.
    pub restarting: BTreeSet<String>,
}

impl Resize {
    /// As the pod's status has it, after a restart of the agent.
    pub fn told(pod: &Pod) -> Resize {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
        let told = |type_: &str| {
            let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
            let since = condition.last_transition_time.as_ref().map(|time| time.0).unwrap_or_default();
            Some(Told {
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
                generation: condition.observed_generation.unwrap_or_default(),
                since,
                probed: condition.last_probe_time.as_ref().map_or(since, |time| time.0),
            })
        };
        Resize { pending: told(PENDING), progress: told(IN_PROGRESS), ..Resize::default() }
    }

    /// What a running container has.
    pub fn given(&self, record: &ContainerRecord) -> Option<Amounts> {
        self.given.get(&record.id).copied().or(record.made_with)
    }

    /// It cannot be allocated now. Says whether that is news.
    pub fn defer(&mut self, message: String, generation: i64, now: Timestamp) -> bool {
        let known = self.pending.as_ref();
        let news = known.is_none_or(|known| known.reason != DEFERRED || known.generation != generation);
        if known.is_some_and(|known| !news && known.message == message) {
            return false;
        }
        let since = known.filter(|known| known.reason == DEFERRED).map_or(now, |known| known.since);
        let reason = DEFERRED.to_owned();
        self.pending = Some(Told { reason, message, generation, since, probed: now });
        news
    }

    /// It is allocated: what went wrong before does not matter any more.
    pub fn begin(&mut self, generation: i64, now: Timestamp) {
        self.pending = None;
        let (reason, message) = (String::new(), String::new());
        self.progress = Some(Told { reason, message, generation, since: now, probed: now });
    }

    /// It went wrong. Gives the generation when that is news.
    pub fn fail(&mut self, message: &str, generation: i64, now: Timestamp) -> Option<i64> {
        let known = self.progress.as_ref();
        if known.is_some_and(|known| known.reason == ERROR && known.message == message) {
            return None;
        }
        let generation = known.map_or(generation, |known| known.generation);
        let since = known.filter(|known| known.reason == ERROR).map_or(now, |known| known.since);
        let (reason, message) = (ERROR.to_owned(), message.to_owned());
        self.progress = Some(Told { reason, message, generation, since, probed: now });
        Some(generation)
    }

    /// The conditions that hold.
    pub fn conditions(&self) -> Vec<PodCondition> {
        let one = |type_: &str, told: &Told| PodCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: (!told.reason.is_empty()).then(|| told.reason.clone()),
            message: (!told.message.is_empty()).then(|| told.message.clone()),
            observed_generation: Some(told.generation),
            last_probe_time: Some(Time(told.probed)),
            last_transition_time: Some(Time(told.since)),
        };
        let pending = self.pending.iter().map(|told| one(PENDING, told));
        pending.chain(self.progress.iter().map(|told| one(IN_PROGRESS, told))).collect()
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "initContainers", skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Named>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Named {
    name: String,
    resources: ResourceRequirements,
}

/// The message of an event about a resize: what it is about, in JSON.
pub fn event_message(what: &str, pod: &Pod, generation: i64, error: &str) -> String {
    let spec = spec::spec(pod);
    let named = |container: &Container| Named {
        name: container.name.clone(),
        resources: container.resources.clone().unwrap_or_default(),
    };
    let summary = Summary {
        init_containers: spec.init_containers.iter().flatten().map(named).collect(),
        containers: spec.containers.iter().map(named).collect(),
        generation,
        error,
    };
    match serde_json::to_string(&summary) {
        Ok(summary) => format!("Pod resize {what}: {summary}"),
        Err(_) => format!("Pod resize {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_deferred_resize_is_news_once_a_generation() {
        let mut resize = Resize::default();
        assert!(resize.defer("m".into(), 2, at(1)));
        assert!(!resize.defer("m".into(), 2, at(2)));
        assert!(!resize.defer("n".into(), 2, at(3)), "another number is no news");
        assert!(resize.defer("n".into(), 3, at(4)));
        let [condition] = &resize.conditions()[..] else { panic!() };
        assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), (PENDING, Some(DEFERRED)));
        assert_eq!(condition.last_transition_time, Some(Time(at(1))));
        assert_eq!(condition.observed_generation, Some(3));
        resize.begin(3, at(5));
        assert_eq!(resize.conditions()[0].type_, IN_PROGRESS);
        assert_eq!(resize.fail("bad", 4, at(6)), Some(3), "it is the resize that began");
        assert_eq!(resize.fail("bad", 4, at(7)), None);
        let pod = Pod {
            status: Some(k8s_openapi::api::core::v1::PodStatus {
                conditions: Some(resize.conditions()),
                ..Default::default()
            }),
            ..Pod::default()
        };
        assert_eq!(Resize::told(&pod), resize, "a restart of the agent forgets nothing");
    }

    #[test]
    fn events_show_what_it_is_about() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "initContainers": [{"name": "c0", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}],
            "containers": [{"name": "c1"}],
        }}))
        .unwrap();
        assert_eq!(
            event_message("started", &pod, 2, ""),
            r#"Pod resize started: {"initContainers":[{"name":"c0","resources":{"limits":{"cpu":"200m"},"requests":{"cpu":"100m"}}}],"containers":[{"name":"c1","resources":{}}],"generation":2}"#
        );
        assert_eq!(
            event_message("OutOfcpu", &Pod::default(), 3, "no"),
            r#"Pod resize OutOfcpu: {"generation":3,"error":"no"}"#
        );
    }
}
