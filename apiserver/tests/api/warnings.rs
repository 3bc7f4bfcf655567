//! What clients are told beside an answer: `Warning` headers of writes, and of versions that are going away.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Api, MERGE};

const CORE: &str = "/api/v1/namespaces/default";
const APPS: &str = "/apis/apps/v1/namespaces/default";
const BATCH: &str = "/apis/batch/v1/namespaces/default";
const GRACE: &str =
    "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1";

fn header(text: &str) -> String {
    format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// With the account that pods get.
async fn with_account() -> Api {
    let api = Api::start().await;
    api.post(&format!("{CORE}/serviceaccounts"), &json!({"metadata": {"name": "default"}})).await.created();
    api
}

/// A template whose author is told of one thing.
fn template(policy: &str) -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": policy,
        "containers": [{"name": "c", "image": "x"}], "imagePullSecrets": [{"name": "s"}, {"name": "s"}]}})
}

#[tokio::test]
async fn templates_of_every_workload() {
    let api = Api::start().await;
    let selector = json!({"matchLabels": {"a": "b"}});
    let job = json!({"template": template("Never")});
    for (path, spec, at) in [
        (
            format!("{APPS}/deployments"),
            json!({"selector": selector, "template": template("Always")}),
            "spec.template",
        ),
        (
            format!("{APPS}/replicasets"),
            json!({"selector": selector, "template": template("Always")}),
            "spec.template",
        ),
        (
            format!("{APPS}/daemonsets"),
            json!({"selector": selector, "template": template("Always")}),
            "spec.template",
        ),
        (
            format!("{APPS}/statefulsets"),
            json!({"selector": selector, "template": template("Always")}),
            "spec.template",
        ),
        (format!("{CORE}/replicationcontrollers"), json!({"template": template("Always")}), "spec.template"),
        (format!("{BATCH}/jobs"), job.clone(), "spec.template"),
        (
            format!("{BATCH}/cronjobs"),
            json!({"schedule": "@daily", "jobTemplate": {"spec": job}}),
            "spec.jobTemplate.spec.template",
        ),
    ] {
        let told = [header(&format!("{at}.spec.imagePullSecrets[1].name: duplicate name \"s\""))];
        let reply = api.post(&path, &json!({"metadata": {"name": "w"}, "spec": spec})).await;
        assert_eq!(reply.warnings(), told, "{path}");
        reply.created();
        // What leaves the spec alone says nothing, what changes it says it again.
        let one = format!("{path}/w");
        let labels = json!({"metadata": {"labels": {"x": "y"}}});
        let reply = api.patch(&one, MERGE, &labels).await;
        assert_eq!(reply.warnings(), [""; 0], "{path}");
        reply.ok();
    }
    let template = json!({"metadata": {"name": "t"}, "template": template("Always")});
    let reply = api.post(&format!("{CORE}/podtemplates"), &template).await;
    assert_eq!(reply.warnings(), [header("template.spec.imagePullSecrets[1].name: duplicate name \"s\"")]);
}

#[tokio::test]
async fn a_changed_spec_is_told_of_again() {
    let api = Api::start().await;
    let path = format!("{APPS}/deployments");
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template("Always")});
    api.post(&path, &json!({"metadata": {"name": "w"}, "spec": spec})).await.created();
    let told = [header("spec.template.spec.imagePullSecrets[1].name: duplicate name \"s\"")];
    for one in [format!("{path}/w"), format!("{path}/w/scale")] {
        let reply = api
            .patch(&one, MERGE, &json!({"spec": {"replicas": if one.ends_with('w') { 2 } else { 3 }}}))
            .await;
        assert_eq!(reply.warnings(), told, "{one}");
        reply.ok();
    }
}

#[tokio::test]
async fn pods_are_told_when_they_are_made() {
    let api = with_account().await;
    let path = format!("{CORE}/pods");
    let pod = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": -1,
            "containers": [{"name": "c", "image": "x"}]}})
    };
    let dotted = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
    let reply = api.post(&format!("{path}?dryRun=All"), &pod("a.b")).await;
    assert_eq!(reply.warnings(), [header(dotted), header(GRACE)]);
    api.post(&path, &pod("p")).await.created();
    let one = format!("{path}/p");
    let reply = api.patch(&one, MERGE, &json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(reply.warnings(), [""; 0]);
    let ips = json!({"status": {"podIPs": [{"ip": "2001:DB8::1"}]}});
    let reply = api.patch(&format!("{one}/status"), MERGE, &ips).await;
    assert_eq!(
        reply.warnings(),
        [header(
            "status.podIPs[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")"
        )]
    );
}

