//! Tells users what became of a pod: events, and the pod's condition PodScheduled. Written in the background.
//!
//! Invariants: at most [`PENDING`] reports wait, further ones are dropped; an event that repeats becomes a series
//! of the first one; a condition is written only when it says something new.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod},
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use crate::pod::PodInfo;

const PENDING: usize = 4096;
const PARALLEL: usize = 16;
const REMEMBERED: usize = 2048;
const CONTROLLER: &str = "default-scheduler";
/// Longest text an event may have.
const LONGEST_NOTE: usize = 1024;

/// What to tell.
pub(crate) enum Report {
    /// It got a node.
    Scheduled { pod: Arc<PodInfo>, node: Arc<str> },
    /// It did not.
    Failed { pod: Arc<PodInfo>, reason: &'static str, message: String },
    /// It may not be tried yet.
    Gated { pod: Arc<PodInfo>, message: String },
}

/// Accepts reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    sender: mpsc::Sender<Report>,
}

impl Reporter {
    /// A reporter and the task that writes for it.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let (sender, mut receiver) = mpsc::channel(PENDING);
        let writer = Arc::new(Writer { client, known: Mutex::default() });
        let reports = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let task = reports.for_each_concurrent(PARALLEL, move |report| {
            let writer = writer.clone();
            async move { writer.write(report).await }
        });
        (Reporter { sender }, task)
    }

    pub(crate) fn report(&self, report: Report) {
        if self.sender.try_send(report).is_err() {
            debug!("too many reports wait, one is dropped");
        }
    }
}

type Sameness = (Box<str>, &'static str, String);

struct Writer {
    client: Client,
    known: Mutex<HashMap<Sameness, (String, i32)>>,
}

impl Writer {
    async fn write(&self, report: Report) {
        let (pod, result) = match report {
            Report::Scheduled { pod, node } => {
                let note = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
                let result = self.event(&pod, "Normal", "Scheduled", "Binding", note).await;
                (pod, result)
            }
            Report::Failed { pod, reason, message } => {
                let written = self.condition(&pod, reason, &message).await;
                let event = self.event(&pod, "Warning", "FailedScheduling", "Scheduling", message).await;
                (pod, written.and(event))
            }
            Report::Gated { pod, message } => {
                let result = self.condition(&pod, "SchedulingGated", &message).await;
                (pod, result)
            }
        };
        if let Err(error) = result {
            debug!(pod = pod.key(), %error, "report not written");
        }
    }

    async fn condition(&self, pod: &PodInfo, reason: &str, message: &str) -> Result<(), kube::Error> {
        let known = pod.scheduled.as_ref();
        if known.is_some_and(|(status, known_reason, known_message)| {
            &**status == "False" && **known_reason == *reason && **known_message == *message
        }) {
            return Ok(());
        }
        let same_status = known.is_some_and(|(status, ..)| &**status == "False");
        let since = if same_status { pod.scheduled_since } else { None };
        let patch = json!({"metadata": {"uid": &*pod.uid}, "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "observedGeneration": pod.generation, "lastProbeTime": null,
            "lastTransitionTime": Time(since.unwrap_or_else(Timestamp::now))}]}});
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        match pods.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn event(
        &self,
        pod: &PodInfo,
        type_: &str,
        reason: &'static str,
        action: &str,
        mut note: String,
    ) -> Result<(), kube::Error> {
        if note.len() > LONGEST_NOTE {
            let end = (0..=LONGEST_NOTE - 4).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
            note.truncate(end);
            note.push_str(" ...");
        }
        let now = Timestamp::now();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace);
        let same: Sameness = (pod.uid.clone(), reason, note.clone());
        let repeated = self.known.lock().get_mut(&same).map(|(name, count)| {
            *count += 1;
            (name.clone(), *count)
        });
        if let Some((name, count)) = repeated {
            let series = EventSeries { count, last_observed_time: MicroTime(now) };
            let patch = Patch::Strategic(json!({"series": series}));
            match api.patch(&name, &PatchParams::default(), &patch).await {
                // The first one expired meanwhile: write it anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                result => return result.map(drop),
            }
        }
        let name = format!("{}.{:x}", pod.name, now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(pod.namespace.to_string()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(CONTROLLER.to_owned()),
            action: Some(action.to_owned()),
            reason: Some(reason.to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(pod.namespace.to_string()),
                name: Some(pod.name.to_string()),
                uid: Some(pod.uid.to_string()),
                ..ObjectReference::default()
            }),
            note: Some(note),
            type_: Some(type_.to_owned()),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        if reason == "FailedScheduling" {
            let mut known = self.known.lock();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(same, (name, 1));
        }
        Ok(())
    }
}
