use super::*;
use serde_json::json;

fn errors(field: &str, source: &Value, owner: Owner<'_>) -> Vec<String> {
    let mut e = ErrorList::new();
    validate(field, source, owner, &Path::new(field), &mut e);
    e.0.iter().map(ToString::to_string).collect()
}

#[test]
fn sources_that_are_fine() {
    for (field, source) in [
        ("hostPath", json!({"path": "/a", "type": "Directory"})),
        ("gcePersistentDisk", json!({"pdName": "a", "partition": 255})),
        ("awsElasticBlockStore", json!({"volumeID": "a"})),
        ("glusterfs", json!({"endpoints": "a", "path": "b", "endpointsNamespace": "c"})),
        ("flocker", json!({"datasetName": "a"})),
        ("nfs", json!({"server": "a", "path": "/b"})),
        ("rbd", json!({"monitors": ["a"], "image": "b"})),
        ("quobyte", json!({"registry": "a:1,[::1]:2", "volume": "v"})),
        ("cephfs", json!({"monitors": ["a"]})),
        ("iscsi", json!({"targetPortal": "a", "iqn": "iqn.2015-02.example.com:test", "lun": 0})),
        ("iscsi", json!({"targetPortal": "a", "iqn": "eui.0123456789ABCDEF", "lun": 0})),
        ("cinder", json!({"volumeID": "a", "secretRef": {"name": "s", "namespace": "n"}})),
        ("fc", json!({"wwids": ["a"]})),
        ("fc", json!({"targetWWNs": ["a"], "lun": 1})),
        ("flexVolume", json!({"driver": "a/b", "options": {"x.io/y": "z"}})),
        ("azureFile", json!({"secretName": "a", "shareName": "b"})),
        ("azureDisk", json!({"diskName": "a", "diskURI": "/subscriptions/x", "kind": "Managed"})),
        ("local", json!({"path": "/a"})),
        ("storageos", json!({"volumeName": "a"})),
    ] {
        for owner in [Owner::Pod, Owner::Persistent("v")] {
            assert_eq!(errors(field, &source, owner), [""; 0], "{field} {owner:?}");
        }
    }
}

