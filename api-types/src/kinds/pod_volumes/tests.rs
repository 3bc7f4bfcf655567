use super::*;
use crate::kinds::pod_mounts;
use serde_json::json;

fn volume(source: Value) -> Vec<String> {
    let mut v = source;
    v["name"] = "v".into();
    let mut e = ErrorList::new();
    validate(&[v], &Path::new("volumes"), &mut e);
    e.0.iter().map(ToString::to_string).collect()
}

#[test]
fn sources_of_pods() {
    let token = |t: Value| json!({"projected": {"sources": [{"serviceAccountToken": t}]}});
    for (source, want) in [
        (json!({"emptyDir": {"sizeLimit": "1Gi"}}), vec![]),
        (
            json!({"emptyDir": {"sizeLimit": "-1"}}),
            vec![
                "volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
            ],
        ),
        (json!({}), vec!["volumes[0]: Required value: must specify a volume type"]),
        (
            json!({"emptyDir": {}, "cephfs": {"monitors": ["a"]}}),
            vec!["volumes[0].cephFS: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            json!({"gitRepo": {"repository": "", "directory": "/a"}}),
            vec![
                "volumes[0].gitRepo.repository: Required value",
                "volumes[0].gitRepo.directory: Invalid value: \"/a\": must be a relative path",
            ],
        ),
        (
            json!({"secret": {"defaultMode": 512, "items": [{"key": "a", "path": "..b"}]}}),
            vec![
                "volumes[0].secret.secretName: Required value",
                "volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                "volumes[0].secret.items[0].path: Invalid value: \"..b\": must not start with '..'",
            ],
        ),
        (
            json!({"gcePersistentDisk": {"pdName": ""}}),
            vec!["volumes[0].persistentDisk.pdName: Required value"],
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "a"}]}}),
            vec!["volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}}),
            vec!["volumes[0].downwardAPI.resourceFieldRef.containerName: Required value"],
        ),
        (
            json!({"csi": {"driver": "", "nodePublishSecretRef": {}}}),
            vec![
                "volumes[0].csi.driver: Required value",
                "volumes[0].csi.nodePublishSecretRef.name: Required value",
            ],
        ),
        (json!({"ephemeral": {}}), vec!["volumes[0].ephemeral.volumeClaimTemplate: Required value"]),
        (
            json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}}}),
            vec!["volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set"],
        ),
        (
            json!({"image": {"reference": "a", "pullPolicy": "x"}}),
            vec![
                "volumes[0].image.pullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (token(json!({"path": "t", "expirationSeconds": 600})), vec![]),
        (
            token(json!({"path": "", "expirationSeconds": 599})),
            vec![
                "volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
                "volumes[0].projected.path: Required value",
            ],
        ),
        (
            json!({"projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}},
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}]}}),
            vec!["volumes[0].projected: Invalid value: \"c\": conflicting duplicate paths"],
        ),
        (
            json!({"projected": {"sources": [{"secret": {"name": "s"}, "configMap": {"name": "c"}}]}}),
            vec![
                "volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
            ],
        ),
        (
            json!({"projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}),
            vec![
                "volumes[0].projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified",
            ],
        ),
        (
            json!({"projected": {"sources": [{"podCertificate": {"signerName": "a.b/c", "keyType": "x", "maxExpirationSeconds": 1}}]}}),
            vec![
                "volumes[0].projected.sources[0].podCertificate.keyType: Unsupported value: \"x\": supported values: \"RSA3072\", \"RSA4096\", \"ECDSAP256\", \"ECDSAP384\", \"ECDSAP521\", \"ED25519\"",
                "volumes[0].projected.sources[0].podCertificate.maxExpirationSeconds: Invalid value: 1: if provided, maxExpirationSeconds must be >= 3600",
                "volumes[0].projected.sources[0].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
            ],
        ),
    ] {
        assert_eq!(volume(source.clone()), want, "{source}");
    }
}

#[test]
fn volumes_that_depend_on_the_pod() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "v", "ephemeral": {}},
        {"name": "w", "persistentVolumeClaim": {"claimName": "p-v"}}, {"name": "i", "image": {}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}});
    let mut e = ErrorList::new();
    of_pod(&pod, &mut e);
    let all: Vec<String> = e.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        all,
        [
            "spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"p-v\": must not reference a PVC that gets created for an ephemeral volume",
            "spec.volumes[2].image.reference: Required value",
            "spec.volumes[3].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
        ]
    );
}

#[test]
fn mounts_and_devices() {
    let volumes = Volumes::from([("v".into(), false), ("claim".into(), true)]);
    let mount = |m: Value| json!({"name": "c", "volumeMounts": [m]});
    for (container, want) in [
        (mount(json!({"name": "v", "mountPath": "/a"})), vec![]),
        (mount(json!({"name": "x", "mountPath": "/a"})), vec!["c.volumeMounts[0].name: Not found: \"x\""]),
        (
            mount(json!({"name": "v", "mountPath": "/a", "subPath": "/x", "subPathExpr": "y"})),
            vec![
                "c.volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
                "c.volumeMounts[0].subPathExpr: Invalid value: \"y\": subPathExpr and subPath are mutually exclusive",
            ],
        ),
        (
            mount(json!({"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"})),
            vec![
                "c.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            mount(json!({"name": "v", "mountPath": "/a", "recursiveReadOnly": "Enabled"})),
            vec!["c.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"],
        ),
        (json!({"name": "c", "volumeDevices": [{"name": "claim", "devicePath": "/d"}]}), vec![]),
        (
            json!({"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/../d"}]}),
            vec![
                "c.volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                "c.volumeDevices[0].devicePath: Invalid value: \"/../d\": can not contain backsteps ('..')",
            ],
        ),
        (
            json!({"name": "c", "volumeMounts": [{"name": "claim", "mountPath": "/d"}], "volumeDevices": [{"name": "claim", "devicePath": "/d"}]}),
            vec![
                "c.volumeMounts[0].name: Invalid value: \"claim\": must not already exist in volumeDevices",
                "c.volumeMounts[0].mountPath: Invalid value: \"/d\": must not already exist as a path in volumeDevices",
                "c.volumeDevices[0].name: Invalid value: \"claim\": must not already exist in volumeMounts",
                "c.volumeDevices[0].devicePath: Invalid value: \"/d\": must not already exist as a path in volumeMounts",
            ],
        ),
    ] {
        let mut e = ErrorList::new();
        pod_mounts::validate(&container, &volumes, &Path::new("c"), &mut e);
        let all: Vec<String> = e.0.iter().map(ToString::to_string).collect();
        assert_eq!(all, want, "{container}");
    }
}
