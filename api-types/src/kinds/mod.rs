//! One strategy a kind: defaults, validation, what an update may change, table cells.
//!
//! Facts come from upstream's `pkg/apis/*/v1/defaults.go`, `pkg/apis/*/validation`, `pkg/registry/*/strategy.go`
//! and `pkg/printers/internalversion`.

pub mod addresses;
pub(crate) mod admission_match;
pub mod admissionpolicy;
pub mod admissionpolicybinding;
pub mod apiservice;
pub(crate) mod certificate_pem;
pub(crate) mod certificate_status;
pub mod certificatesigningrequest;
pub(crate) mod check;
pub mod componentstatus;
pub mod configmap;
pub mod controllerrevision;
pub(crate) mod crd;
pub mod cronjob;
pub mod csidriver;
pub mod csinode;
pub mod csistoragecapacity;
pub mod customresourcedefinition;
pub mod daemonset;
pub mod deployment;
pub(crate) mod device_capacity;
pub(crate) mod device_request;
pub(crate) mod downward_api;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub(crate) mod fields;
pub mod flowcontrol_bootstrap;
pub mod flowschema;
pub mod horizontalpodautoscaler;
pub mod hpa_conversion;
pub mod hpa_metrics;
pub mod ingress;
pub mod ingressclass;
pub mod ipaddress;
pub mod job;
pub mod job_policy;
pub mod job_spec;
pub mod job_status;
pub(crate) mod json_path;
pub(crate) mod key_pair;
pub mod lease;
pub mod limitrange;
pub mod namespace;
pub mod networkpolicy;
pub mod node;
pub(crate) mod node_labels;
pub(crate) mod node_selector;
mod node_spec;
pub mod object_meta;
pub mod persistentvolume;
pub mod persistentvolume_sources;
pub mod persistentvolumeclaim;
mod plural;
pub mod pod;
pub(crate) mod pod_affinity;
pub(crate) mod pod_apparmor;
pub(crate) mod pod_containers;
pub mod pod_defaults;
pub(crate) mod pod_disabled;
pub(crate) mod pod_env;
pub(crate) mod pod_handlers;
pub(crate) mod pod_mounts;
pub(crate) mod pod_path_warnings;
pub(crate) mod pod_projected;
pub mod pod_resize;
pub(crate) mod pod_resources;
pub mod pod_row;
pub(crate) mod pod_security;
pub mod pod_spec;
pub(crate) mod pod_statuses;
pub(crate) mod pod_tolerations;
pub(crate) mod pod_update;
pub mod pod_volumes;
pub(crate) mod pod_warnings;
pub mod poddisruptionbudget;
pub mod podtemplate;
pub mod priorityclass;
pub mod prioritylevelconfiguration;
pub mod rbac;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resource_names;
pub mod resourceclaim;
pub mod resourcequota;
pub mod resourceslice;
pub mod runtimeclass;
pub mod secret;
pub mod service;
pub(crate) mod service_ips;
mod service_spec;
pub mod service_type;
pub(crate) mod service_warnings;
pub mod serviceaccount;
pub mod servicecidr;
pub mod statefulset;
pub mod storageclass;
pub mod volume_modes;
pub(crate) mod volume_sources;
pub mod volumeattachment;
pub mod volumeattributesclass;
pub(crate) mod webhook_client;
pub mod webhookconfiguration;
pub mod workload;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The typed form of a part of an object; a default where the part is missing or does not fit (the decoder has
/// refused bodies that do not fit before any strategy sees them).
pub(crate) fn typed<T: DeserializeOwned + Default>(value: Option<&Value>) -> T {
    value.and_then(|v| T::deserialize(v).ok()).unwrap_or_default()
}

/// Drops the status: a creator may not set it.
pub(crate) fn drop_status(object: &mut Value) {
    if let Value::Object(root) = object {
        root.remove("status");
    }
}

/// Takes a field of the metadata of `old`.
pub(crate) fn keep_metadata(new: &mut Value, old: &Value, field: &str) {
    let metadata = crate::meta::metadata_mut(new);
    match crate::meta::at(old, &["metadata", field]) {
        Some(v) => metadata.insert(field.to_owned(), v.clone()),
        None => metadata.remove(field),
    };
}

/// Takes the status of `old`: an update of the whole object may not change it.
pub(crate) fn keep_status(new: &mut Value, old: &Value) {
    if let Value::Object(root) = new {
        match old.get("status") {
            Some(s) => root.insert("status".into(), s.clone()),
            None => root.remove("status"),
        };
    }
}
