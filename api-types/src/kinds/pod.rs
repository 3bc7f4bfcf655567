//! Pods.

use serde_json::{Value, json};

use super::fields::below;
use super::{
    addresses, drop_status, keep_status, plural, pod_apparmor, pod_defaults, pod_disabled, pod_resize,
    pod_row, pod_spec, pod_update, pod_volumes, pod_warnings,
};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};

/// The strategy of pods.
pub struct Pod;

impl Strategy for Pod {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        pod_defaults::pod_spec(spec);
        pod_defaults::pod_only(spec);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        pod_disabled::drop(object, &Value::Null, &["spec"]);
        pod_apparmor::fill_in(object);
        let qos = qos_class(object);
        let mut status = json!({"phase": "Pending", "qosClass": qos});
        let gated = meta::at(object, &["spec", "schedulingGates"])
            .and_then(Value::as_array)
            .is_some_and(|g| !g.is_empty());
        if gated {
            status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null}]);
        }
        object["status"] = status;
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        pod_disabled::drop(new, old, &["spec"]);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        crate::catalog::keep_spec(new, old);
        super::keep_metadata(new, old, "ownerReferences");
        if let Some(Value::Object(status)) = new.get_mut("status") {
            plural::pod_addresses(status);
        }
        // The class of service is decided once.
        if let (Some(Value::Object(s)), Some(q)) =
            (new.get_mut("status"), meta::at(old, &["status", "qosClass"]))
        {
            meta::default_to(s, "qosClass", q.clone());
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        pod_spec::validate(below(object, "spec"), &Path::new("spec"), errors);
        pod_volumes::of_pod(object, errors);
        pod_update::images(below(object, "spec"), &Path::new("spec"), errors);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        pod_update::create(object, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        pod_update::update(below(new, "spec"), below(old, "spec"), &Path::new("spec"), errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        pod_update::status(new, old, &Path::new("status"), errors);
    }

    fn prepare_for_resize(&self, new: &mut Value, old: &Value) {
        pod_resize::prepare(new, old);
    }

    fn validate_resize(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        pod_resize::validate(new, old, errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let spec = meta::at(object, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
        let mut period = requested.or(spec).unwrap_or(30);
        if period < 0 {
            period = 1;
        }
        // A pod no node has taken, or that has ended, has nobody to wait for.
        let phase = meta::str_at(object, &["status", "phase"]);
        if meta::str_at(object, &["spec", "nodeName"]).is_empty() || phase == "Succeeded" || phase == "Failed"
        {
            period = 0;
        }
        Some(period)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        // People do not update pods, controllers do.
        if old.is_some() {
            return Vec::new();
        }
        let mut all = pod_apparmor::warnings(object);
        all.extend(pod_warnings::of_pod(object));
        all
    }

    fn status_warnings(&self, new: &Value, _old: &Value) -> Vec<String> {
        let mut all = Vec::new();
        for list in ["podIPs", "hostIPs"] {
            let ips = meta::at(new, &["status", list]).and_then(Value::as_array);
            for (i, ip) in ips.into_iter().flatten().enumerate() {
                let path = Path::new("status").child(list).index(i).child("ip");
                all.extend(addresses::ip_warnings(&path, meta::str_at(ip, &["ip"])));
            }
        }
        all
    }

    fn row(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        pod_row::row(object, now)
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the requests and limits for CPU and memory.
pub fn qos_class(pod: &Value) -> &'static str {
    let spec = pod.get("spec");
    let lists = ["containers", "initContainers"];
    // What the pod as a whole asks for decides where it asks for anything.
    let own = ["requests", "limits"].iter().any(|f| {
        meta::at(pod, &["spec", "resources", f]).and_then(Value::as_object).is_some_and(|m| !m.is_empty())
    });
    let containers =
        lists.iter().filter_map(|l| spec.and_then(|s| s.get(l)).and_then(Value::as_array)).flatten();
    let all: Vec<&Value> = if own { spec.into_iter().collect() } else { containers.collect() };
    let amount = |c: &Value, list: &str, name: &str| {
        meta::at(c, &["resources", list, name])
            .and_then(Value::as_str)
            .map(str::to_owned)
            .filter(|q| q != "0")
    };
    let compute = ["cpu", "memory"];
    let any = all.iter().any(|c| {
        compute.iter().any(|n| amount(c, "limits", n).is_some() || amount(c, "requests", n).is_some())
    });
    if !any {
        return "BestEffort";
    }
    let guaranteed = all.iter().all(|c| {
        compute.iter().all(|n| {
            let limit = amount(c, "limits", n);
            limit.is_some() && amount(c, "requests", n).or_else(|| limit.clone()) == limit
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: Value) -> Value {
        let mut p = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"containers": containers}});
        Pod.default(&mut p);
        p
    }

    fn errors(p: &Value) -> Vec<String> {
        let mut e = ErrorList::new();
        Pod.validate(p, &mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn validates_containers() {
        assert!(errors(&pod(json!([{"name": "a", "image": "b"}]))).is_empty());
        assert_eq!(errors(&pod(json!([]))), vec!["spec.containers: Required value"]);
        assert_eq!(
            errors(&pod(json!([{"name": "a", "image": "b"}, {"name": "a"}]))),
            vec![
                "spec.containers[1].image: Required value",
                "spec.containers[1].name: Duplicate value: \"a\""
            ]
        );
        assert_eq!(
            errors(&pod(json!([{"name": "a", "image": "b", "imagePullPolicy": "x"}]))),
            vec![
                "spec.containers[0].imagePullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
            ]
        );
        assert_eq!(
            errors(&pod(
                json!([{"name": "a", "image": "b", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}])
            )),
            vec!["spec.containers[0].volumeMounts[0].name: Not found: \"v\""]
        );
        assert_eq!(
            errors(&pod(json!([{"name": "a", "image": "b",
                "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]))),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"
            ]
        );
    }

    #[test]
    fn only_few_fields_of_a_pod_may_change() {
        let old = pod(json!([{"name": "a", "image": "b"}]));
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = "c".into();
        let mut e = ErrorList::new();
        Pod.validate_update(&new, &old, &mut e);
        assert!(e.is_empty());
        new["spec"]["containers"][0]["name"] = "d".into();
        Pod.validate_update(&new, &old, &mut e);
        assert!(
            e.0[0].to_string().starts_with("spec: Forbidden: pod updates may not change fields other than")
        );
    }

    #[test]
    fn classes_of_service() {
        assert_eq!(qos_class(&pod(json!([{"name": "a"}]))), "BestEffort");
        assert_eq!(
            qos_class(&pod(json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]))),
            "Burstable"
        );
        let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(qos_class(&pod(json!([{"name": "a", "resources": limits}]))), "Guaranteed");
    }

    #[test]
    fn grace_is_zero_where_no_node_has_the_pod() {
        let p = pod(json!([{"name": "a"}]));
        assert_eq!(Pod.grace_period(&p, None), Some(0));
        let mut bound = p.clone();
        bound["spec"]["nodeName"] = "n".into();
        assert_eq!(Pod.grace_period(&bound, None), Some(30));
        assert_eq!(Pod.grace_period(&bound, Some(5)), Some(5));
    }
}
