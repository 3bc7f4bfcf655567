//! `storage.k8s.io`: defaults, refusals, what is sealed, tables.

use serde_json::json;

use crate::common::Api;
use crate::common::kind::Kind;

const ROOT: &str = "/apis/storage.k8s.io/v1";

#[tokio::test]
async fn storage_classes() {
    let api = Api::start().await;
    let kind = Kind {
        path: &format!("{ROOT}/storageclasses"),
        object: json!({"metadata": {"name": "fast",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "Example.com/disk", "parameters": {"a": "b"}}),
        becomes: json!({"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
        row: json!(["fast (default)", "Example.com/disk", "Delete", "Immediate", false]),
        refused: vec![
            (
                json!({"provisioner": null}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: provisioner: Required value",
            ),
            (
                json!({"reclaimPolicy": "Recycle"}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
            ),
            (
                json!({"volumeBindingMode": "Later"}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
            ),
            (
                json!({"parameters": {"": "x"}}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: parameters: Invalid value: \"\": field can not be empty.",
            ),
            (
                json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": []}]}]}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            ),
        ],
        sealed: vec![
            (
                json!({"parameters": {"a": "c"}}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: parameters: Invalid value: {\"a\":\"c\"}: field is immutable",
            ),
            (
                json!({"provisioner": "other"}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: provisioner: Invalid value: \"other\": field is immutable",
            ),
            (
                json!({"reclaimPolicy": "Retain"}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: reclaimPolicy: Invalid value: \"Retain\": field is immutable",
            ),
            (
                json!({"volumeBindingMode": "WaitForFirstConsumer"}),
                "StorageClass.storage.k8s.io \"fast\" is invalid: volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ),
        ],
        status: None,
    };
    kind.check(&api).await;
}

#[tokio::test]
async fn drivers() {
    let api = Api::start().await;
    let kind = Kind {
        path: &format!("{ROOT}/csidrivers"),
        object: json!({"metadata": {"name": "disk.example.com"}, "spec": {"tokenRequests": [{"audience": "a"}],
            "preventPodSchedulingIfMissing": true}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"attachRequired": true, "podInfoOnMount": false,
            "storageCapacity": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "requiresRepublish": false,
            "seLinuxMount": false, "volumeLifecycleModes": ["Persistent"], "preventPodSchedulingIfMissing": null}}),
        row: json!(["disk.example.com", true, false, false, "a", false, "Persistent"]),
        refused: vec![
            (
                json!({"spec": {"fsGroupPolicy": "x"}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.fsGroupPolicy: Unsupported value: \"x\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
            ),
            (
                json!({"spec": {"volumeLifecycleModes": ["x"]}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.volumeLifecycleModes: Unsupported value: \"x\": supported values: \"Persistent\", \"Ephemeral\"",
            ),
            (
                json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ),
            (
                json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 60}]}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.tokenRequests[0].expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
            ),
            (
                json!({"spec": {"tokenRequests": null, "serviceAccountTokenInSecrets": true}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
            ),
            (
                json!({"spec": {"nodeAllocatableUpdatePeriodSeconds": 5}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 5: must be greater than or equal to 10 seconds",
            ),
        ],
        sealed: vec![
            (
                json!({"spec": {"attachRequired": false}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.attachedRequired: Invalid value: false: field is immutable",
            ),
            (
                json!({"spec": {"volumeLifecycleModes": ["Ephemeral"]}}),
                "CSIDriver.storage.k8s.io \"disk.example.com\" is invalid: spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable",
            ),
        ],
        status: None,
    };
    kind.check(&api).await;
    let node = Kind {
        path: &format!("{ROOT}/csinodes"),
        object: json!({"metadata": {"name": "n1"}, "spec": {"drivers": [
            {"name": "disk.example.com", "nodeID": "i-1", "topologyKeys": ["zone"], "allocatable": {"count": 5}}]}}),
        becomes: json!({"spec": {"drivers": [
            {"name": "disk.example.com", "nodeID": "i-1", "topologyKeys": ["zone"], "allocatable": {"count": 5}}]}}),
        row: json!(["n1", 1]),
        refused: vec![
            (
                json!({"spec": {"drivers": [{"name": "", "nodeID": ""}]}}),
                "CSINode.storage.k8s.io \"n1\" is invalid: [spec.drivers[0].name: Required value, spec.drivers[0].nodeID: Required value]",
            ),
            (
                json!({"spec": {"drivers": [{"name": "a", "nodeID": "1"}, {"name": "a", "nodeID": "2"}]}}),
                "CSINode.storage.k8s.io \"n1\" is invalid: spec.drivers[1].name: Duplicate value: \"a\"",
            ),
            (
                json!({"spec": {"drivers": [{"name": "a", "nodeID": "1", "allocatable": {"count": -1}}]}}),
                "CSINode.storage.k8s.io \"n1\" is invalid: spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"drivers": [{"name": "disk.example.com", "nodeID": "i-2"}]}}),
            "CSINode.storage.k8s.io \"n1\" is invalid: spec.drivers: Invalid value: {\"name\":\"disk.example.com\",\"nodeID\":\"i-2\"}: field is immutable",
        )],
        status: None,
    };
    node.check(&api).await;
    // A list that nobody gives is null, as Go writes it.
    let bare = api.post(&format!("{ROOT}/csinodes"), &json!({"metadata": {"name": "n2"}})).await.created();
    assert_eq!(bare["spec"], json!({"drivers": null}));
}

#[tokio::test]
async fn capacities_and_attributes() {
    let api = Api::start().await;
    let capacity = Kind {
        path: &format!("{ROOT}/namespaces/default/csistoragecapacities"),
        object: json!({"metadata": {"name": "c"}, "storageClassName": "fast", "capacity": "10Gi",
            "nodeTopology": {"matchLabels": {"zone": "a"}}}),
        becomes: json!({"capacity": "10Gi"}),
        row: json!(["c", "fast", "10Gi"]),
        refused: vec![
            (
                json!({"capacity": "-1"}),
                "CSIStorageCapacity.storage.k8s.io \"c\" is invalid: capacity: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"storageClassName": "A"}),
                "CSIStorageCapacity.storage.k8s.io \"c\" is invalid: storageClassName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
        ],
        sealed: vec![(
            json!({"storageClassName": "slow"}),
            "CSIStorageCapacity.storage.k8s.io \"c\" is invalid: storageClassName: Invalid value: \"slow\": field is immutable",
        )],
        status: None,
    };
    capacity.check(&api).await;
    let attributes = Kind {
        path: &format!("{ROOT}/volumeattributesclasses"),
        object: json!({"metadata": {"name": "gold"}, "driverName": "disk.example.com", "parameters": {"iops": "9"}}),
        becomes: json!({"driverName": "disk.example.com"}),
        row: json!(["gold", "disk.example.com"]),
        refused: vec![(
            json!({"driverName": null, "parameters": null}),
            "VolumeAttributesClass.storage.k8s.io \"gold\" is invalid: [driverName: Required value, parameters: Required value: must contain at least one key/value pair]",
        )],
        sealed: vec![
            (
                json!({"driverName": null}),
                "VolumeAttributesClass.storage.k8s.io \"gold\" is invalid: [driverName: Forbidden: updates to driverName are forbidden., driverName: Required value]",
            ),
            (
                json!({"parameters": {"iops": "8"}}),
                "VolumeAttributesClass.storage.k8s.io \"gold\" is invalid: parameters: Forbidden: updates to parameters are forbidden.",
            ),
        ],
        status: None,
    };
    attributes.check(&api).await;
}

#[tokio::test]
async fn attachments() {
    let api = Api::start().await;
    let kind = Kind {
        path: &format!("{ROOT}/volumeattachments"),
        object: json!({"metadata": {"name": "va"}, "spec": {"attacher": "disk.example.com", "nodeName": "n1",
            "source": {"persistentVolumeName": "pv1"}}, "status": {"attached": true}}),
        becomes: json!({"status": {"attached": false}}),
        row: json!(["va", "disk.example.com", "pv1", "n1", false]),
        refused: vec![
            (
                json!({"spec": {"attacher": ""}}),
                "VolumeAttachment.storage.k8s.io \"va\" is invalid: spec.attacher: Required value",
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": ""}}}),
                "VolumeAttachment.storage.k8s.io \"va\" is invalid: [spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName, spec.source.persistentVolumeName: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]",
            ),
            (
                json!({"spec": {"nodeName": "N", "source": {"persistentVolumeName": "V"}}}),
                "VolumeAttachment.storage.k8s.io \"va\" is invalid: [spec.nodeName: Invalid value: \"N\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.source.persistentVolumeName: Invalid value: \"V\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]",
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": null}}}),
                "VolumeAttachment.storage.k8s.io \"va\" is invalid: spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"],
                    "capacity": {"storage": "1Gi"}, "claimRef": {"name": "c"}, "storageClassName": "x",
                    "nfs": {"server": "a", "path": "/b"}}}}}),
                "VolumeAttachment.storage.k8s.io \"va\" is invalid: [spec.source.inlineVolumeSpec.claimRef: Forbidden: may not be specified in the context of inline volumes, spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes, spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes, spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes]",
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                    "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Block",
                    "csi": {"driver": "d", "volumeHandle": ""}}}}}),
                "VolumeAttachment.storage.k8s.io \"va\" is invalid: [spec.source.inlineVolumeSpec.accessModes: Required value, spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes, spec.source.inlineVolumeSpec.csi.volumeHandle: Required value, spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes]",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"nodeName": "n2"}}),
            "VolumeAttachment.storage.k8s.io \"va\" is invalid: spec: Invalid value: {\"attacher\":\"disk.example.com\",\"nodeName\":\"n2\",\"source\":{\"persistentVolumeName\":\"pv1\"}}: field is immutable",
        )],
        status: Some(json!({"attached": true, "attachmentMetadata": {"device": "/dev/sda"}})),
    };
    kind.check(&api).await;
    let long = json!({"status": {"attachError": {"message": "x".repeat(1025)}}});
    let one = format!("{ROOT}/volumeattachments/va/status");
    let told = api.patch(&one, crate::common::MERGE, &long).await.refused(422, "Invalid");
    assert_eq!(
        told,
        "VolumeAttachment.storage.k8s.io \"va\" is invalid: status.attachError.message: Too long: may not be more than 262144 bytes"
    );
}
