//! Writes pod statuses: per pod one write at a time, always the newest, never the same twice; after the last one
//! of a deleted pod the object itself is deleted. A conflict or loss of the API server is retried with back-off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::spec;

/// Few, so that under load a pod's next status overtakes the one still waiting instead of being written after it.
const WRITES_AT_ONCE: usize = 4;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

struct Slot {
    pod: Arc<Pod>,
    wanted: Arc<PodStatus>,
    written: Option<Arc<PodStatus>>,
    delete: bool,
    /// The object is gone: nothing is written any more, until the worker ends and the slot with it.
    gone: bool,
    busy: bool,
}

/// Writes statuses for all workers.
pub struct StatusWriter {
    client: kube::Client,
    slots: Mutex<HashMap<String, Slot>>,
    writes: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

enum Next {
    Patch(Arc<Pod>, Arc<PodStatus>, Value),
    Delete(Arc<Pod>),
    Nothing,
}

impl StatusWriter {
    /// A writer with this client.
    pub fn new(client: kube::Client, tasks: TaskTracker, stop: CancellationToken) -> Arc<StatusWriter> {
        let writes = Semaphore::new(WRITES_AT_ONCE);
        Arc::new(StatusWriter { client, slots: Mutex::default(), writes, tasks, stop })
    }

    /// Wants `status` to be the pod's; `delete` asks for the deletion of the object after it.
    pub fn set(self: &Arc<Self>, pod: &Arc<Pod>, status: PodStatus, delete: bool) {
        let uid = spec::uid(pod).to_owned();
        let mut slots = self.slots.lock();
        let slot = slots.entry(uid.clone()).or_insert_with(|| Slot {
            pod: pod.clone(),
            wanted: Arc::new(pod.status.clone().unwrap_or_default()),
            written: None,
            delete: false,
            gone: false,
            busy: false,
        });
        slot.pod = pod.clone();
        slot.delete |= delete;
        if *slot.wanted != status {
            slot.wanted = Arc::new(status);
        }
        if slot.busy || matches!(next(slot), Next::Nothing) {
            return;
        }
        slot.busy = true;
        drop(slots);
        let this = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = this.stop.cancelled() => {}
                () = this.drain(&uid) => {}
            }
        });
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, uid: &str) {
        self.slots.lock().remove(uid);
    }

    fn gone(&self, uid: &str) {
        if let Some(slot) = self.slots.lock().get_mut(uid) {
            slot.gone = true;
        }
    }

    async fn drain(&self, uid: &str) {
        let mut delay = RETRY;
        loop {
            let next = {
                let mut slots = self.slots.lock();
                let Some(slot) = slots.get_mut(uid) else { return };
                let next = next(slot);
                if matches!(next, Next::Nothing) {
                    slot.busy = false;
                    return;
                }
                next
            };
            let Ok(_permit) = self.writes.acquire().await else { return };
            match self.write(uid, next).await {
                Ok(()) => delay = RETRY,
                Err(error) => {
                    tracing::debug!(%error, uid, "pod status not written, will be tried again");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn write(&self, uid: &str, next: Next) -> Result<(), kube::Error> {
        match next {
            Next::Patch(pod, status, patch) => {
                let api: Api<Pod> = Api::namespaced(self.client.clone(), spec::namespace(&pod));
                let params = PatchParams::default();
                match api.patch_status(spec::name(&pod), &params, &Patch::Strategic(&patch)).await {
                    Ok(_) => {}
                    // Gone, or another pod of the same name: nobody is left to tell.
                    Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409 | 422) => {
                        tracing::debug!(
                            uid,
                            code = answer.code,
                            message = answer.message,
                            "pod status refused"
                        );
                        if answer.code == 404 {
                            self.gone(uid);
                            return Ok(());
                        }
                    }
                    Err(error) => return Err(error),
                }
                if let Some(slot) = self.slots.lock().get_mut(uid) {
                    slot.written = Some(status);
                }
                Ok(())
            }
            Next::Delete(pod) => {
                let api: Api<Pod> = Api::namespaced(self.client.clone(), spec::namespace(&pod));
                let params = DeleteParams {
                    grace_period_seconds: Some(0),
                    preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
                    ..DeleteParams::default()
                };
                match api.delete(spec::name(&pod), &params).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
                    Err(error) => return Err(error),
                }
                self.gone(uid);
                Ok(())
            }
            Next::Nothing => Ok(()),
        }
    }
}

fn next(slot: &Slot) -> Next {
    if slot.gone {
        return Next::Nothing;
    }
    let empty = PodStatus::default();
    let old = slot.written.as_deref().or(slot.pod.status.as_ref()).unwrap_or(&empty);
    match patch(&slot.pod, old, &slot.wanted) {
        Some(patch) => Next::Patch(slot.pod.clone(), slot.wanted.clone(), patch),
        None if slot.delete => Next::Delete(slot.pod.clone()),
        None => Next::Nothing,
    }
}

/// The strategic merge patch from one status to another; `None` when nothing differs.
fn patch(pod: &Pod, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    if old == new {
        return None;
    }
    let object = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    };
    let (old, new) = (object(old), object(new));
    let mut changes = Map::new();
    for (key, value) in &new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let change = match key.as_str() {
            "conditions" => changed_conditions(before, value),
            // Merged by address: an address that is gone would stay.
            "podIPs" | "hostIPs" if before.is_some() => replaced(value),
            _ => value.clone(),
        };
        changes.insert(key.clone(), change);
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    (!changes.is_empty()).then(|| json!({ "metadata": { "uid": spec::uid(pod) }, "status": changes }))
}

fn replaced(value: &Value) -> Value {
    let mut list = vec![json!({ "$patch": "replace" })];
    list.extend(value.as_array().cloned().unwrap_or_default());
    Value::Array(list)
}

fn changed_conditions(before: Option<&Value>, value: &Value) -> Value {
    let before: &[Value] = before.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let changed = value.as_array().into_iter().flatten().filter(|item| !before.contains(item)).map(|item| {
        let mut item = item.clone();
        if let Value::Object(fields) = &mut item {
            for field in ["reason", "message"] {
                fields.entry(field).or_insert(Value::Null);
            }
        }
        item
    });
    // A condition that is not told any more has to be taken away by its key.
    let type_ = |item: &Value| item.get("type").cloned().unwrap_or_default();
    let now = || value.as_array().into_iter().flatten();
    let gone = before.iter().map(type_).filter(|known| !now().any(|item| type_(item) == *known));
    let gone = gone.map(|known| json!({ "$patch": "delete", "type": known }));
    Value::Array(changed.chain(gone).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_sent() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}})).unwrap();
        let old: PodStatus = serde_json::from_value(json!({
            "phase": "Pending", "reason": "X", "hostIP": "1.1.1.1",
            "conditions": [{"type": "Ready", "status": "False", "reason": "R"}, {"type": "Foreign", "status": "True"},
                {"type": "PodResizePending", "status": "True"}],
        }))
        .unwrap();
        let new: PodStatus = serde_json::from_value(json!({
            "phase": "Running", "hostIP": "1.1.1.1",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Foreign", "status": "True"}],
        }))
        .unwrap();
        assert_eq!(patch(&pod, &old, &old), None);
        assert_eq!(
            patch(&pod, &old, &new).unwrap(),
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running", "reason": null,
                "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null},
                    {"$patch": "delete", "type": "PodResizePending"}],
            }})
        );
    }
}
