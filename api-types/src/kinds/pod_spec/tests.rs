use super::*;
use crate::patch::merge_patch;
use serde_json::json;

/// What is refused of a sound spec that is changed like this.
fn errors(change: &Value) -> Vec<String> {
    let mut spec = json!({"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
        "containers": [container(json!({}))]});
    merge_patch(&mut spec, change);
    let mut e = ErrorList::new();
    validate(&spec, &Path::new("spec"), &mut e);
    e.0.iter().map(ToString::to_string).collect()
}

fn container(change: Value) -> Value {
    let mut c =
        json!({"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"});
    merge_patch(&mut c, &change);
    c
}

fn with(change: Value) -> Value {
    json!({"containers": [container(change)]})
}

fn check(cases: Vec<(Value, Vec<&str>)>) {
    for (change, want) in cases {
        assert_eq!(errors(&change), want, "{change}");
    }
}

#[test]
fn a_sound_spec_is_not_refused() {
    check(vec![
        (json!({}), vec![]),
        (json!({"hostUsers": false, "hostnameOverride": "a.b", "os": {"name": "linux"}}), vec![]),
        (
            with(
                json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}),
            ),
            vec![],
        ),
        (
            with(json!({"resources": {"claims": [{"name": "gpu", "request": "a"}]}}))
                .as_object()
                .map(|c| {
                    let mut c = c.clone();
                    c.insert("resourceClaims".into(), json!([{"name": "gpu", "resourceClaimName": "x"}]));
                    Value::Object(c)
                })
                .unwrap(),
            vec![],
        ),
    ]);
}

#[test]
fn fields_of_the_pod() {
    check(vec![
        (
            json!({"hostnameOverride": "a", "hostNetwork": true}),
            vec!["spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"],
        ),
        (
            json!({"hostnameOverride": "a", "setHostnameAsFQDN": true}),
            vec!["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"],
        ),
        (
            json!({"hostUsers": false, "hostPID": true}),
            vec!["spec.HostPID: Forbidden: when `hostUsers` is false"],
        ),
        (
            json!({"dnsPolicy": "None"}),
            vec!["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1"]}}),
            vec![
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\"]: must not have more than 3 nameservers",
            ],
        ),
        (
            json!({"dnsConfig": {"searches": [".", "a_b.c."], "options": [{"value": "x"}]}}),
            vec!["spec.dnsConfig.options[0]: Required value: must not be empty"],
        ),
        (
            json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]}),
            vec!["spec.schedulingGates[1]: Duplicate value: \"a\""],
        ),
        (
            json!({"preemptionPolicy": "x"}),
            vec![
                "spec.preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\"",
            ],
        ),
        (
            json!({"resourceClaims": [{"name": "a"}]}),
            vec![
                "spec.resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ],
        ),
        (
            json!({"hostAliases": [{"ip": "x"}]}),
            vec![
                "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            json!({"os": {"name": "windows"}, "hostPID": true}),
            vec!["spec.hostPID: Forbidden: cannot be set for a windows pod"],
        ),
        (
            json!({"os": {"name": "beos"}}),
            vec!["spec.os.name: Unsupported value: \"beos\": supported values: \"linux\", \"windows\""],
        ),
        (
            json!({"tolerations": [{"operator": "Equal"}]}),
            vec![
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ],
        ),
    ]);
}

