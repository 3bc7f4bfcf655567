//! Gathers the descriptions of all built-in types from `k8s-openapi` into one small compressed file.
//!
//! `k8s-openapi` carries them as code (a `JsonSchema` implementation a type); the program carries the texts alone.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling,
    storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

macro_rules! describe {
    ($generator:ident, $($group:ident :: $version:ident { $($kind:ident),* $(,)? })*) => {
        $($($generator.subschema_for::<$group::$version::$kind>();)*)*
    };
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let mut generator = SchemaGenerator::default();
    describe! { generator,
        admissionregistration::v1 {
            MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
        }
        apiextensions::v1 { CustomResourceDefinition }
        apiregistration::v1 { APIService }
        apps::v1 { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
        authentication::v1 { SelfSubjectReview, TokenRequest, TokenReview }
        authorization::v1 {
            LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        }
        autoscaling::v1 { HorizontalPodAutoscaler, Scale }
        autoscaling::v2 { HorizontalPodAutoscaler }
        batch::v1 { CronJob, Job }
        certificates::v1 { CertificateSigningRequest }
        coordination::v1 { Lease }
        core::v1 {
            Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
            PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service,
            ServiceAccount,
        }
        discovery::v1 { EndpointSlice }
        events::v1 { Event }
        flowcontrol::v1 { FlowSchema, PriorityLevelConfiguration }
        meta::v1 { DeleteOptions, ListMeta, Patch, Status }
        networking::v1 { IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR }
        node::v1 { RuntimeClass }
        policy::v1 { Eviction, PodDisruptionBudget }
        rbac::v1 { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
        resource::v1 { DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice }
        scheduling::v1 { PriorityClass }
        storage::v1 {
            CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
        }
    }
    let texts: Map<String, Value> =
        generator.take_definitions(true).into_iter().map(|(name, schema)| (name, texts(&schema))).collect();
    let out = std::path::Path::new(&std::env::var("OUT_DIR")?).join("descriptions.json.z");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&serde_json::to_vec(&texts)?)?;
    std::fs::write(out, encoder.finish()?)?;
    Ok(())
}

/// `{"": description of the type, field: description of the field, ..}`.
fn texts(schema: &Value) -> Value {
    let mut out = Map::new();
    if let Some(d) = schema.get("description") {
        out.insert(String::new(), d.clone());
    }
    for (field, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(d) = of.get("description") {
            out.insert(field.clone(), d.clone());
        }
    }
    json!(out)
}
