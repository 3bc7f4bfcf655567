use super::*;
use serde_json::json;

fn pod(spec: Value) -> Vec<String> {
    of_pod(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

fn containers_with(field: &str, first: Value, second: Value) -> Value {
    json!({"containers": [{"name": "a", field: first}, {"name": "b", field: second}]})
}

#[test]
fn a_plain_pod_is_told_nothing() {
    let spec = json!({"containers": [{"name": "a", "image": "x", "env": [{"name": "A", "value": "1"},
        {"name": "A", "value": "$(A)2"}], "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "ca.crt"}]}}]}}]});
    assert_eq!(pod(spec), [""; 0]);
}

#[test]
fn each_oddity_of_a_spec_is_told() {
    let port = |p: Value| json!([p]);
    for (spec, want) in [
        (
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
        ),
        (
            json!({"affinity": {"nodeAffinity": {AFFINITY_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "beta.kubernetes.io/arch", "operator": "Exists"}]}]}}}}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        ),
        (
            json!({"affinity": {"nodeAffinity": {AFFINITY_PREFERRED: [{"weight": 1, "preference": {"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["-"]}]}}]}}}),
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "k"}]}),
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        ),
        (
            json!({"affinity": {"podAffinity": {AFFINITY_REQUIRED: [{"topologyKey": "k"}]}}}),
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
        ),
        (
            json!({"affinity": {"podAntiAffinity": {AFFINITY_PREFERRED: [{"podAffinityTerm": {"topologyKey": "k"}}]}}}),
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
        ),
        (
            json!({"volumes": [{"name": "v", "storageos": {}}]}),
            "spec.volumes[0].storageOS: deprecated in v1.22, non-functional in v1.25+",
        ),
        (
            json!({"volumes": [{"name": "v", "gitRepo": {"repository": "x"}}]}),
            "spec.volumes[0].gitRepo: deprecated in v1.11",
        ),
        (
            json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec":
                {"resources": {"requests": {"storage": "100m"}}}}}}]}),
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value \"100m\" is invalid, must be an integer",
        ),
        (
            json!({"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"path": "a"}, {"path": "a/b/"}]}}]}),
            "volume \"v\" (ConfigMap \"c\"): overlapping paths: \"a/b\" with \"a\"",
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "a"}},
                {"secret": {"name": "s", "items": [{"path": "a"}]}}]}}]}),
            "volume \"v\" (Projected): overlapping paths: \"a\" (Secret \"s\") with \"a\" (ServiceAccountToken)",
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{}]}}]}),
            "volume \"v\" (Projected) has no sources provided",
        ),
        (
            json!({"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]}),
            "spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\"",
        ),
        (
            json!({"hostAliases": [{"ip": "01.1.1.1"}]}),
            "spec.hostAliases[0].ip: non-standard IP address \"01.1.1.1\" is invalid: use \"1.1.1.1\"",
        ),
        (
            json!({"dnsConfig": {"nameservers": ["2001:DB8::1"]}}),
            "spec.dnsConfig.nameservers[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
        ),
        (
            json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
        ),
        (json!({"imagePullSecrets": [{}]}), "spec.imagePullSecrets[0].name: invalid empty name \"\""),
        (
            json!({"overhead": {"memory": "1m"}}),
            "spec.overhead[memory]: fractional byte value \"1m\" is invalid, must be an integer",
        ),
        (
            json!({"initContainers": [{"resources": {"limits": {"ephemeral-storage": "1.5"}}}]}),
            "spec.initContainers[0].resources.limits[ephemeral-storage]: fractional byte value \"1.5\" is invalid, must be an integer",
        ),
        (
            json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)"}]}]}),
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
        ),
        (
            containers_with(
                "ports",
                port(json!({"containerPort": 80, "protocol": "TCP"})),
                port(json!({"containerPort": 80, "protocol": "TCP"})),
            ),
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            containers_with(
                "ports",
                port(json!({"containerPort": 80, "protocol": "TCP", "hostPort": 1})),
                port(json!({"containerPort": 80, "protocol": "TCP"})),
            ),
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        (
            containers_with(
                "ports",
                port(json!({"containerPort": 80, "protocol": "TCP", "hostPort": 1, "hostIP": "1.1.1.1"})),
                port(json!({"containerPort": 80, "protocol": "TCP", "hostPort": 1})),
            ),
            "spec.containers[1].ports[0]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
        ),
        (
            containers_with(
                "ports",
                port(json!({"containerPort": 80, "protocol": "TCP", "name": "p"})),
                port(json!({"containerPort": 81, "protocol": "TCP", "name": "p"})),
            ),
            "spec.containers[1].ports[0]: duplicate port name \"p\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
        ),
        (
            json!({"containers": [{"ports": [{"containerPort": 80, "protocol": "TCP", "hostIP": "1.1.1.1"}]}]}),
            "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.1.1.1}",
        ),
        (
            json!({"terminationGracePeriodSeconds": -1}),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ),
    ] {
        assert_eq!(pod(spec.clone()), [want], "{spec}");
    }
}

#[test]
fn annotations_that_became_fields() {
    let annotated = |key: &str, context: Value| {
        json!({"metadata": {"name": "p", "annotations": {key: "x"}},
            "spec": {"securityContext": context, "containers": [{"name": "a"}]}})
    };
    let pod_key = "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \\\"seccompProfile\\\" field instead";
    assert_eq!(of_pod(&annotated(SECCOMP_POD, json!({}))), [pod_key]);
    assert!(of_pod(&annotated(SECCOMP_POD, json!({"seccompProfile": {"type": "Unconfined"}}))).is_empty());
    let key = format!("{APPARMOR_CONTAINER}a");
    assert!(of_pod(&annotated(&key, json!({}))).is_empty());
    assert_eq!(
        of_template(&annotated(&key, json!({})), &Path::new("spec").child("template")),
        [format!(
            "spec.template.metadata.annotations[{key}]: deprecated since v1.30; use the \\\"appArmorProfile\\\" field instead"
        )]
    );
}

#[test]
fn the_template_of_a_workload_is_told_of_when_it_changes() {
    let workload = |generation: i64| {
        json!({"metadata": {"generation": generation}, "spec": {"template": {"spec":
        {"terminationGracePeriodSeconds": -1}}}})
    };
    assert_eq!(of_workload(&workload(1), None).len(), 1);
    assert_eq!(of_workload(&workload(1), Some(&workload(1))).len(), 0);
    assert_eq!(of_workload(&workload(2), Some(&workload(1))).len(), 1);
    assert_eq!(
        of_pod(&json!({"metadata": {"name": "a.b"}})),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"
        ]
    );
}