#[test]
fn affinity_and_spreading() {
    let pods = |t: Value| json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [t]}}});
    let spread = |c: Value| {
        let mut all = json!({"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"});
        merge_patch(&mut all, &c);
        json!({"topologySpreadConstraints": [all]})
    };
    check(vec![
        (
            pods(json!({"topologyKey": "k", "matchLabelKeys": ["a"]})),
            vec![
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            ],
        ),
        (
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}),
            vec![
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            ],
        ),
        (
            spread(json!({"nodeTaintsPolicy": "x"})),
            vec![
                "spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: \"x\": supported values: \"Honor\", \"Ignore\"",
            ],
        ),
        (
            spread(json!({"labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["a"]})),
            vec![
                "spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector",
            ],
        ),
        (
            spread(json!({"whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1})),
            vec![
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ],
        ),
    ]);
}

#[test]
fn containers_and_what_is_done_to_them() {
    check(vec![
        (
            with(json!({"restartPolicyRules": [{"action": "x"}]})),
            vec![
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"x\": supported values: \"Restart\", \"RestartAllContainers\"",
                "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
            ],
        ),
        (
            with(json!({"lifecycle": {"stopSignal": "SIGTERM"}})),
            vec![
                "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
            ],
        ),
        (
            with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}})),
            vec![
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (
            with(
                json!({"readinessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}}),
            ),
            vec![
                "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
            ],
        ),
        (
            with(
                json!({"livenessProbe": {"successThreshold": 1, "httpGet": {"path": "/", "port": 80, "scheme": "FTP", "httpHeaders": [{"name": "a b"}]}}}),
            ),
            vec![
                "spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
                "spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            with(json!({"livenessProbe": {"successThreshold": 1, "grpc": {"port": 0}}})),
            vec![
                "spec.containers[0].livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"hostNetwork": true, "containers": [container(json!({"ports": [{"containerPort": 1, "hostPort": 2, "protocol": "TCP"}]}))]}),
            vec![
                "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true",
            ],
        ),
        (
            json!({"initContainers": [container(json!({"name": "i", "restartPolicy": "Always", "restartPolicyRules": [{}]}))]}),
            vec![
                "spec.initContainers[0].restartPolicyRules: Forbidden: restartPolicyRules are not allowed for init containers with restart policy Always",
            ],
        ),
        (
            json!({"initContainers": [container(json!({"name": "i", "lifecycle": {}}))]}),
            vec![
                "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            with(
                json!({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "A", "volumeName": "v", "path": "../x"}}}]}),
            ),
            vec![
                "spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: \"../x\": must not contain '..'",
                "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\"",
            ],
        ),
        (
            with(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}]}),
            ),
            vec![
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            with(json!({"envFrom": [{}]})),
            vec![
                "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ],
        ),
    ]);
}

#[test]
fn resources() {
    check(vec![
        (
            with(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            with(json!({"resources": {"requests": {"a.example/b": "1"}}})),
            vec![
                "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
            ],
        ),
        (
            with(json!({"resources": {"limits": {"a.example/b": "2"}, "requests": {"a.example/b": "1"}}})),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to a.example/b limit of 2",
            ],
        ),
        (
            with(json!({"resources": {"limits": {"hugepages-2Mi": "3Mi"}}})),
            vec![
                "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of 2Mi",
                "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            with(json!({"resources": {"claims": [{"name": "x"}]}})),
            vec![
                "spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
        (
            with(json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "x"}]})),
            vec![
                "spec.containers[0].resizePolicy: Unsupported value: \"x\": supported values: \"NotRequired\", \"RestartContainer\"",
            ],
        ),
        (
            json!({"resources": {"requests": {"cpu": "1"}}, "containers": [container(json!({"resources": {"requests": {"cpu": "2"}}}))]}),
            vec![
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            ],
        ),
        (
            json!({"resources": {"limits": {"cpu": "1"}}, "containers": [container(json!({"resources": {"limits": {"cpu": "2"}}}))]}),
            vec![
                "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod limits of 1",
            ],
        ),
    ]);
}

#[test]
fn security() {
    let pod = |c: Value| json!({"securityContext": c});
    let own = |c: Value| with(json!({"securityContext": c}));
    check(vec![
        (
            pod(json!({"fsGroup": -1})),
            vec![
                "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            pod(json!({"sysctls": [{"name": "a"}, {"name": "a"}, {"name": "A"}]})),
            vec![
                "spec.securityContext.sysctls[1].name: Duplicate value: \"a\"",
                "spec.securityContext.sysctls[2].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ],
        ),
        (
            json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.x"}]}}),
            vec![
                "spec.securityContext.sysctls[0].name: Invalid value: \"net.x\": may not be specified when 'hostNetwork' is true",
            ],
        ),
        (
            pod(json!({"supplementalGroupsPolicy": "x"})),
            vec![
                "spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"x\": supported values: \"Merge\", \"Strict\"",
            ],
        ),
        (
            pod(json!({"seccompProfile": {"type": "Localhost"}})),
            vec![
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            ],
        ),
        (
            pod(json!({"appArmorProfile": {"type": "Unconfined", "localhostProfile": "x"}})),
            vec![
                "spec.securityContext.appArmorProfile.localhostProfile: Invalid value: \"x\": can only be set when AppArmor type is Localhost",
            ],
        ),
        (
            own(json!({"procMount": "Unmasked"})),
            vec![
                "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ],
        ),
        (
            own(json!({"allowPrivilegeEscalation": false, "privileged": true})),
            vec![
                "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            json!({"shareProcessNamespace": true, "hostPID": true, "securityContext": {"runAsUser": 1}}),
            vec![
                "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            ],
        ),
    ]);
}
