//! What an object counts for in a quota (`pkg/quota/v1/evaluator/core`, `apiserver/pkg/quota/v1/generic`).
//!
//! Pods, services and claims are measured; of everything else there is only the number, as `count/<plural>.<group>`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::amounts::{self, Amounts};
use crate::kinds::pod::qos_class;
use crate::kinds::resource_names::{is_extended, is_native};
use crate::meta::{self, str_at};
use crate::quantity::{Format, Quantity};

/// Counted under their plain names too, since before there was `count/`.
const PLAIN: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
const SERVICES: [&str; 3] = ["services", "services.loadbalancers", "services.nodeports"];
const CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";
/// What containers must ask for when a quota has it.
const DEMANDED: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// The name that objects of a kind are counted under.
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

/// Whether objects of a kind count for the resource `name` of a quota.
pub fn tracks(group: &str, plural: &str, name: &str) -> bool {
    if name == count_name(group, plural) {
        return true;
    }
    if !group.is_empty() {
        return false;
    }
    let bare = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    match plural {
        "pods" => {
            name == "pods"
                || COMPUTE.contains(&bare)
                || name.strip_prefix("requests.").unwrap_or(name).starts_with(HUGE_PAGES)
                || (!is_native(name) && name.starts_with("requests."))
        }
        "services" => SERVICES.contains(&name),
        "persistentvolumeclaims" => {
            CLAIMS.contains(&name)
                || CLAIMS.iter().any(|c| name.strip_suffix(c).is_some_and(|n| n.ends_with(OF_CLASS)))
        }
        other => name == other && PLAIN.contains(&other),
    }
}

