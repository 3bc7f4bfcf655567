//! Claims and volumes that are being deleted stay as long as they are used.
//!
//! Owns: the finalizers `kubernetes.io/pvc-protection` and `kubernetes.io/pv-protection`, which admission gives to
//! new objects and these controllers to older ones.
//! Woken by: claims and volumes, and by pods that go in a namespace where a claim waits for them.
//! Invariants: a claim is used by every pod that has a node and mounts it, however far it has come; a volume while
//! it is bound. Whether a claim is used is asked of the server, not of a cache that may not know the pod yet.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kube::Client;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    cache::{Change, Informer, Meta, Object, ObjectKey, Raw, Source, null_default, views::MetaOnly},
    context::Context,
    pods::is_not_found,
    queue::WorkQueue,
    rest,
};

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

/// Why an object has not got its finalizer, or has not lost it.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: ObjectKey,
    source: kube::Error,
}

pub(crate) fn start(context: &Context) {
    start_claims(context);
    start_volumes(context);
}

/// What is to be done with the finalizer of an object.
#[derive(Debug, PartialEq)]
enum Task {
    Nothing,
    Add,
    /// Take it away unless the object is used.
    Release,
}

fn task(metadata: &Meta, finalizer: &str) -> Task {
    let has = metadata.finalizers.iter().any(|f| **f == *finalizer);
    match (metadata.deletion_timestamp.is_some(), has) {
        (true, true) => Task::Release,
        (false, false) => Task::Add,
        _ => Task::Nothing,
    }
}

struct Claims {
    client: Client,
    claims: Arc<Informer<MetaOnly>>,
    queue: Arc<WorkQueue<ObjectKey>>,
    /// By namespace, the claims that wait for their pods to go.
    waiting: Mutex<HashMap<Box<str>, HashSet<Box<str>>>>,
}

fn start_claims(context: &Context) {
    let client = context.client("pvc-protection-controller");
    let source = Source::new("/api/v1/persistentvolumeclaims").metadata_only();
    let controller = Arc::new(Claims {
        client: client.clone(),
        claims: Informer::new(source),
        queue: WorkQueue::new(context.metrics.queue("pvcprotection")),
        waiting: Mutex::default(),
    });
    let this = controller.clone();
    controller.claims.on_change(move |change| this.claim_changed(change));
    let this = controller.clone();
    context.informers.pods.on_change(move |change| {
        if let Change::Deleted(pod) = change {
            let waiting = this.waiting.lock();
            for name in waiting.get(&pod.metadata.namespace).into_iter().flatten() {
                this.queue.add(ObjectKey::new(&pod.metadata.namespace, name));
            }
        }
    });
    context.tasks.spawn(controller.claims.clone().run(client, context.token.clone()));
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    let queue = controller.queue.clone();
    queue.spawn_workers("pvc-protection", workers, &tasks, &token, move |key| {
        let this = controller.clone();
        async move { this.reconcile(&key).await }
    });
}

impl Claims {
    fn claim_changed(&self, change: &Change<MetaOnly>) {
        let metadata = &change.object().metadata;
        let task = task(metadata, CLAIM_FINALIZER);
        let mut waiting = self.waiting.lock();
        if task == Task::Release && !matches!(change, Change::Deleted(_)) {
            waiting.entry(metadata.namespace.clone()).or_default().insert(metadata.name.clone());
        } else if let Some(names) = waiting.get_mut(&metadata.namespace) {
            names.remove(&metadata.name);
            if names.is_empty() {
                waiting.remove(&metadata.namespace);
            }
        }
        if task != Task::Nothing && !matches!(change, Change::Deleted(_)) {
            self.queue.add(ObjectKey::of(&**change.object()));
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(claim) = self.claims.store().get(key) else { return Ok(()) };
        let task = task(&claim.metadata, CLAIM_FINALIZER);
        if task == Task::Nothing {
            return Ok(());
        }
        let failed = |operation| move |source| Error { operation, object: key.clone(), source };
        if task == Task::Release {
            let path = format!("/api/v1/namespaces/{}/pods", key.namespace);
            let pods: List = rest::get(&self.client, &path)
                .await
                .map_err(failed("listing the pods that may use claim"))?;
            if pods.items.iter().any(|pod| pod.uses(&claim.metadata)) {
                return Ok(());
            }
        }
        let path = format!("/api/v1/namespaces/{}/persistentvolumeclaims/{}", key.namespace, key.name);
        carry_out(&self.client, &path, &claim.metadata.uid, &task, CLAIM_FINALIZER)
            .await
            .map_err(failed("updating the finalizers of claim"))
    }
}

fn start_volumes(context: &Context) {
    let client = context.client("pv-protection-controller");
    let volumes: Arc<Informer<Raw>> = Informer::new(Source::new("/api/v1/persistentvolumes"));
    let queue = WorkQueue::new(context.metrics.queue("pvprotection"));
    let wake = queue.clone();
    volumes.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            wake.add(ObjectKey::of(&**change.object()));
        }
    });
    context.tasks.spawn(volumes.clone().run(client.clone(), context.token.clone()));
    let (tasks, token, workers) = (context.tasks.clone(), context.token.clone(), context.config.workers);
    queue.spawn_workers("pv-protection", workers, &tasks, &token, move |key: ObjectKey| {
        let (client, volumes) = (client.clone(), volumes.clone());
        async move {
            let Some(volume) = volumes.store().get(&key) else { return Ok(()) };
            let task = task(&volume.metadata, VOLUME_FINALIZER);
            let bound = volume.value.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
            if task == Task::Nothing || (task == Task::Release && bound) {
                return Ok(());
            }
            let path = format!("/api/v1/persistentvolumes/{}", key.name);
            carry_out(&client, &path, volume.uid(), &task, VOLUME_FINALIZER).await.map_err(|source| Error {
                operation: "updating the finalizers of volume",
                object: key,
                source,
            })
        }
    });
}