#[test]
fn sources_that_are_refused() {
    let required = |field: &str, name: &str| format!("{field}.{name}: Required value");
    for (field, source, want) in [
        ("hostPath", json!({}), vec![required("hostPath", "path")]),
        (
            "hostPath",
            json!({"path": "/a/..", "type": "x"}),
            vec![
                "hostPath.path: Invalid value: \"/a/..\": must not contain '..'".into(),
                "hostPath.type: Unsupported value: \"x\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"".into(),
            ],
        ),
        (
            "gcePersistentDisk",
            json!({"partition": 256}),
            vec![
                required("gcePersistentDisk", "pdName"),
                format!("gcePersistentDisk.partition: Invalid value: 256: {PARTITION}"),
            ],
        ),
        ("awsElasticBlockStore", json!({}), vec![required("awsElasticBlockStore", "volumeID")]),
        ("glusterfs", json!({}), vec![required("glusterfs", "endpoints"), required("glusterfs", "path")]),
        ("flocker", json!({}), vec!["flocker: Required value: one of datasetName and datasetUUID is required".into()]),
        (
            "flocker",
            json!({"datasetName": "a/b", "datasetUUID": "c"}),
            vec![
                "flocker: Invalid value: \"resource\": datasetName and datasetUUID can not be specified simultaneously".into(),
                "flocker.datasetName: Invalid value: \"a/b\": must not contain '/'".into(),
            ],
        ),
        (
            "nfs",
            json!({}),
            vec![
                required("nfs", "server"),
                required("nfs", "path"),
                "nfs.path: Invalid value: \"\": must be an absolute path".into(),
            ],
        ),
        ("rbd", json!({}), vec![required("rbd", "monitors"), required("rbd", "image")]),
        ("quobyte", json!({"volume": "v"}), vec![format!("quobyte.registry: Required value: {PAIRS}")]),
        (
            "quobyte",
            json!({"registry": "a", "volume": "v"}),
            vec![format!("quobyte.registry: Invalid value: \"a\": {PAIRS}")],
        ),
        ("cephfs", json!({}), vec![required("cephfs", "monitors")]),
        (
            "iscsi",
            json!({"lun": 256, "chapAuthSession": true}),
            vec![
                required("iscsi", "targetPortal"),
                required("iscsi", "iqn"),
                format!("iscsi.lun: Invalid value: 256: {LUN}"),
                required("iscsi", "secretRef"),
            ],
        ),
        (
            "iscsi",
            json!({"targetPortal": "a", "iqn": "what", "initiatorName": "iqn.x"}),
            vec![
                "iscsi.iqn: Invalid value: \"what\": must be valid format starting with iqn, eui, or naa".into(),
                "iscsi.initiatorname: Invalid value: \"iqn.x\": must be valid format".into(),
            ],
        ),
        (
            "fc",
            json!({}),
            vec!["fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both".into()],
        ),
        (
            "fc",
            json!({"targetWWNs": ["a"]}),
            vec!["fc.lun: Required value: lun is required if targetWWNs is specified".into()],
        ),
        (
            "flexVolume",
            json!({"driver": "d", "options": {"a.K8s.io/b": "c"}}),
            vec!["flexVolume.options[a.K8s.io/b]: Invalid value: \"a.K8s.io/b\": kubernetes.io and k8s.io namespaces are reserved".into()],
        ),
        ("azureFile", json!({}), vec![required("azureFile", "secretName"), required("azureFile", "shareName")]),
        (
            "azureDisk",
            json!({"diskName": "a", "diskURI": "b", "kind": "Managed", "cachingMode": "x"}),
            vec![
                "azureDisk.cachingMode: Unsupported value: \"x\": supported values: \"None\", \"ReadOnly\", \"ReadWrite\"".into(),
                format!("azureDisk.diskURI: Unsupported value: \"b\": supported values: \"{MANAGED_DISK}\""),
            ],
        ),
        (
            "azureDisk",
            json!({"diskName": "a", "diskURI": "b", "kind": "Shared"}),
            vec![format!("azureDisk.diskURI: Unsupported value: \"b\": supported values: \"{BLOB_DISK}\"")],
        ),
        ("vsphereVolume", json!({}), vec![required("vsphereVolume", "volumePath")]),
        ("photonPersistentDisk", json!({}), vec![required("photonPersistentDisk", "pdID")]),
        ("portworxVolume", json!({}), vec![required("portworxVolume", "volumeID")]),
        (
            "scaleIO",
            json!({}),
            vec![required("scaleIO", "gateway"), required("scaleIO", "system"), required("scaleIO", "volumeName")],
        ),
        ("storageos", json!({"secretRef": {}}), vec![required("storageos", "volumeName"), required("storageos", "secretRef.name")]),
    ] {
        assert_eq!(errors(field, &source, Owner::Pod), want, "{field} {source}");
    }
}

#[test]
fn persistent_volumes_ask_for_more() {
    let long = "v".repeat(64);
    for (field, source, want) in [
        ("cinder", json!({"volumeID": "a", "secretRef": {"name": "s"}}), "cinder.secretRef.namespace: Required value".to_owned()),
        ("azureFile", json!({"secretName": "a", "shareName": "b", "secretNamespace": ""}), "azureFile.secretNamespace: Required value".into()),
        ("glusterfs", json!({"endpoints": "a", "path": "b", "endpointsNamespace": ""}), "glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it must be a valid namespace name".into()),
        ("iscsi", json!({"targetPortal": "p", "iqn": "what"}), "iscsi.iqn: Invalid value: \"what\": must be valid format".into()),
        ("iscsi", json!({"targetPortal": "p", "iqn": "iqn.2015-02.example.com:test", "initiatorName": "iqn.2015-02.example.com:i"}), format!("iscsi.targetportal: Invalid value: \"p\": {TOO_LONG_FOR_ISCSI}")),
    ] {
        assert_eq!(errors(field, &source, Owner::Persistent(&long)), [want], "{field} {source}");
    }
}

#[test]
fn paths_of_files() {
    for (place, want) in [
        ("a/b", None),
        ("..a", Some("must not start with '..'")),
        ("a/../b", Some("must not contain '..'")),
        ("../b", Some("must not contain '..'")),
        ("/a", Some("must be a relative path")),
    ] {
        let mut e = ErrorList::new();
        local_path(place, &Path::new("p"), &mut e);
        assert_eq!(
            e.0.first().map(|e| e.body.rsplit(": ").next().unwrap().to_owned()).as_deref(),
            want,
            "{place}"
        );
    }
}
