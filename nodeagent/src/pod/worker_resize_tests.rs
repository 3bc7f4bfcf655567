//! Workers resize their pods: in place, by a restart, later, in vain and after a restart of the agent.

use serde_json::{Value, json};

use super::*;

/// A pod of one container with these limits.
fn sized(name: &str, generation: i64, cpu: &str, memory: &str, policy: Value) -> Arc<Pod> {
    let resources =
        json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}});
    let pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": generation},
        "spec": {
            "terminationGracePeriodSeconds": 1, "restartPolicy": "OnFailure",
            "containers": [{"name": "a", "image": "i:1", "resources": resources, "resizePolicy": policy}],
        },
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn update(pod: Arc<Pod>) -> Update {
    Update { pod, removed: false }
}

impl World {
    /// Waits until a status of the pod has been written that fits.
    async fn told(&mut self, name: &str, what: impl Fn(&Value) -> bool) {
        let line = format!("PATCH /api/v1/namespaces/ns/pods/{name}/status");
        self.asked(|asked, body| asked == line && what(&body["status"])).await;
    }

    async fn running(&mut self, name: &str) {
        self.told(name, |status| status["phase"] == "Running").await;
    }

    /// The next event about a resize.
    async fn event(&mut self) -> (String, String) {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.events.recv());
            let report = next.await.expect("an event in time").expect("a recorder");
            if report.reason.starts_with("Resize") {
                return (report.reason, report.message);
            }
        }
    }

    /// Waits until the runtime has been called so.
    async fn asked_runtime(&self, call: &str) {
        let mut called = self.runtime.called();
        let wait = async {
            while !self.runtime.calls().iter().any(|known| known == call) {
                called.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("called in time");
    }

    fn updates(&self) -> Vec<String> {
        let calls = self.runtime.calls().into_iter();
        calls.filter(|call| call.starts_with("UpdateContainerResources")).collect()
    }
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let all = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_running_container_gets_other_resources() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, sized("p", 1, "100m", "64Mi", json!([])), Known::default());
    world
        .told("p", |status| {
            let container = &status["containerStatuses"][0];
            container["resources"]["limits"]["cpu"] == "100m"
                && container["allocatedResources"]["memory"] == "64Mi"
        })
        .await;
    handle.updates.send_replace(update(sized("p", 2, "250m", "32Mi", json!([]))));
    world
        .told("p", |status| {
            let container = &status["containerStatuses"][0];
            container["resources"]["limits"] == json!({"cpu": "250m", "memory": "32Mi"})
                && container["allocatedResources"] == json!({"cpu": "250m", "memory": "32Mi"})
                && container["restartCount"] == 0
        })
        .await;
    // Memory first, with the CPU it still had; then both.
    let id = world.runtime.list_running().pop().unwrap();
    assert_eq!(
        world.updates(),
        [
            format!("UpdateContainerResources {id} shares=102 quota=10000 memory=33554432"),
            format!("UpdateContainerResources {id} shares=256 quota=25000 memory=33554432"),
        ]
    );
    assert_eq!(world.count("CreateContainer"), 1);
    let resources = r#"{"limits":{"cpu":"250m","memory":"32Mi"},"requests":{"cpu":"250m","memory":"32Mi"}}"#;
    let summary = format!(r#"{{"containers":[{{"name":"a","resources":{resources}}}],"generation":2}}"#);
    let (started, completed) = (world.event().await, world.event().await);
    assert_eq!(started, ("ResizeStarted".to_owned(), format!("Pod resize started: {summary}")));
    assert_eq!(completed, ("ResizeCompleted".to_owned(), format!("Pod resize completed: {summary}")));
}

#[tokio::test]
async fn a_container_is_restarted_where_it_wants_to_be() {
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, sized("p", 1, "100m", "64Mi", policy.clone()), Known::default());
    world.running("p").await;
    // It ends well when asked to, which is the end of it under its restart policy, were it not for the resize.
    world.runtime.stop_with(0);
    handle.updates.send_replace(update(sized("p", 2, "100m", "128Mi", policy)));
    let id = world.runtime.list_running().pop().unwrap();
    world.asked_runtime(&format!("StopContainer {id}")).await;
    handle.wakeups.send(Wakeup::Ended(id)).await.unwrap();
    world
        .told("p", |status| {
            let container = &status["containerStatuses"][0];
            container["restartCount"] == 1 && container["resources"]["limits"]["memory"] == "128Mi"
        })
        .await;
    assert_eq!((world.count("CreateContainer"), world.updates().len()), (2, 0));
}

