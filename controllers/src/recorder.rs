//! Events (core/v1) about objects: written in the background, counted when repeated, never waited for.
//!
//! Invariants: at most [`PENDING`] events wait to be written, further ones are dropped; an event that repeats
//! within the memory of the recorder raises the count of the first one; one object gets at most 25 different
//! events in a burst and one in five minutes after that, so that a failing loop does not flood the store.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

const PENDING: usize = 1000;
const REMEMBERED: usize = 2048;
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);

/// Whether an event tells of something expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Expected.
    Normal,
    /// Not expected.
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

struct Record {
    about: ObjectReference,
    type_: EventType,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Accepts events; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Record>,
}

impl Recorder {
    /// A recorder that writes as `component` until `token` is cancelled.
    pub fn spawn(
        client: Client,
        component: &'static str,
        tasks: &TaskTracker,
        token: &CancellationToken,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(PENDING);
        let token = token.clone();
        tasks.spawn(async move { token.run_until_cancelled(write(client, component, receiver)).await });
        Recorder { sender }
    }

    /// Records that `reason` happened to `about`.
    pub fn event(&self, about: ObjectReference, type_: EventType, reason: &'static str, message: String) {
        let record = Record { about, type_, reason, message, at: Timestamp::now() };
        if self.sender.try_send(record).is_err() {
            debug!(reason, "too many events wait, one is dropped");
        }
    }
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Sameness {
    uid: String,
    object: (String, String),
    type_: EventType,
    reason: &'static str,
    message: String,
}

struct Known {
    namespace: String,
    name: String,
    count: i32,
}

#[derive(Default)]
struct Memory {
    known: HashMap<Sameness, Known>,
    order: VecDeque<Sameness>,
    tokens: HashMap<String, (f64, Instant)>,
}

impl Memory {
    fn allow(&mut self, uid: &str) -> bool {
        let now = Instant::now();
        if self.tokens.len() > REMEMBERED {
            self.tokens.retain(|_, (_, at)| now - *at < REFILL);
        }
        let (tokens, at) = self.tokens.entry(uid.to_owned()).or_insert((BURST, now));
        *tokens = (*tokens + (now - *at).as_secs_f64() / REFILL.as_secs_f64()).min(BURST);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    fn remember(&mut self, same: Sameness, known: Known) {
        if self.known.insert(same.clone(), known).is_none() {
            self.order.push_back(same);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

async fn write(client: Client, component: &'static str, mut records: mpsc::Receiver<Record>) {
    let mut memory = Memory::default();
    while let Some(record) = records.recv().await {
        if let Err(error) = write_one(&client, component, &mut memory, record).await {
            debug!(component, %error, "event not written");
        }
    }
}

async fn write_one(
    client: &Client,
    component: &str,
    memory: &mut Memory,
    record: Record,
) -> Result<(), kube::Error> {
    let uid = record.about.uid.clone().unwrap_or_default();
    let object =
        (record.about.namespace.clone().unwrap_or_default(), record.about.name.clone().unwrap_or_default());
    if !memory.allow(&uid) {
        return Ok(());
    }
    let same =
        Sameness { uid, object, type_: record.type_, reason: record.reason, message: record.message.clone() };
    if let Some(known) = memory.known.get_mut(&same) {
        known.count += 1;
        let patch = json!({"count": known.count, "lastTimestamp": Time(record.at)});
        let events: Api<Event> = Api::namespaced(client.clone(), &known.namespace);
        match events.patch(&known.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            // The first one expired meanwhile: write it anew.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            result => return result.map(drop),
        }
    }
    let event = new_event(component, &record);
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let name = event.metadata.name.clone().unwrap_or_default();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    events.create(&PostParams::default(), &event).await?;
    memory.remember(same, Known { namespace, name, count: 1 });
    Ok(())
}

fn new_event(component: &str, record: &Record) -> Event {
    let namespace = match record.about.namespace.as_deref() {
        None | Some("") => "default",
        Some(namespace) => namespace,
    };
    let name = record.about.name.as_deref().unwrap_or_default();
    let at = Some(Time(record.at));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", record.at.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: record.about.clone(),
        reason: Some(record.reason.to_owned()),
        message: Some(record.message.clone()),
        type_: Some(record.type_.as_str().to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: at.clone(),
        last_timestamp: at,
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_object_cannot_flood() {
        let mut memory = Memory::default();
        assert_eq!((0..40).filter(|_| memory.allow("a")).count(), 25);
        assert!(memory.allow("b"));
        tokio::time::advance(REFILL).await;
        assert!(memory.allow("a"));
        assert!(!memory.allow("a"));
    }

    #[test]
    fn an_event_of_a_cluster_scoped_object_goes_to_default() {
        let about = ObjectReference { name: Some("n1".into()), ..ObjectReference::default() };
        let record = Record {
            about,
            type_: EventType::Normal,
            reason: "NodeNotReady",
            message: String::new(),
            at: Timestamp::UNIX_EPOCH,
        };
        let event = new_event("node-controller", &record);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.metadata.name.as_deref(), Some("n1.0"));
    }
}
