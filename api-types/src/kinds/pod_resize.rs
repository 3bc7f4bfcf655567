//! `pods/resize`: CPU and memory of a pod's containers, changed while it runs
//! (`ValidatePodResize`, `pkg/registry/core/pod/strategy.go`).

use serde_json::{Map, Value};

use super::check::{list, part, text};
use super::fields;
use super::pod::qos_class;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};

const LISTS: [&str; 2] = ["containers", "initContainers"];
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const AMOUNTS: [&str; 2] = ["requests", "limits"];
const RESTART: &str = "RestartContainer";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Keeps all of `old` but the resources of containers and how they are resized. A pod with other containers is left
/// for validation to refuse.
pub fn prepare(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    let sent = part(new, "spec");
    for field in LISTS {
        let (after, before) = (list(sent, field), list(part(old, "spec"), field));
        if after.len() != before.len() {
            kept["spec"] = sent.clone();
            break;
        }
        let resized: Vec<Value> = after.iter().zip(before).map(|(a, b)| resized(a, b)).collect();
        if !resized.is_empty() {
            kept["spec"][field] = resized.into();
        }
    }
    if let (Value::Object(spec), Some(own)) = (&mut kept["spec"], sent.get("resources")) {
        spec.insert("resources".into(), own.clone());
    }
    let m = meta::metadata_mut(&mut kept);
    for f in ["resourceVersion", "managedFields"] {
        match meta::at(new, &["metadata", f]) {
            Some(v) => m.insert(f.into(), v.clone()),
            None => m.remove(f),
        };
    }
    *new = kept;
}

fn resized(after: &Value, before: &Value) -> Value {
    let mut out = before.clone();
    if let Value::Object(c) = &mut out {
        for f in ["name", "resources", "resizePolicy"] {
            match after.get(f) {
                Some(v) => c.insert(f.into(), v.clone()),
                None => c.remove(f),
            };
        }
    }
    out
}

