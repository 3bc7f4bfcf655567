//! Events about pods and the node: asynchronous, bounded, repeated ones counted on the first object.
//!
//! A full queue drops the event (it is a report, never state). Per object a bucket of 25 refilled one per five
//! minutes keeps a crashing pod from flooding the API, as upstream's recorder does.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const QUEUE: usize = 1024;
const REMEMBERED: usize = 2048;
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
const MESSAGE_LIMIT: usize = 1024;

/// Severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Nothing to worry about.
    Normal,
    /// Something an operator may want to see.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// One event to report.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it is about.
    pub object: ObjectReference,
    /// Severity.
    pub type_: EventType,
    /// Machine-readable reason.
    pub reason: String,
    /// Text.
    pub message: String,
}

/// Hands events to the task that writes them; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Report>,
}

impl Recorder {
    /// A recorder and the queue its writer ([`run`]) reads.
    pub fn new() -> (Recorder, mpsc::Receiver<Report>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Recorder { queue }, receiver)
    }

    /// Reports an event.
    pub fn event(&self, object: ObjectReference, type_: EventType, reason: &str, message: impl Into<String>) {
        let mut message: String = message.into();
        if message.len() > MESSAGE_LIMIT {
            let cut = (0..=MESSAGE_LIMIT).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
            message.truncate(cut);
        }
        let report = Report { object, type_, reason: reason.to_owned(), message };
        if let Err(error) = self.queue.try_send(report) {
            tracing::debug!(%error, "event dropped");
        }
    }
}

/// The reference events of a pod carry.
pub fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// The reference events of one container carry; `list` is `containers`, `initContainers` or `ephemeralContainers`.
pub fn container_reference(pod: &Pod, list: &str, container: &str) -> ObjectReference {
    ObjectReference { field_path: Some(format!("spec.{list}{{{container}}}")), ..pod_reference(pod) }
}

struct Known {
    name: String,
    count: i32,
}

struct Writer {
    client: kube::Client,
    host: String,
    known: HashMap<String, Known>,
    order: VecDeque<String>,
    buckets: HashMap<String, (f64, Timestamp)>,
}

/// Writes reported events until cancelled or until every recorder is gone.
pub async fn run(
    client: kube::Client,
    host: String,
    mut queue: mpsc::Receiver<Report>,
    stop: CancellationToken,
) {
    let mut writer =
        Writer { client, host, known: HashMap::new(), order: VecDeque::new(), buckets: HashMap::new() };
    loop {
        let report = tokio::select! {
            () = stop.cancelled() => return,
            report = queue.recv() => report,
        };
        let Some(report) = report else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            () = writer.write(report) => {}
        }
    }
}

impl Writer {
    fn admitted(&mut self, report: &Report, now: Timestamp) -> bool {
        let key = report.object.uid.clone().unwrap_or_default();
        if self.buckets.len() > REMEMBERED {
            self.buckets.clear();
        }
        let (tokens, at) = self.buckets.entry(key).or_insert((BURST, now));
        let elapsed = now.duration_since(*at).as_secs_f64().max(0.0);
        *tokens = (*tokens + elapsed * REFILL_PER_SECOND).min(BURST);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    async fn write(&mut self, report: Report) {
        let now = Timestamp::now();
        if !self.admitted(&report, now) {
            tracing::debug!(reason = report.reason, "event suppressed: too many for this object");
            return;
        }
        let object = &report.object;
        let key = format!(
            "{:?}/{:?}/{:?}/{}/{}/{}",
            object.namespace,
            object.uid,
            object.field_path,
            report.type_.as_str(),
            report.reason,
            report.message
        );
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Some(known) = self.known.get_mut(&key) {
            let count = known.count + 1;
            let patch = serde_json::json!({ "count": count, "lastTimestamp": Time(now) });
            match api.patch(&known.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {
                    known.count = count;
                    return;
                }
                Err(error) => tracing::debug!(%error, "event cannot be counted, making a new one"),
            }
        }
        let name =
            format!("{}.{:x}", object.name.as_deref().unwrap_or("unknown"), now.as_nanosecond() as u64);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: report.object,
            reason: Some(report.reason),
            message: Some(report.message),
            type_: Some(report.type_.as_str().to_owned()),
            source: Some(EventSource {
                component: Some("kubelet".to_owned()),
                host: Some(self.host.clone()),
            }),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        };
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if self.order.len() >= REMEMBERED
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.known.remove(&oldest);
                }
                if self.known.insert(key.clone(), Known { name, count: 1 }).is_none() {
                    self.order.push_back(key);
                }
            }
            Err(error) => tracing::debug!(%error, "event cannot be written"),
        }
    }
}