fn whole(n: usize) -> Quantity {
    Quantity::from_value(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// What an object counts for.
pub fn usage(group: &str, plural: &str, object: &Value, now: Timestamp) -> Amounts {
    let mut used = Amounts::from([(count_name(group, plural), whole(1))]);
    match plural {
        _ if !group.is_empty() => {}
        "pods" if is_over(object, now) => {}
        "pods" => {
            let (requests, limits) = (amounts::in_use(object, "requests"), amounts::in_use(object, "limits"));
            used.extend(compute(&requests, &limits));
            used.insert("pods".to_owned(), whole(1));
        }
        "services" => used.extend(of_service(object)),
        "persistentvolumeclaims" => used.extend(of_claim(object)),
        other if PLAIN.contains(&other) => {
            used.insert(other.to_owned(), whole(1));
        }
        _ => {}
    }
    used
}

/// Whether a pod uses nothing any more: it has ended, or should have.
fn is_over(pod: &Value, now: Timestamp) -> bool {
    if matches!(str_at(pod, &["status", "phase"]), "Succeeded" | "Failed") {
        return true;
    }
    let grace = meta::at(pod, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    let end = grace.zip(meta::field(pod, "deletionTimestamp").parse::<Timestamp>().ok());
    end.is_some_and(|(grace, at)| now.duration_since(at).as_secs() > grace)
}

/// Requests and limits under the names of quotas.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (name, amount) in requests {
        let counted = COMPUTE.contains(&name.as_str()) || name.starts_with(HUGE_PAGES);
        if counted {
            used.insert(name.clone(), *amount);
        }
        if counted || is_extended(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(n, _)| COMPUTE.contains(&n.as_str())) {
        used.insert(format!("limits.{name}"), *amount);
    }
    used
}

fn of_service(service: &Value) -> Amounts {
    let ports = meta::at(service, &["spec", "ports"]).and_then(Value::as_array);
    let ports = ports.map_or(&[][..], Vec::as_slice);
    let given = |p: &&Value| p.get("nodePort").and_then(Value::as_i64).is_some_and(|n| n != 0);
    let allocates =
        meta::at(service, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
    let (nodeports, balancers) = match str_at(service, &["spec", "type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if allocates => (ports.len(), 1),
        "LoadBalancer" => (ports.iter().filter(given).count(), 1),
        _ => (0, 0),
    };
    let names = SERVICES.map(str::to_owned).into_iter();
    names.zip([whole(1), whole(balancers), whole(nodeports)]).collect()
}

fn of_claim(claim: &Value) -> Amounts {
    let mut used = Amounts::from([(CLAIMS[0].to_owned(), whole(1))]);
    let storage = |path: &[&str]| amounts::read(meta::at(claim, path)).remove("storage");
    let asked = storage(&["spec", "resources", "requests"]);
    // A claim that could not be grown and was shrunk again may still hold what it was given.
    let given = storage(&["status", "allocatedResources"]);
    if let Some(amount) = asked.map(|a| given.map_or(a, |g| a.max(g))) {
        used.insert(CLAIMS[1].to_owned(), Quantity::from_value(amount.value(), amount.format()));
    }
    let annotated = str_at(claim, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    let class = if annotated.is_empty() { str_at(claim, &["spec", "storageClassName"]) } else { annotated };
    if !class.is_empty() {
        let of_class: Vec<_> = used.iter().map(|(n, q)| (format!("{class}{OF_CLASS}{n}"), *q)).collect();
        used.extend(of_class);
    }
    used
}

/// Whether all scopes of a quota take an object in.
pub fn in_scope(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let all = |path: &[&str]| meta::at(quota, path).and_then(Value::as_array).into_iter().flatten();
    let mut scopes = all(&["spec", "scopes"]).map(|s| (s.as_str().unwrap_or(""), "Exists", &Value::Null));
    let mut selected = all(&["spec", "scopeSelector", "matchExpressions"]).map(|e| {
        let values = e.get("values").unwrap_or(&Value::Null);
        (str_at(e, &["scopeName"]), str_at(e, &["operator"]), values)
    });
    let judge = |(scope, operator, values): (&str, &str, &Value)| match (group, plural) {
        ("", "pods") => pod_in_scope(scope, operator, values, object),
        ("", "persistentvolumeclaims") if scope == "VolumeAttributesClass" => {
            claim_in_scope(operator, values, object)
        }
        _ => false,
    };
    scopes.all(judge) && selected.all(judge)
}

fn pod_in_scope(scope: &str, operator: &str, values: &Value, pod: &Value) -> bool {
    let best_effort = || match str_at(pod, &["status", "qosClass"]) {
        "" => qos_class(pod) == "BestEffort",
        class => class == "BestEffort",
    };
    let terminating =
        || meta::at(pod, &["spec", "activeDeadlineSeconds"]).and_then(Value::as_i64).is_some_and(|s| s >= 0);
    match scope {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => selects(operator, values, str_at(pod, &["spec", "priorityClassName"])),
        "CrossNamespacePodAffinity" => reaches_out(pod),
        _ => false,
    }
}

fn selects(operator: &str, values: &Value, class: &str) -> bool {
    let named = || values.as_array().is_some_and(|v| v.iter().any(|v| v == class));
    match operator {
        "Exists" => !class.is_empty(),
        "DoesNotExist" => class.is_empty(),
        "In" => !class.is_empty() && named(),
        "NotIn" => class.is_empty() || !named(),
        _ => false,
    }
}

fn claim_in_scope(operator: &str, values: &Value, claim: &Value) -> bool {
    let mut classes = vec![
        str_at(claim, &["spec", "volumeAttributesClassName"]),
        str_at(claim, &["status", "currentVolumeAttributesClassName"]),
        str_at(claim, &["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"]),
    ];
    classes.retain(|c| !c.is_empty());
    if classes.is_empty() {
        classes.push("");
    }
    classes.into_iter().any(|class| selects(operator, values, class))
}

/// Whether a pod wants to be near, or far from, pods of other namespaces.
fn reaches_out(pod: &Value) -> bool {
    let out = |term: &Value| {
        let listed = term.get("namespaces").and_then(Value::as_array).is_some_and(|n| !n.is_empty());
        listed || term.get("namespaceSelector").is_some_and(|s| !s.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = |field: &str| {
            meta::at(pod, &["spec", "affinity", kind, field]).and_then(Value::as_array).into_iter().flatten()
        };
        terms("requiredDuringSchedulingIgnoredDuringExecution").any(out)
            || terms("preferredDuringSchedulingIgnoredDuringExecution")
                .any(|t| t.get("podAffinityTerm").is_some_and(out))
    })
}

/// What containers of a pod fail to ask for although a quota with these resources demands it, in upstream's words.
pub fn missing<'a>(required: impl Iterator<Item = &'a str>, pod: &Value) -> Option<String> {
    let sides = |v: &Value| {
        let side = |f: &str| amounts::read(meta::at(v, &["resources", f]));
        compute(&side("requests"), &side("limits"))
    };
    let whole = pod.get("spec").map(&sides).unwrap_or_default();
    let required: Vec<&str> = required.filter(|n| DEMANDED.contains(n) && !whole.contains_key(*n)).collect();
    let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for list in ["containers", "initContainers"] {
        let containers = meta::at(pod, &["spec", list]).and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            let has = sides(container);
            for name in required.iter().filter(|n| !has.contains_key(**n)) {
                lacking.entry(name).or_default().push(str_at(container, &["name"]));
            }
        }
    }
    let told = lacking.into_iter().map(|(resource, mut containers)| {
        containers.sort_unstable();
        containers.dedup();
        format!("{resource} for: {}", containers.join(","))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("must specify {}", told.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(plural: &str, object: &Value) -> String {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let used = usage("", plural, object, now);
        used.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn objects_are_measured() {
        let pod = json!({"spec": {"containers": [{"resources": {
            "requests": {"cpu": "1", "nvidia.com/gpu": "2", "hugepages-2Mi": "4Mi"}, "limits": {"memory": "1Gi"}}}]}});
        let with = |change: Value| {
            let mut p = pod.clone();
            p.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            p
        };
        let going = |seconds: i64| {
            with(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z",
                "deletionGracePeriodSeconds": seconds}}))
        };
        let full = "count/pods=1,cpu=1,hugepages-2Mi=4Mi,limits.memory=1Gi,pods=1,requests.cpu=1,requests.hugepages-2Mi=4Mi,requests.nvidia.com/gpu=2";
        let balanced = |allocate: bool| {
            json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": allocate,
                "ports": [{"nodePort": 30000}, {}]}})
        };
        for (plural, object, used) in [
            ("pods", pod.clone(), full),
            ("pods", with(json!({"status": {"phase": "Failed"}})), "count/pods=1"),
            ("pods", going(30), "count/pods=1"),
            ("pods", going(90), full),
            ("secrets", json!({}), "count/secrets=1,secrets=1"),
            ("endpoints", json!({}), "count/endpoints=1"),
            (
                "services",
                balanced(true),
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
            ),
            (
                "services",
                balanced(false),
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
            ),
            (
                "persistentvolumeclaims",
                json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1.5"}}},
                    "status": {"allocatedResources": {"storage": "7"}}}),
                "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=7,persistentvolumeclaims=1,requests.storage=7",
            ),
        ] {
            assert_eq!(shown(plural, &object), used, "{plural} {object}");
            for name in used.split(',').filter_map(|u| u.split_once('=')) {
                assert!(tracks("", plural, name.0), "{plural} {}", name.0);
            }
        }
        assert!(tracks("apps", "deployments", "count/deployments.apps"));
        assert!(!tracks("apps", "pods", "pods") && !tracks("", "configmaps", "secrets"));
    }

    #[test]
    fn scopes_take_pods_in() {
        let bare = json!({"spec": {"containers": [{}]}});
        let classed = json!({"spec": {"priorityClassName": "high", "activeDeadlineSeconds": 5,
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaceSelector": {}}]}}}});
        let scope = |names: Value| json!({"spec": {"scopes": names}});
        let select = |operator: &str, values: Value| {
            json!({"spec": {"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}}})
        };
        for (quota, of_bare, of_classed) in [
            (json!({}), true, true),
            (scope(json!(["BestEffort"])), true, false),
            (scope(json!(["NotBestEffort", "Terminating"])), false, true),
            (scope(json!(["NotTerminating"])), true, false),
            (scope(json!(["CrossNamespacePodAffinity"])), false, true),
            (select("In", json!(["high"])), false, true),
            (select("NotIn", json!(["high"])), true, false),
            (select("Exists", json!([])), false, true),
            (select("DoesNotExist", json!([])), true, false),
        ] {
            assert_eq!(in_scope(&quota, "", "pods", &bare), of_bare, "{quota}");
            assert_eq!(in_scope(&quota, "", "pods", &classed), of_classed, "{quota}");
        }
        assert!(!in_scope(&scope(json!(["BestEffort"])), "", "services", &bare));
    }

    #[test]
    fn demands_are_told_by_resource_and_container() {
        let pod = json!({"spec": {"containers": [{"name": "b", "resources": {"requests": {"cpu": "1"}}},
            {"name": "a"}], "initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1"}}}]}});
        let demanded = ["requests.cpu", "limits.cpu", "pods", "requests.storage"];
        assert_eq!(
            missing(demanded.into_iter(), &pod).unwrap(),
            "must specify limits.cpu for: a,b; requests.cpu for: a,i"
        );
        assert_eq!(missing(["pods"].into_iter(), &pod), None);
    }
}
