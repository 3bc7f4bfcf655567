//! What a persistent volume refers to by name, and where an attachment is.

use std::collections::BTreeSet;

use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    claim_ref: Option<Named>,
    azure_file: Option<AzureFile>,
    cephfs: Option<WithSecret>,
    cinder: Option<WithSecret>,
    flex_volume: Option<WithSecret>,
    iscsi: Option<WithSecret>,
    rbd: Option<WithSecret>,
    #[serde(rename = "scaleIO")]
    scale_io: Option<WithSecret>,
    storageos: Option<WithSecret>,
    csi: Option<Csi>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AzureFile {
    secret_name: Option<String>,
    secret_namespace: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WithSecret {
    secret_ref: Option<Named>,
}

/// The secrets that only controllers need are none of a node's business.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Csi {
    node_publish_secret_ref: Option<Named>,
    node_stage_secret_ref: Option<Named>,
    node_expand_secret_ref: Option<Named>,
}

/// The claim a volume is bound to and the secrets that a node needs to mount it, as `namespace/name`.
pub(super) struct VolumeRefs {
    pub claim: String,
    pub secrets: BTreeSet<String>,
}

fn spec(json: &[u8]) -> Option<Spec> {
    match serde_json::from_slice::<Object>(json) {
        Ok(object) => Some(object.spec),
        Err(error) => {
            tracing::error!(%error, "ignoring the references of a volume that cannot be read");
            None
        }
    }
}

/// The claim of a volume, if it has one.
pub(super) fn claim(json: &[u8]) -> Option<String> {
    let claim = spec(json)?.claim_ref?;
    Some(format!("{}/{}", claim.namespace?, claim.name?))
}

/// The node of an attachment.
pub(super) fn attached_to(json: &[u8]) -> Option<String> {
    spec(json)?.node_name
}

/// What a volume refers to, if it is bound.
pub(super) fn volume_refs(json: &[u8]) -> Option<VolumeRefs> {
    let spec = spec(json)?;
    let claim = spec.claim_ref?;
    let (namespace, name) = (claim.namespace?, claim.name?);
    let mut secrets = BTreeSet::new();
    // A secret without a namespace is in the claim's.
    let mut add = |of: Option<String>, secret: Option<String>| {
        let of = of.filter(|of| !of.is_empty()).unwrap_or_else(|| namespace.clone());
        if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
            secrets.insert(format!("{of}/{secret}"));
        }
    };
    if let Some(azure) = spec.azure_file {
        add(azure.secret_namespace, azure.secret_name);
    }
    let drivers =
        [spec.cephfs, spec.cinder, spec.flex_volume, spec.iscsi, spec.rbd, spec.scale_io, spec.storageos];
    for secret in drivers.into_iter().flatten().filter_map(|driver| driver.secret_ref) {
        add(secret.namespace, secret.name);
    }
    let csi = spec.csi.unwrap_or_default();
    for secret in [csi.node_publish_secret_ref, csi.node_stage_secret_ref, csi.node_expand_secret_ref] {
        let secret = secret.unwrap_or_default();
        add(secret.namespace, secret.name);
    }
    Some(VolumeRefs { claim: format!("{namespace}/{name}"), secrets })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_those_that_nodes_need() {
        let refs = |source: serde_json::Value| {
            let mut volume = json!({"spec": {"claimRef": {"namespace": "a", "name": "data"}}});
            volume["spec"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            let refs = volume_refs(volume.to_string().as_bytes()).unwrap();
            assert_eq!(refs.claim, "a/data");
            refs.secrets.into_iter().collect::<Vec<_>>()
        };
        let secret = |name: &str| json!({"namespace": "b", "name": name});
        assert_eq!(
            refs(json!({"csi": {
                "controllerPublishSecretRef": secret("c"), "controllerExpandSecretRef": secret("d"),
                "nodePublishSecretRef": secret("p"), "nodeStageSecretRef": secret("s"), "nodeExpandSecretRef": secret("e"),
            }})),
            ["b/e", "b/p", "b/s"]
        );
        assert_eq!(refs(json!({"azureFile": {"secretName": "z"}})), ["a/z"]);
        assert_eq!(refs(json!({"azureFile": {"secretName": "z", "secretNamespace": "b"}})), ["b/z"]);
        assert_eq!(refs(json!({"rbd": {"secretRef": {"name": "r"}}})), ["a/r"]);
        assert!(refs(json!({"nfs": {}})).is_empty());
        let unbound = json!({"spec": {"azureFile": {"secretName": "z"}}});
        assert!(volume_refs(unbound.to_string().as_bytes()).is_none());
    }
}
