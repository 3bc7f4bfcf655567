use super::*;
use crate::catalog::Strategy;
use crate::kinds::service::Service;

fn errors(spec: &Value) -> Vec<String> {
    let mut o = json!({"metadata": {"name": "s"}, "spec": spec});
    if o["spec"].get("ports").is_none() && o["spec"]["type"] != "ExternalName" {
        o["spec"]["ports"] = json!([{"port": 80}]);
    }
    Service.default(&mut o);
    let mut e = ErrorList::new();
    validate(&o, &mut e);
    new_addresses(&o, &Value::Null, &mut e);
    e.0.iter().map(ToString::to_string).collect()
}

#[test]
fn specs() {
    for (spec, want) in [
        (json!({"clusterIP": "10.0.0.1"}), vec![]),
        (json!({"clusterIP": "None"}), vec![]),
        (
            json!({"type": "LoadBalancer", "loadBalancerClass": "a.b/c", "loadBalancerSourceRanges": [" 10.0.0.0/8 "]}),
            vec![],
        ),
        (json!({"trafficDistribution": "PreferSameNode", "sessionAffinity": "ClientIP"}), vec![]),
        (
            json!({"type": "NodePort", "clusterIP": "None"}),
            vec![
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ],
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.b.", "ipFamilyPolicy": "SingleStack", "clusterIP": "10.0.0.1"}),
            vec![
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
            ],
        ),
        (
            json!({"clusterIPs": ["10.0.0.1"]}),
            vec![
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
            ],
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
            vec!["spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`"],
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}),
            vec![
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
            ],
        ),
        (
            json!({"clusterIP": "::1", "ipFamilies": ["IPv4"]}),
            vec![
                "spec.clusterIPs[0]: Invalid value: \"::1\": expected an IPv4 value as indicated by `ipFamilies[0]`",
            ],
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "x"}),
            vec![
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
                "spec.ipFamilyPolicy: Unsupported value: \"x\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"",
            ],
        ),
        (
            json!({"loadBalancerClass": "a"}),
            vec!["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            json!({"allocateLoadBalancerNodePorts": true}),
            vec![
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ],
        ),
        (
            json!({"loadBalancerSourceRanges": ["x"]}),
            vec![
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            json!({"externalTrafficPolicy": "Local"}),
            vec![
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        (
            json!({"healthCheckNodePort": 1}),
            vec![
                "spec.healthCheckNodePort: Invalid value: 1: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ],
        ),
        (
            json!({"trafficDistribution": "x"}),
            vec![
                "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
            ],
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
            vec![
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
            ],
        ),
        (
            json!({"ports": [{"port": 80, "appProtocol": "a b"}]}),
            vec![
                "spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
    ] {
        assert_eq!(errors(&spec), want, "{spec}");
    }
}

#[test]
fn changes() {
    let balancer = |extra: Value| {
        let mut s = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]});
        crate::patch::merge_patch(&mut s, &extra);
        json!({"spec": s})
    };
    for (new, want) in [
        (json!({}), vec![]),
        (
            json!({"loadBalancerClass": "a/b"}),
            vec!["spec.loadBalancerClass: Invalid value: \"a/b\": may not change once set"],
        ),
        (
            json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}),
            vec!["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"],
        ),
        (json!({"type": "ExternalName", "clusterIP": null, "clusterIPs": null}), vec![]),
    ] {
        let mut e = ErrorList::new();
        update(&balancer(new.clone()), &balancer(json!({})), &mut e);
        assert_eq!(e.0.iter().map(ToString::to_string).collect::<Vec<_>>(), want, "{new}");
    }
}

#[test]
fn statuses() {
    for (kind, ingress, want) in [
        ("LoadBalancer", json!({"ip": "1.1.1.1", "ipMode": "VIP"}), vec![]),
        (
            "ClusterIP",
            json!({"ip": "1.1.1.1"}),
            vec![
                "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'",
            ],
        ),
        (
            "LoadBalancer",
            json!({"ip": "1.1.1.1"}),
            vec!["status.loadBalancer.ingress[0].ipMode: Required value: must be specified when `ip` is set"],
        ),
        (
            "LoadBalancer",
            json!({"hostname": "1.1.1.1"}),
            vec![
                "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.1.1.1\": must be a DNS name, not an IP address",
            ],
        ),
    ] {
        let mut e = ErrorList::new();
        status(
            &json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [ingress]}}}),
            &Value::Null,
            &mut e,
        );
        assert_eq!(e.0.iter().map(ToString::to_string).collect::<Vec<_>>(), want, "{ingress}");
    }
}

#[test]
fn addresses_that_read_in_two_ways_may_only_stay() {
    let spec = json!({"type": "LoadBalancer", "clusterIP": "010.0.0.1", "clusterIPs": ["010.0.0.1"],
        "externalIPs": ["::ffff:1.2.3.4"], "loadBalancerSourceRanges": ["10.0.0.1/8", "10.0.0.0/08"]});
    let want = [
        "spec.externalIPs[0]: Invalid value: \"::ffff:1.2.3.4\": must not be an IPv4-mapped IPv6 address",
        "spec.clusterIPs[0]: Invalid value: \"010.0.0.1\": must not have leading 0s",
        "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length",
        "spec.LoadBalancerSourceRanges[1]: Invalid value: \"10.0.0.0/08\": must not have leading 0s in IP or prefix length",
    ];
    assert_eq!(errors(&spec), want);
    let (service, mut e) = (json!({"spec": spec}), ErrorList::new());
    new_addresses(&service, &service, &mut e);
    assert_eq!(e, ErrorList::new());
}