#[tokio::test]
async fn single_kinds() {
    let api = Api::start().await;
    let old_label = "deprecated since v1.14; use \"kubernetes.io/os\" instead";
    for (path, object, want) in [
        (
            format!("{CORE}/services"),
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "trafficDistribution": "PreferClose"}}),
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned(),
        ),
        (
            format!("{CORE}/serviceaccounts"),
            json!({"metadata": {"name": "s", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}),
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets".to_owned(),
        ),
        (
            "/api/v1/nodes".to_owned(),
            json!({"metadata": {"name": "n"}, "spec": {"externalID": "x"}}),
            "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses".to_owned(),
            json!({"metadata": {"name": "r"}, "handler": "r", "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "x"}}}),
            format!("scheduling.nodeSelector: {old_label}"),
        ),
        (
            "/apis/storage.k8s.io/v1/storageclasses".to_owned(),
            json!({"metadata": {"name": "c"}, "provisioner": "p", "allowedTopologies": [{"matchLabelExpressions": [
                {"key": "beta.kubernetes.io/os", "values": ["x"]}]}]}),
            format!("allowedTopologies[0].matchLabelExpressions[0].key: {old_label}"),
        ),
        (
            "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities".to_owned(),
            json!({"metadata": {"name": "c"}, "storageClassName": "c", "nodeTopology": {"matchLabels": {"beta.kubernetes.io/os": "x"}}}),
            format!("nodeTopology.matchLabels.beta.kubernetes.io/os: {old_label}"),
        ),
        (
            "/apis/storage.k8s.io/v1/csidrivers".to_owned(),
            json!({"metadata": {"name": "d"}, "spec": {"tokenRequests": [{"audience": "a"}]}}),
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".to_owned(),
        ),
        (
            format!("{CORE}/resourcequotas"),
            json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "2", "limits.cpu": "1"}}}),
            "ResourceQuota cpu (2) should be less than limits.cpu (1)".to_owned(),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations".to_owned(),
            json!({"metadata": {"name": "a.static.k8s.io"}}),
            "metadata.name: names ending with \".static.k8s.io\" are reserved for static manifest-based configurations and cannot be managed via the API".to_owned(),
        ),
        (
            "/api/v1/persistentvolumes".to_owned(),
            json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "cephfs": {"monitors": ["a"]}}}),
            "spec.cephfs: deprecated in v1.28, non-functional in v1.31+".to_owned(),
        ),
        (
            format!("{CORE}/persistentvolumeclaims"),
            json!({"metadata": {"name": "v", "annotations": {"volume.beta.kubernetes.io/storage-class": "a"}},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead".to_owned(),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices".to_owned(),
            json!({"metadata": {"name": "e"}, "addressType": "FQDN", "endpoints": [{"addresses": ["example.com"]}]}),
            "spec.addressType: FQDN endpoints are deprecated".to_owned(),
        ),
    ] {
        let reply = api.post(&path, &object).await;
        assert_eq!(reply.warnings(), [header(&want)], "{path}");
        reply.created();
    }
}

#[tokio::test]
async fn a_version_that_is_going_away() {
    let api = Api::start().await;
    let path = format!("{CORE}/endpoints");
    let going = header("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    let object = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "2001:DB8::1"}]}]});
    let spelt = header(
        "subsets[0].addresses[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
    );
    let reply = api.post(&path, &object).await;
    assert_eq!(reply.warnings(), [going.clone(), spelt]);
    reply.created();
    for (method, path) in [
        (Method::GET, format!("{path}/e")),
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/none")),
        (Method::DELETE, format!("{path}/e")),
    ] {
        let reply = api.ask(method, &path).send().await;
        assert_eq!(reply.warnings(), std::slice::from_ref(&going), "{path}");
    }
}

#[tokio::test]
async fn a_refused_write_says_what_was_dropped_of_it() {
    let api = Api::start().await;
    let wrong = json!({"metadata": {"name": "A"}, "datta": {}});
    let reply = api.post(&format!("{CORE}/configmaps?fieldValidation=Warn"), &wrong).await;
    assert_eq!(reply.warnings(), [header("unknown field \"datta\"")]);
    reply.refused(422, "Invalid");
}

#[tokio::test]
async fn many_warnings_are_cut() {
    let api = with_account().await;
    let long = "x".repeat(700);
    let secrets: Vec<Value> = (0..20).map(|i| json!({"name": format!("{long}{}", i / 2)})).collect();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}],
        "imagePullSecrets": secrets}});
    let told = api.post(&format!("{CORE}/pods"), &pod).await.warnings();
    assert_eq!(told.len(), 10);
    assert!(told.iter().all(|w| w.len() < 300), "{told:?}");
}
