//! Validation of what containers and pods ask for (`pkg/apis/core/validation/validation.go`).

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{below, entries, list, required, set, set_text, text};
use super::resource_names::{self, quantity};
use crate::field::{Error, ErrorList, ErrorType, Path};
use crate::quantity::Quantity;
use crate::{amounts, names};

const HUGE_PAGES: &str = "hugepages-";

/// Reasons to refuse the requests, limits and claims of a container.
pub fn of_container(r: &Value, claims: &[&str], path: &Path, errors: &mut ErrorList) {
    amounts_of(r, resource_names::of_container, path, errors);
    claim_names(r, claims, &path.child("claims"), errors);
}

fn amounts_of(r: &Value, name: fn(&str, &Path, &mut ErrorList), path: &Path, errors: &mut ErrorList) {
    let (mut huge, mut plain) = (false, false);
    for list in ["limits", "requests"] {
        for (resource, amount) in entries(r, list) {
            let at = path.child(list).key(resource);
            name(resource, &at, errors);
            resource_names::amount_of(resource, amount, &at, errors);
            if let Some(size) = resource.strip_prefix(HUGE_PAGES) {
                huge = true;
                huge_pages(size, amount, &at, errors);
            }
            plain |= ["cpu", "memory"].contains(&resource.as_str());
            if list == "requests" {
                within_limit(r, resource, amount, path, errors);
            }
        }
    }
    if huge && !plain {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn huge_pages(size: &str, amount: &Value, path: &Path, errors: &mut ErrorList) {
    let page = size.parse::<Quantity>().map(|q| q.nano_value()).unwrap_or(0);
    let nanos = quantity(amount).unwrap_or_default().nano_value();
    if page > 0 && nanos % page != 0 {
        let shown = amount.as_str().unwrap_or("");
        let why = format!("{shown} is not positive integer multiple of {size}");
        errors.invalid(path, shown, why);
    }
}

fn within_limit(r: &Value, resource: &str, amount: &Value, path: &Path, errors: &mut ErrorList) {
    let shown = amount.as_str().unwrap_or("");
    let more = resource_names::may_overcommit(resource);
    let Some(limit) = below(r, "limits").get(resource) else {
        if !more {
            errors.required(&path.child("limits"), "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let (asked, most) = (quantity(amount).unwrap_or_default(), quantity(limit).unwrap_or_default());
    let limit = limit.as_str().unwrap_or("");
    if !more && asked != most {
        let why = format!("must be equal to {resource} limit of {limit}");
        errors.invalid(&path.child("requests"), shown, why);
    } else if asked > most {
        let why = format!("must be less than or equal to {resource} limit of {limit}");
        errors.invalid(&path.child("requests"), shown, why);
    }
}

fn claim_names(r: &Value, known: &[&str], path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, c) in list(r, "claims").iter().enumerate() {
        let (name, request, at) = (text(c, "name"), text(c, "request"), path.index(i));
        if name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let shown = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
        if seen.contains(name) || !seen.insert(shown.clone()) {
            errors.duplicate(&at, shown);
        }
        if !known.contains(&name) {
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            let which =
                if known.is_empty() { " which is empty".into() } else { format!(": {}", sorted.join(", ")) };
            errors.0.push(Error {
                kind: ErrorType::NotFound,
                field: at.to_string(),
                body: format!(
                    "Not found: {name:?}: must be one of the names in pod.spec.resourceClaims{which}"
                ),
            });
        }
    }
}

/// Reasons to refuse which resources change without a restart.
pub fn resize_policy(c: &Value, restart: &str, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, p) in list(c, "resizePolicy").iter().enumerate() {
        let (resource, policy) = (text(p, "resourceName"), text(p, "restartPolicy"));
        if !seen.insert(resource) {
            errors.duplicate(&path.index(i), resource);
        }
        match resource {
            "" => errors.required(path, ""),
            "cpu" | "memory" => {}
            other => errors.not_supported(path, other, &["cpu", "memory"]),
        }
        match policy {
            "" => errors.required(path, ""),
            "NotRequired" | "RestartContainer" => {}
            other => errors.not_supported(path, other, &["NotRequired", "RestartContainer"]),
        }
        if restart == "Never" && policy != "NotRequired" {
            errors.invalid(path, policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

/// Reasons to refuse those of an init container that is no sidecar: it cannot be restarted.
pub fn resize_policy_of_init(c: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, _) in list(c, "resizePolicy")
        .iter()
        .enumerate()
        .filter(|(_, p)| text(p, "restartPolicy") == "RestartContainer")
    {
        errors.invalid(
            &path.child("resizePolicy").index(i).child("restartPolicy"),
            "RestartContainer",
            "must not be set to 'RestartContainer' for non-sidecar initContainers",
        );
    }
}

/// Reasons to refuse what a pod asks for as a whole.
pub fn of_pod(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(r) = set(spec, "resources") else { return };
    let path = path.child("resources");
    if text(below(spec, "os"), "name") == "windows" {
        errors.forbidden(&path, "may not be set for a windows pod");
        return;
    }
    if set(r, "claims").is_some() {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    amounts_of(r, pod_resource, &path, errors);
    let together = |field: &str, huge: bool, errors: &mut ErrorList| {
        for (resource, all) in amounts::of_containers(spec, field) {
            let Some(own) = below(r, field).get(&resource) else { continue };
            if (!huge || resource.starts_with(HUGE_PAGES)) && quantity(own).is_some_and(|own| all > own) {
                let why = format!("must be greater than or equal to aggregate container {field} of {all}");
                errors.invalid(&path.child(field).key(&resource), own.clone(), why);
            }
        }
    };
    together("requests", false, errors);
    together("limits", true, errors);
    for (i, c) in list(spec, "containers").iter().enumerate() {
        for (resource, limit) in entries(below(c, "resources"), "limits") {
            let Some(most) = below(r, "limits").get(resource) else { continue };
            if quantity(limit) > quantity(most) {
                let at = path.child("containers").index(i).key(resource).child("limits");
                let why =
                    format!("must be less than or equal to pod limits of {}", most.as_str().unwrap_or(""));
                errors.invalid(&at, limit.clone(), why);
            }
        }
    }
}

fn pod_resource(name: &str, path: &Path, errors: &mut ErrorList) {
    if !["cpu", "memory"].contains(&name) && !name.starts_with(HUGE_PAGES) {
        errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// The claims of devices a pod has, and reasons to refuse them.
pub fn claims<'a>(spec: &'a Value, path: &Path, errors: &mut ErrorList) -> Vec<&'a str> {
    let mut known = Vec::new();
    for (i, c) in list(spec, "resourceClaims").iter().enumerate() {
        let path = path.child("resourceClaims").index(i);
        if let Some(name) = required(c, "name", &path, errors) {
            if known.contains(&name) {
                errors.duplicate(&path.child("name"), name);
            } else {
                errors.invalid_all(&path.child("name"), name, names::dns1123_label(name));
                known.push(name);
            }
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|f| set(c, f).is_some()).count() {
            0 => {
                let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, c.clone(), why);
            }
            1 => {}
            _ => {
                let why =
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, c.clone(), why);
            }
        }
        for f in sources {
            if let Some(name) = set_text(c, f) {
                errors.invalid_all(&path.child(f), name, names::dns1123_subdomain(name));
            }
        }
    }
    known
}

/// Reasons to refuse what a pod costs beyond its containers.
pub fn overhead(spec: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(o) = set(spec, "overhead") {
        let limits = serde_json::json!({"limits": o});
        amounts_of(&limits, resource_names::of_container, &path.child("overhead"), errors);
    }
}