/// Reasons to refuse a resize, beside those to refuse the pod.
pub fn validate(new: &Value, old: &Value, errors: &mut ErrorList) {
    let (new_spec, old_spec) = (part(new, "spec"), part(old, "spec"));
    let whole = Path::new("");
    let refusal = if meta::at(old, &["metadata", "annotations", MIRROR]).is_some() {
        Some("static pods cannot be resized")
    } else if text(part(old_spec, "os"), "name") == Some("windows") {
        Some("windows pods cannot be resized")
    } else {
        None
    };
    if let Some(why) = refusal {
        errors.0.clear();
        errors.forbidden(&whole, why);
        return;
    }
    let path = Path::new("spec");
    let class = text(part(old, "status"), "qosClass").unwrap_or_else(|| qos_class(old));
    if class != qos_class(new) {
        errors.invalid(&path, class, "Pod QOS Class may not change as a result of resizing");
    }
    if !node_can_resize(old) {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    pod_level(new_spec, old_spec, &path, errors);
    let claims = "nodeAllocatableResourceClaimStatuses";
    if !list(part(old, "status"), claims).is_empty() {
        errors.forbidden(&path, "pods with node allocatable resource claims cannot be resized");
    }
    if !same_containers(new_spec, old_spec, &path, errors) {
        return;
    }
    // As upstream finds them: what was removed first, then what changed besides.
    let pairs = |field: &str| {
        let path = path.child(field);
        let pairs = list(new_spec, field).iter().zip(list(old_spec, field)).enumerate();
        pairs.map(|(i, (after, before))| (path.index(i), after, before)).collect::<Vec<_>>()
    };
    for field in ["initContainers", "containers"] {
        for (path, after, before) in pairs(field) {
            nothing_removed(after, before, "resource", &path, errors);
        }
    }
    for (_, after, before) in pairs("containers") {
        if with_old_amounts(after, before) != with_old_amounts(before, before) {
            errors.forbidden(&path, "only cpu and memory resources are mutable");
        }
    }
    for (path, after, before) in pairs("initContainers") {
        init_container(after, before, &path, errors);
    }
}

/// What is asked for the pod as a whole.
fn pod_level(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let own = |spec: &Value| fields::set(spec, "resources").is_some();
    if own(old) && !own(new) {
        errors.forbidden(&path.child("resources"), "pod-level resources cannot be removed");
        return;
    }
    nothing_removed(new, old, "pod-level resource", path, errors);
    if with_old_amounts(new, old).get("resources") != with_old_amounts(old, old).get("resources") {
        errors.forbidden(path, "only cpu and memory resources are mutable at pod-level");
    }
}

/// A node that can resize tells the resources of the containers it runs; where none runs yet, it is assumed to.
fn node_can_resize(pod: &Value) -> bool {
    let statuses = list(part(pod, "status"), "containerStatuses");
    let running = statuses.iter().find(|c| fields::set(part(c, "state"), "running").is_some());
    running.is_none_or(|c| fields::set(c, "resources").is_some())
}

fn same_containers(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) -> bool {
    let before = errors.0.len();
    for field in LISTS {
        let (after, was) = (list(new, field), list(old, field));
        if after.len() != was.len() {
            let why = format!("{field} may not be added or removed on resize");
            errors.forbidden(&path.child(field), why);
            continue;
        }
        for (i, _) in
            after.iter().zip(was).enumerate().filter(|(_, (a, b))| text(a, "name") != text(b, "name"))
        {
            let why = format!("{field} may not be renamed or reordered on resize");
            errors.forbidden(&path.child(field).index(i).child("name"), why);
        }
    }
    errors.0.len() == before
}

fn init_container(after: &Value, before: &Value, path: &Path, errors: &mut ErrorList) {
    if with_old_amounts(after, before) != with_old_amounts(before, before) {
        errors.forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable");
    }
    let restarted = || list(after, "resizePolicy").iter().any(|p| text(p, "restartPolicy") == Some(RESTART));
    if text(after, "restartPolicy") != Some("Always") && after != before && restarted() {
        let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        errors.forbidden(path, why);
    }
}

/// What is requested or limited stays so.
fn nothing_removed(after: &Value, before: &Value, what: &str, path: &Path, errors: &mut ErrorList) {
    for amounts in AMOUNTS {
        let names = |o: &Value| part(part(o, "resources"), amounts).as_object().cloned().unwrap_or_default();
        let now = names(after);
        if names(before).keys().any(|name| !now.contains_key(name)) {
            let why = format!("{what} {amounts} cannot be removed");
            errors.forbidden(&path.child("resources").child(amounts), why);
        }
    }
}

/// A container, or a pod's spec, with CPU and memory as they were, and without lists that were not there.
fn with_old_amounts(container: &Value, old: &Value) -> Value {
    let mut out = container.clone();
    let Value::Object(c) = &mut out else { return out };
    let resources = object_mut(c, "resources");
    for amounts in AMOUNTS {
        let was = part(old, "resources").get(amounts).and_then(Value::as_object);
        let mut now: Map<String, Value> =
            resources.get(amounts).and_then(Value::as_object).cloned().unwrap_or_default();
        for name in RESIZABLE {
            match was.and_then(|was| was.get(name)) {
                Some(v) => now.insert(name.into(), v.clone()),
                None => now.remove(name),
            };
        }
        if was.is_none() && now.is_empty() {
            resources.remove(amounts);
        } else {
            resources.insert(amounts.into(), now.into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn some_pods_are_never_resized() {
        let pod = |extra: Value| {
            let mut o = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
            crate::patch::merge_patch(&mut o, &extra);
            o
        };
        for (extra, why) in [
            (
                json!({"metadata": {"annotations": {MIRROR: "x"}}}),
                ": Forbidden: static pods cannot be resized",
            ),
            (json!({"spec": {"os": {"name": "windows"}}}), ": Forbidden: windows pods cannot be resized"),
        ] {
            let mut errors = ErrorList::new();
            validate(&pod(extra.clone()), &pod(extra), &mut errors);
            assert_eq!(errors.0.iter().map(ToString::to_string).collect::<Vec<_>>(), [why]);
        }
    }

    #[test]
    fn pods_have_resources_too() {
        let pod = |cpu: &str| {
            json!({"metadata": {}, "spec": {"containers": [{"name": "a"}],
            "resources": {"requests": {"cpu": cpu}}}})
        };
        let mut new = pod("2");
        prepare(&mut new, &pod("1"));
        assert_eq!(new["spec"]["resources"]["requests"]["cpu"], "2");
        let mut errors = ErrorList::new();
        validate(&new, &pod("1"), &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        new["spec"]["resources"] = json!({"requests": {}});
        validate(&new, &pod("1"), &mut errors);
        let last = errors.0.last().unwrap().to_string();
        assert_eq!(last, "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed");
    }
}
