//! API services: who serves a version of a group. They are kept; nothing is proxied by them yet.

use serde_json::{Value, json};

use super::fields::{self, below, flag, int, list, set, text};
use super::{drop_status, keep_status};
use crate::catalog::{Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to};
use crate::{names, table};

/// The strategy of API services.
pub struct ApiService;

impl Strategy for ApiService {
    fn default(&self, object: &mut Value) {
        if let Some(Value::Object(service)) = object.pointer_mut("/spec/service") {
            default_to(service, "port", 443);
        }
    }

    /// What this server serves itself is there at once.
    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({});
        if set(below(object, "spec"), "service").is_none() {
            object["status"]["conditions"] = json!([{"type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available", "lastTransitionTime": meta::now()}]);
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        let (group, version) = (text(spec, "group"), text(spec, "version"));
        let required = format!("{version}.{group}");
        if meta::name(object) != required && names::path_segment(meta::name(object)).is_empty() {
            let at = Path::new("metadata").child("name");
            let text = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
            errors.invalid(&at, meta::name(object), text);
        }
        if group.is_empty() && version != "v1" {
            let text = "only v1 may have an empty group and it better be legacy kube";
            errors.required(&path.child("group"), text);
        }
        if !group.is_empty() {
            errors.invalid_all(&path.child("group"), group, names::dns1123_subdomain(group));
        }
        errors.invalid_all(&path.child("version"), version, names::dns1035_label(version));
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
            let n = int(spec, field);
            if n <= 0 || n > most {
                errors.invalid(&path.child(field), n, format!("must be positive and less than {most}"));
            }
        }
        match set(spec, "service") {
            None => local(spec, &path, errors),
            Some(s) => remote(spec, s, &path, errors),
        }
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        for (i, c) in list(below(new, "status"), "conditions").iter().enumerate() {
            let path = Path::new("status").child("conditions").index(i).child("status");
            const KNOWN: &[&str] = &["True", "False", "Unknown"];
            if !KNOWN.contains(&text(c, "status")) {
                errors.not_supported(&path, text(c, "status"), KNOWN);
            }
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let service = set(below(o, "spec"), "service")
            .map_or("Local".into(), |s| format!("{}/{}", text(s, "namespace"), text(s, "name")));
        let conditions = list(below(o, "status"), "conditions");
        let available = conditions.iter().find(|c| text(c, "type") == "Available");
        let available =
            available.map_or("Unknown".into(), |c| match (text(c, "status"), text(c, "reason")) {
                ("True", _) => "True".into(),
                (status, "") => status.to_owned(),
                (status, reason) => format!("{status} ({reason})"),
            });
        vec![meta::name(o).into(), service.into(), available.into(), table::age(o, now).into()]
    }
}

fn local(spec: &Value, path: &Path, errors: &mut ErrorList) {
    use base64::Engine;
    let bundle = text(spec, "caBundle");
    if !bundle.is_empty() {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(bundle).map_or(bundle.len(), |b| b.len());
        let text = "local APIServices may not have a caBundle";
        errors.invalid(&path.child("caBundle"), format!("{bytes} bytes"), text);
    }
    if flag(spec, "insecureSkipTLSVerify") {
        let text = "local APIServices may not have insecureSkipTLSVerify";
        errors.invalid(&path.child("insecureSkipTLSVerify"), true, text);
    }
}

fn remote(spec: &Value, service: &Value, path: &Path, errors: &mut ErrorList) {
    let at = path.child("service");
    fields::required(service, "namespace", &at, errors);
    fields::required(service, "name", &at, errors);
    let port = int(service, "port");
    let reasons = names::port_number(port);
    if !reasons.is_empty() {
        errors.invalid(&at.child("port"), port, format!("port is not valid: {}", reasons.join(", ")));
    }
    if flag(spec, "insecureSkipTLSVerify") && !text(spec, "caBundle").is_empty() {
        let text = "may not be true if caBundle is present";
        errors.invalid(&path.child("insecureSkipTLSVerify"), true, text);
    }
}