/// Adds the finalizer to the object as it is now, or takes it away; another object of that name is left alone.
async fn carry_out(
    client: &Client,
    path: &str,
    uid: &str,
    task: &Task,
    finalizer: &str,
) -> Result<(), kube::Error> {
    let mut object: Value = match rest::get(client, path).await {
        Ok(object) => object,
        Err(error) if is_not_found(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if api_types::meta::uid(&object) != uid {
        return Ok(());
    }
    let mut finalizers = api_types::meta::finalizers(&object);
    finalizers.retain(|known| known != finalizer);
    if *task == Task::Add {
        finalizers.push(finalizer.to_owned());
    }
    api_types::meta::set_finalizers(&mut object, finalizers);
    match rest::put(client, path, &object).await {
        Err(error) if !is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Pods, and only what tells which claims they use.
#[derive(Deserialize)]
struct List {
    #[serde(default, deserialize_with = "null_default")]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<Box<str>>,
    #[serde(deserialize_with = "null_default")]
    volumes: Vec<Volume>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: Box<str>,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_name: Box<str>,
}

impl Pod {
    fn uses(&self, claim: &Meta) -> bool {
        // No node starts a pod whose claim is being deleted.
        if self.spec.node_name.as_deref().unwrap_or_default().is_empty() {
            return false;
        }
        self.spec.volumes.iter().any(|volume| {
            let named = volume.persistent_volume_claim.as_ref();
            let own = || {
                *claim.name == format!("{}-{}", self.metadata.name, volume.name)
                    && claim.controller().is_some_and(|owner| owner.uid == self.metadata.uid)
            };
            named.is_some_and(|named| named.claim_name == claim.name) || (volume.ephemeral.is_some() && own())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finalizers_are_given_and_released() {
        let metadata = |value| serde_json::from_value::<Meta>(value).expect("metadata");
        for (value, expected) in [
            (json!({}), Task::Add),
            (json!({"finalizers": [CLAIM_FINALIZER]}), Task::Nothing),
            (
                json!({"finalizers": ["x", CLAIM_FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"}),
                Task::Release,
            ),
            (json!({"finalizers": ["x"], "deletionTimestamp": "2026-01-01T00:00:00Z"}), Task::Nothing),
        ] {
            assert_eq!(task(&metadata(value.clone()), CLAIM_FINALIZER), expected, "{value}");
        }
    }

    #[test]
    fn pods_with_a_node_use_their_claims() {
        let claim: Meta = serde_json::from_value(json!({"name": "p-scratch", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]}))
        .expect("metadata");
        let uses = |node: &str, uid: &str, volume: Value| {
            let pod = json!({"metadata": {"name": "p", "uid": uid}, "spec": {"nodeName": node, "volumes": [volume]}});
            serde_json::from_value::<Pod>(pod).expect("a pod").uses(&claim)
        };
        let named = json!({"name": "x", "persistentVolumeClaim": {"claimName": "p-scratch"}});
        assert!(uses("n", "other", named.clone()));
        assert!(!uses("", "other", named));
        assert!(!uses("n", "u", json!({"name": "x", "persistentVolumeClaim": {"claimName": "other"}})));
        let ephemeral = json!({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}});
        assert!(uses("n", "u", ephemeral.clone()));
        assert!(!uses("n", "other", ephemeral));
        assert!(!uses("n", "u", json!({"name": "scratch", "emptyDir": {}})));
    }
}
