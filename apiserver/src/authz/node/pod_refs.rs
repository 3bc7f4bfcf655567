//! What a pod refers to by name.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::references::RefKind;

const MIRROR: &str = "kubernetes.io/config.mirror";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    resource_claim_statuses: Option<Vec<ResourceClaim>>,
    extended_resource_claim_status: Option<ResourceClaim>,
}

/// A claim of devices: the pod names it, or it was made of a template.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ResourceClaim {
    name: Option<String>,
    resource_claim_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    annotations: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    service_account_name: Option<String>,
    image_pull_secrets: Option<Vec<Named>>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    resource_claims: Option<Vec<ResourceClaim>>,
}

/// A reference by name; the name may be missing.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    env: Option<Vec<Env>>,
    env_from: Option<Vec<EnvFrom>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Env {
    value_from: Option<ValueFrom>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ValueFrom {
    secret_key_ref: Option<Named>,
    config_map_key_ref: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct EnvFrom {
    secret_ref: Option<Named>,
    config_map_ref: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    name: String,
    secret: Option<SecretName>,
    config_map: Option<Named>,
    projected: Option<Projected>,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<serde::de::IgnoredAny>,
    azure_file: Option<SecretName>,
    cephfs: Option<WithSecret>,
    cinder: Option<WithSecret>,
    flex_volume: Option<WithSecret>,
    iscsi: Option<WithSecret>,
    rbd: Option<WithSecret>,
    #[serde(rename = "scaleIO")]
    scale_io: Option<WithSecret>,
    storageos: Option<WithSecret>,
    csi: Option<WithSecret>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SecretName {
    secret_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WithSecret {
    #[serde(alias = "nodePublishSecretRef")]
    secret_ref: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Projected {
    sources: Option<Vec<Source>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    secret: Option<Named>,
    config_map: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Claim {
    claim_name: Option<String>,
}

/// Kinds and names in the pod's namespace. A mirror pod refers to nothing: a node must not be able to
/// give itself access by creating one.
pub(super) fn pod_refs(json: &[u8]) -> Result<BTreeSet<(RefKind, String)>, serde_json::Error> {
    let pod: Pod = serde_json::from_slice(json)?;
    let mut refs = BTreeSet::new();
    if pod.metadata.annotations.is_some_and(|annotations| annotations.contains_key(MIRROR)) {
        return Ok(refs);
    }
    let mut add = |kind, name: Option<String>| {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            refs.insert((kind, name));
        }
    };
    let spec = pod.spec;
    add(RefKind::ServiceAccount, spec.service_account_name);
    for secret in spec.image_pull_secrets.into_iter().flatten() {
        add(RefKind::Secret, secret.name);
    }
    let containers = [spec.containers, spec.init_containers, spec.ephemeral_containers];
    for container in containers.into_iter().flatten().flatten() {
        for from in container.env.into_iter().flatten().filter_map(|env| env.value_from) {
            add(RefKind::Secret, from.secret_key_ref.and_then(|r| r.name));
            add(RefKind::ConfigMap, from.config_map_key_ref.and_then(|r| r.name));
        }
        for from in container.env_from.into_iter().flatten() {
            add(RefKind::Secret, from.secret_ref.and_then(|r| r.name));
            add(RefKind::ConfigMap, from.config_map_ref.and_then(|r| r.name));
        }
    }
    let made = pod.status.resource_claim_statuses.unwrap_or_default();
    for claim in spec.resource_claims.into_iter().flatten() {
        let by_template = || {
            let status = made.iter().find(|status| status.name == claim.name)?;
            status.resource_claim_name.clone()
        };
        add(RefKind::ResourceClaim, claim.resource_claim_name.clone().or_else(by_template));
    }
    let extended = pod.status.extended_resource_claim_status;
    add(RefKind::ResourceClaim, extended.and_then(|status| status.resource_claim_name));
    for v in spec.volumes.into_iter().flatten() {
        add(RefKind::Secret, v.secret.and_then(|s| s.secret_name));
        add(RefKind::Secret, v.azure_file.and_then(|s| s.secret_name));
        add(RefKind::ConfigMap, v.config_map.and_then(|c| c.name));
        add(RefKind::Claim, v.persistent_volume_claim.and_then(|c| c.claim_name));
        add(RefKind::Claim, v.ephemeral.map(|_| format!("{}-{}", pod.metadata.name, v.name)));
        for source in v.projected.and_then(|p| p.sources).into_iter().flatten() {
            add(RefKind::Secret, source.secret.and_then(|r| r.name));
            add(RefKind::ConfigMap, source.config_map.and_then(|r| r.name));
        }
        for with in [v.cephfs, v.cinder, v.flex_volume, v.iscsi, v.rbd, v.scale_io, v.storageos, v.csi] {
            add(RefKind::Secret, with.and_then(|w| w.secret_ref).and_then(|r| r.name));
        }
    }
    Ok(refs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_refer_is_found() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "sa",
                "imagePullSecrets": [{"name": "pull"}, {}],
                "containers": [{
                    "env": [
                        {"name": "A", "value": "x"},
                        {"valueFrom": {"secretKeyRef": {"name": "env-s"}}},
                        {"valueFrom": {"configMapKeyRef": {"name": "env-c"}}},
                        {"valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                    ],
                    "envFrom": [{"secretRef": {"name": "from-s"}}, {"configMapRef": {"name": "from-c"}}],
                }],
                "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "init-s"}}}]}],
                "ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "eph-s"}}}]}],
                "volumes": [
                    {"name": "a", "secret": {"secretName": "vol-s"}},
                    {"name": "b", "configMap": {"name": "vol-c"}},
                    {"name": "c", "projected": {"sources": [
                        {"secret": {"name": "proj-s"}}, {"configMap": {"name": "proj-c"}}, {"serviceAccountToken": {}},
                    ]}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
                    {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
                    {"name": "f", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi-s"}}},
                    {"name": "g", "rbd": {"secretRef": {"name": "rbd-s"}}},
                    {"name": "h", "emptyDir": {}},
                ],
                "resourceClaims": [
                    {"name": "own", "resourceClaimName": "gpu"},
                    {"name": "made", "resourceClaimTemplateName": "t"},
                    {"name": "pending", "resourceClaimTemplateName": "t"},
                ],
            },
            "status": {
                "resourceClaimStatuses": [
                    {"name": "made", "resourceClaimName": "p-made"}, {"name": "foreign", "resourceClaimName": "x"},
                ],
                "extendedResourceClaimStatus": {"resourceClaimName": "p-extended"},
            },
        });
        let found = pod_refs(pod.to_string().as_bytes()).unwrap();
        let of = |kind| found.iter().filter(|r| r.0 == kind).map(|r| r.1.as_str()).collect::<Vec<_>>();
        assert_eq!(of(RefKind::ServiceAccount), ["sa"]);
        assert_eq!(of(RefKind::Claim), ["claim", "p-e"]);
        assert_eq!(of(RefKind::ResourceClaim), ["gpu", "p-extended", "p-made"]);
        assert_eq!(of(RefKind::ConfigMap), ["env-c", "from-c", "proj-c", "vol-c"]);
        let secrets = ["csi-s", "env-s", "eph-s", "from-s", "init-s", "proj-s", "pull", "rbd-s", "vol-s"];
        assert_eq!(of(RefKind::Secret), secrets);
    }

    #[test]
    fn a_mirror_pod_refers_to_nothing() {
        let pod = json!({"metadata": {"annotations": {MIRROR: "x"}}, "spec": {"serviceAccountName": "sa"}});
        assert!(pod_refs(pod.to_string().as_bytes()).unwrap().is_empty());
    }
}
