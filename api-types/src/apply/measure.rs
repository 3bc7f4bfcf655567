//! What keeping owners costs: `cargo test -p api-types measure -- --ignored --nocapture`. Not an assertion: a
//! figure to look at when this code changes.

use std::hint::black_box;
use std::time::Instant;

use serde_json::{Value, json};

use super::update::{Subject, updated};
use crate::catalog;

const ROUNDS: u32 = 20_000;

fn per_round(mut work: impl FnMut()) -> u128 {
    work();
    let started = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    started.elapsed().as_nanos() / u128::from(ROUNDS)
}

#[test]
#[ignore = "prints a measurement"]
fn of_owners() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "b", "labels": {"app": "x"}}, "data": {"a": "1", "b": "2"}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
            "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": true,
            "volumes": [{"name": "v", "emptyDir": {}}]}});
    for (name, object) in [("ConfigMap", map), ("Pod", pod)] {
        let kind = catalog::by_kind("", "v1", name).unwrap();
        let subject = Subject::Object(kind, "");
        let now = "2026-01-01T00:00:00Z";
        let owners = || updated(None, &object, subject, "kubectl", now).unwrap().unwrap_or(Value::Null);
        let set = per_round(|| {
            black_box(owners());
        });
        let mut owned = object.clone();
        super::managers::set(&mut owned, Some(owners()));
        let plain = per_round(|| {
            black_box(serde_json::to_vec(&object).unwrap_or_default());
        });
        let with = per_round(|| {
            black_box(serde_json::to_vec(&owned).unwrap_or_default());
        });
        println!("{name}: the set {set} ns; encoding {plain} ns without owners, {with} ns with");
    }
}
