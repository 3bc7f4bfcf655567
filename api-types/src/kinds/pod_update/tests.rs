use super::*;
use crate::catalog::Strategy;
use crate::kinds::pod::Pod;
use serde_json::json;

fn changes(new: Value, old: Value) -> Vec<String> {
    let mut e = ErrorList::new();
    update(&new, &old, &Path::new("spec"), &mut e);
    e.0.iter().map(ToString::to_string).collect()
}

#[test]
fn what_may_change_of_a_pod() {
    let mutable = format!("spec: Forbidden: {MUTABLE}");
    let affinity = |terms: Value| {
        json!({"schedulingGates": [{"name": "g"}], "affinity": {"nodeAffinity": {REQUIRED:
        {"nodeSelectorTerms": terms}}}})
    };
    let term = |values: &[&str]| {
        json!({"matchExpressions": values.iter()
        .map(|v| json!({"key": v, "operator": "Exists"})).collect::<Vec<_>>()})
    };
    for (new, old, want) in [
        (json!({"containers": [{"image": "b"}]}), json!({"containers": [{"image": "a"}]}), vec![]),
        (json!({"containers": []}), json!({"containers": [{}]}), vec!["spec.containers: Forbidden: pod updates may not add or remove containers".to_owned()]),
        (json!({"activeDeadlineSeconds": 5}), json!({}), vec![]),
        (json!({"activeDeadlineSeconds": 5}), json!({"activeDeadlineSeconds": 9}), vec![]),
        (json!({"activeDeadlineSeconds": 9}), json!({"activeDeadlineSeconds": 5}), vec!["spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value".into()]),
        (json!({}), json!({"activeDeadlineSeconds": 5}), vec!["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value".into()]),
        (json!({"tolerations": [{"key": "a", "tolerationSeconds": 2}, {"key": "b"}]}), json!({"tolerations": [{"key": "a", "tolerationSeconds": 1}]}), vec![]),
        (json!({}), json!({"tolerations": [{"key": "a"}]}), vec!["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds".into()]),
        (json!({}), json!({"schedulingGates": [{"name": "g"}]}), vec![]),
        (json!({"schedulingGates": [{"name": "h"}]}), json!({"schedulingGates": [{"name": "g"}]}), vec!["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'".into()]),
        (json!({"terminationGracePeriodSeconds": 1}), json!({"terminationGracePeriodSeconds": -5}), vec![]),
        (json!({"terminationGracePeriodSeconds": 2}), json!({"terminationGracePeriodSeconds": -5}), vec![mutable.clone()]),
        (json!({"nodeSelector": {"a": "b"}}), json!({}), vec![mutable.clone()]),
        (json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}), json!({"schedulingGates": [{"name": "g"}]}), vec![]),
        (json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "c"}}), json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}), vec!["spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)".into()]),
        (affinity(json!([term(&["a", "b"])])), affinity(json!([term(&["a"])])), vec![]),
        (affinity(json!([term(&["a"]), term(&["b"])])), affinity(json!([term(&["a"])])), vec!["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: [{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\"}]},{\"matchExpressions\":[{\"key\":\"b\",\"operator\":\"Exists\"}]}]: no additions/deletions to non-empty NodeSelectorTerms list are allowed".into()]),
        (affinity(json!([term(&["b"])])), affinity(json!([term(&["a"])])), vec!["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value: {\"matchExpressions\":[{\"key\":\"b\",\"operator\":\"Exists\"}]}: only additions are allowed (no mutations or deletions)".into()]),
    ] {
        assert_eq!(changes(new.clone(), old.clone()), want, "{old} -> {new}");
    }
}

#[test]
fn new_pods() {
    for (pod, want) in [
        (
            json!({"spec": {"ephemeralContainers": [{"name": "e"}]}}),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            json!({"spec": {"nodeName": "n", "schedulingGates": [{"name": "g"}]}}),
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ),
        (
            json!({"metadata": {"annotations": {SECCOMP_POD: "unconfined"}}, "spec": {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}}),
            "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
        ),
        (
            json!({"metadata": {"annotations": {format!("{SECCOMP_CONTAINER}a"): "localhost/x"}}, "spec": {"containers": [{"name": "a", "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "y"}}}]}}),
            "spec.containers[0].securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match",
        ),
    ] {
        let mut e = ErrorList::new();
        create(&pod, &mut e);
        let all: Vec<String> = e.0.iter().map(ToString::to_string).collect();
        assert_eq!(all, [want], "{pod}");
    }
}

#[test]
fn statuses() {
    let ip = |ips: &[&str]| json!({"podIPs": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()});
    for (status, want) in [
        (ip(&["10.0.0.1", "::1"]), vec![]),
        (
            ip(&["x"]),
            vec![
                "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            ip(&["10.0.0.1", "10.0.0.2"]),
            vec![
                "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
            ],
        ),
        (
            json!({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}),
            vec!["status.hostIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `hostIP`"],
        ),
        (
            json!({"observedGeneration": -1}),
            vec!["status.observedGeneration: Invalid value: -1: must be a non-negative integer"],
        ),
        (
            json!({"nominatedNodeName": "n"}),
            vec![
                "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
            ],
        ),
    ] {
        let mut e = ErrorList::new();
        Pod.validate_status_update(&json!({"status": status}), &json!({"spec": {"nodeName": "x"}}), &mut e);
        let all: Vec<String> = e.0.iter().map(ToString::to_string).collect();
        assert_eq!(all, want, "{status}");
    }
}
