//! Names of resources and amounts of them, as quotas and limit ranges take them
//! (`pkg/apis/core/helper/helpers.go`, `pkg/apis/core/validation/validation.go`).

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::names;
use crate::quantity::Quantity;

/// Counted in whole pieces.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const AMOUNTS: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const HUGE_PAGES: &str = "hugepages-";

/// Whether a quota may name it without a domain.
pub fn is_standard_for_quota(name: &str) -> bool {
    COUNTED.contains(&name)
        || AMOUNTS.contains(&name)
        || name.strip_prefix("requests.").unwrap_or(name).starts_with(HUGE_PAGES)
}

/// Whether the resource is Kubernetes' own.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the resource is one that a node advertises on behalf of somebody else.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether containers may be given more of it than there is.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE_PAGES)
}

/// Reasons to refuse a name where any standard one will do.
pub fn any(name: &str, path: &Path, errors: &mut ErrorList) {
    let before = errors.0.len();
    errors.invalid_all(path, name, names::qualified_name(name));
    if errors.0.len() == before && !name.contains('/') && name != "storage" && !is_standard_for_quota(name) {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
}

/// Reasons to refuse a name that is to be given to containers.
pub fn of_container(name: &str, path: &Path, errors: &mut ErrorList) {
    any(name, path, errors);
    let own = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with(HUGE_PAGES);
    if !name.contains('/') && !own {
        errors.invalid(path, name, "must be a standard resource for containers");
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// Reasons to refuse a map of amounts that a quota sets or that are used.
pub fn quota(map: &Value, path: &Path, errors: &mut ErrorList) {
    for (name, amount) in map.as_object().into_iter().flatten() {
        let path = path.key(name);
        any(name, &path, errors);
        if !name.contains('/') && !is_standard_for_quota(name) {
            errors.invalid(&path, name.as_str(), "must be a standard resource for quota");
        }
        amount_of(name, amount, &path, errors);
    }
}

/// Reasons to refuse an amount of a resource.
pub fn amount_of(name: &str, amount: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(q) = quantity(amount) else { return };
    if q.is_negative() {
        errors.invalid(path, amount.clone(), "must be greater than or equal to 0");
    }
    let whole = Quantity::from_value(q.value(), q.format()) == q;
    if (COUNTED.contains(&name) || is_extended(name)) && !whole {
        errors.invalid(path, amount.clone(), "must be an integer");
    }
}

/// Reasons to refuse nothing, or less.
pub fn positive(amount: &Value, path: &Path, errors: &mut ErrorList) -> bool {
    let bad = quantity(amount).is_some_and(|q| q.is_zero() || q.is_negative());
    if bad {
        errors.invalid(path, amount.clone(), "must be greater than zero");
    }
    !bad
}

/// The amount a value stands for.
pub fn quantity(amount: &Value) -> Option<Quantity> {
    amount.as_str().and_then(|t| t.parse().ok())
}