#[tokio::test]
async fn what_does_not_fit_waits_for_room() {
    let mut world = world(FakeRuntime::new());
    let first = spawn(&world.ctx, sized("p", 1, "400m", "64Mi", json!([])), Known::default());
    let other = spawn(&world.ctx, sized("q", 1, "500m", "64Mi", json!([])), Known::default());
    world.running("p").await;
    world.running("q").await;
    first.updates.send_replace(update(sized("p", 2, "600m", "64Mi", json!([]))));
    let message = "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000";
    world
        .told("p", |status| {
            let pending = condition(status, "PodResizePending");
            pending["reason"] == "Deferred"
                && pending["message"] == message
                && pending["observedGeneration"] == 2
        })
        .await;
    assert!(world.updates().is_empty());
    let (reason, text) = world.event().await;
    assert_eq!(reason, "ResizeDeferred");
    assert!(text.starts_with("Pod resize OutOfcpu: {") && text.contains(message), "{text}");
    // The other one is resized too, which makes room once it is through.
    other.updates.send_replace(update(sized("q", 2, "400m", "64Mi", json!([]))));
    world
        .told("p", |status| {
            condition(status, "PodResizePending")["$patch"] == "delete"
                && status["containerStatuses"][0]["allocatedResources"]["cpu"] == "600m"
        })
        .await;
}

#[tokio::test]
async fn a_wish_that_is_taken_back_waits_no_more() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, sized("p", 1, "400m", "64Mi", json!([])), Known::default());
    world.running("p").await;
    handle.updates.send_replace(update(sized("p", 2, "2", "64Mi", json!([]))));
    world.told("p", |status| condition(status, "PodResizePending")["reason"] == "Deferred").await;
    handle.updates.send_replace(update(sized("p", 3, "400m", "64Mi", json!([]))));
    world.told("p", |status| condition(status, "PodResizePending")["$patch"] == "delete").await;
    assert!(world.updates().is_empty());
}

#[tokio::test]
async fn what_the_runtime_refuses_is_told_and_tried_again() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, sized("p", 1, "100m", "64Mi", json!([])), Known::default());
    world.running("p").await;
    world.runtime.fail("UpdateContainerResources", Some("not today"));
    handle.updates.send_replace(update(sized("p", 2, "200m", "64Mi", json!([]))));
    world
        .told("p", |status| {
            let progress = condition(status, "PodResizeInProgress");
            progress["reason"] == "Error" && progress["message"] == "not today"
        })
        .await;
    assert_eq!(world.event().await.0, "ResizeStarted");
    let (reason, text) = world.event().await;
    assert_eq!(reason, "ResizeError");
    assert!(text.contains(r#""error":"not today""#), "{text}");
    world.runtime.fail("UpdateContainerResources", None);
    world.told("p", |status| condition(status, "PodResizeInProgress")["$patch"] == "delete").await;
    assert_eq!(world.event().await.0, "ResizeCompleted");
}

#[tokio::test]
async fn memory_in_use_is_not_taken_away() {
    let mut world = world(FakeRuntime::new());
    let handle = spawn(&world.ctx, sized("p", 1, "100m", "64Mi", json!([])), Known::default());
    world.running("p").await;
    world.runtime.use_memory("a", 40 << 20);
    handle.updates.send_replace(update(sized("p", 2, "100m", "32Mi", json!([]))));
    let message = "cannot decrease memory limits: attempting to set container \"a\" memory limit (33554432) \
                   below current usage (41943040)";
    world.told("p", |status| condition(status, "PodResizeInProgress")["message"] == message).await;
    assert!(world.updates().is_empty());
    // It is allocated all the same; what the container has is told beside it.
    world
        .told("p", |status| {
            let container = &status["containerStatuses"][0];
            container["allocatedResources"]["memory"] == "32Mi"
                && container["resources"]["limits"]["memory"] == "64Mi"
        })
        .await;
}

#[tokio::test]
async fn a_resize_while_the_agent_was_down_is_one() {
    let mut world = world(FakeRuntime::new());
    let first = spawn(&world.ctx, sized("p", 1, "100m", "64Mi", json!([])), Known::default());
    world.running("p").await;
    drop(first);
    let known = kill::read_pod(&world.ctx, "uid-p").await.unwrap();
    let _second = spawn(&world.ctx, sized("p", 2, "200m", "64Mi", json!([])), known);
    assert_eq!(world.event().await.0, "ResizeStarted");
    assert_eq!(world.event().await.0, "ResizeCompleted");
    assert_eq!((world.updates().len(), world.count("CreateContainer")), (1, 1));
}

#[tokio::test]
async fn a_restarted_agent_counts_all_pods_before_it_grants_anything() {
    let mut before = world(FakeRuntime::new());
    let _first = spawn(&before.ctx, sized("p", 1, "400m", "64Mi", json!([])), Known::default());
    let _other = spawn(&before.ctx, sized("q", 1, "500m", "64Mi", json!([])), Known::default());
    before.running("p").await;
    before.running("q").await;
    let mut world = starting((before.runtime.clone(), mpsc::channel(1).1));
    let mut known = Vec::new();
    for uid in ["uid-p", "uid-q"] {
        known.push(kill::read_pod(&world.ctx, uid).await.unwrap());
    }
    let (q, p) = (known.pop().unwrap(), known.pop().unwrap());
    let _first = spawn(&world.ctx, sized("p", 2, "600m", "64Mi", json!([])), p);
    let _other = spawn(&world.ctx, sized("q", 1, "500m", "64Mi", json!([])), q);
    world.ctx.allocations.open();
    world.told("p", |status| condition(status, "PodResizePending")["reason"] == "Deferred").await;
    assert!(world.updates().is_empty());
}
