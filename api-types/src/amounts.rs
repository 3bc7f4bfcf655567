//! Amounts of resources, and what the containers of a pod ask for together
//! (`component-helpers/resource/helpers.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::resource_names::quantity;
use crate::meta::{self, str_at};
use crate::quantity::Quantity;

/// How much of each resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// A map of quantities as amounts; what is no quantity is left out.
pub fn read(map: Option<&Value>) -> Amounts {
    let map = map.and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), quantity(v)?))).collect()
}

/// Adds every amount.
pub fn add(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let sum = to.get(name).map_or(*amount, |known| *known + *amount);
        to.insert(name.clone(), sum);
    }
}

/// Raises every amount to that of `other`.
fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if to.get(name).is_none_or(|known| amount > known) {
            to.insert(name.clone(), *amount);
        }
    }
}

/// The `requests` or `limits` (`field`) of a pod: the sum of its containers, at least what its init containers need
/// one after the other, unless the pod as a whole says otherwise. With `overhead` that of its runtime class counts
/// too, and huge pages of the pod as a whole.
pub fn of_pod(pod: &Value, field: &str, overhead: bool) -> Amounts {
    sum(pod, field, overhead, |container| read(meta::at(container, &["resources", field])))
}

/// The same of a pod that may be about to be resized: of what its containers ask for, are promised and have, the most
/// counts. What they ask for does not where the node has told that it will never be.
pub fn in_use(pod: &Value, field: &str) -> Amounts {
    let infeasible =
        list(pod, &["status", "conditions"]).find(|c| str_at(c, &["type"]) == "PodResizePending");
    let infeasible = infeasible.is_some_and(|c| str_at(c, &["reason"]) == "Infeasible");
    let statuses = || {
        let init = list(pod, &["status", "initContainerStatuses"]);
        list(pod, &["status", "containerStatuses"]).chain(init)
    };
    // What init containers have counts only where they stay.
    let stays = |container: &Value| {
        str_at(container, &["restartPolicy"]) == "Always"
            || list(pod, &["spec", "containers"]).any(|c| std::ptr::eq(c, container))
    };
    sum(pod, field, true, |container| {
        let asked = read(meta::at(container, &["resources", field]));
        let name = meta::at(container, &["name"]);
        let status = statuses().find(|status| status.get("name") == name).filter(|_| stays(container));
        let Some(has) = status.and_then(|s| s.get("resources")).filter(|r| !r.is_null()) else {
            return asked;
        };
        let mut most = read(has.get(field));
        if field == "requests" {
            raise(&mut most, &read(status.and_then(|s| s.get("allocatedResources"))));
        }
        if !infeasible {
            raise(&mut most, &asked);
        }
        most
    })
}

fn list<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    meta::at(object, path).and_then(Value::as_array).into_iter().flatten()
}

/// The same of the containers of a spec alone.
pub fn of_containers(spec: &Value, field: &str) -> Amounts {
    of_list(spec, |container| read(meta::at(container, &["resources", field])))
}

fn sum(pod: &Value, field: &str, overhead: bool, own: impl Fn(&Value) -> Amounts) -> Amounts {
    let mut total = of_list(pod.get("spec").unwrap_or(&Value::Null), own);
    let of_pods = |n: &str| n == "cpu" || n == "memory" || (overhead && n.starts_with("hugepages-"));
    let whole = read(meta::at(pod, &["spec", "resources", field]));
    total.extend(whole.into_iter().filter(|(name, _)| of_pods(name)));
    if overhead {
        let mut extra = read(meta::at(pod, &["spec", "overhead"]));
        if field == "limits" {
            // What is not limited stays so.
            extra.retain(|name, _| total.get(name).is_some_and(|limit| !limit.is_zero()));
        }
        add(&mut total, &extra);
    }
    total
}

fn of_list(spec: &Value, own: impl Fn(&Value) -> Amounts) -> Amounts {
    let containers = |name: &str| list(spec, &[name]);
    let (mut total, mut sidecars, mut first) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in containers("containers") {
        add(&mut total, &own(container));
    }
    for container in containers("initContainers") {
        let mut needed = own(container);
        if str_at(container, &["restartPolicy"]) == "Always" {
            add(&mut total, &needed);
            add(&mut sidecars, &needed);
            needed.clone_from(&sidecars);
        } else {
            add(&mut needed, &sidecars);
        }
        raise(&mut first, &needed);
    }
    raise(&mut total, &first);
    total
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(amounts: &Amounts) -> String {
        amounts.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn pods_ask_for_what_they_need_at_their_neediest() {
        let c = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"memory": "1Gi"}}});
        let sidecar = |cpu: &str| {
            let mut it = c(cpu);
            it["restartPolicy"] = "Always".into();
            it
        };
        for (spec, requests, limits) in [
            (json!({"containers": [c("1"), c("500m")]}), "cpu=1500m", "memory=2Gi"),
            (json!({"containers": [c("1")], "initContainers": [c("3"), c("2")]}), "cpu=3", "memory=1Gi"),
            (
                json!({"containers": [c("1")], "initContainers": [sidecar("1"), c("3")]}),
                "cpu=4",
                "memory=2Gi",
            ),
            (
                json!({"containers": [c("1")], "overhead": {"cpu": "250m", "memory": "1Mi", "x": "1"}}),
                "cpu=1250m,memory=1Mi,x=1",
                "memory=1025Mi",
            ),
            (json!({"containers": [c("1")], "resources": {"requests": {"cpu": "5"}}}), "cpu=5", "memory=1Gi"),
        ] {
            let pod = json!({"spec": spec});
            assert_eq!(shown(&of_pod(&pod, "requests", true)), requests, "{pod}");
            assert_eq!(shown(&of_pod(&pod, "limits", true)), limits, "{pod}");
        }
    }

    #[test]
    fn resized_pods_count_with_the_most_of_it() {
        let pod = |asked: &str, given: &str, has: &str, reason: &str| {
            let of = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
            json!({
                "spec": {"containers": [{"name": "a", "resources": of(asked)}]},
                "status": {
                    "conditions": [{"type": "PodResizePending", "reason": reason}],
                    "containerStatuses": [
                        {"name": "a", "allocatedResources": {"cpu": given}, "resources": of(has)}],
                },
            })
        };
        for (asked, given, has, reason, requests, limits) in [
            ("1", "1", "1", "", "cpu=1", "cpu=1"),
            ("3", "1", "1", "Deferred", "cpu=3", "cpu=3"),
            ("1", "2", "1", "", "cpu=2", "cpu=1"),
            ("1", "1", "2", "", "cpu=2", "cpu=2"),
            ("3", "2", "1", "Infeasible", "cpu=2", "cpu=1"),
        ] {
            let pod = pod(asked, given, has, reason);
            assert_eq!(shown(&in_use(&pod, "requests")), requests, "{pod}");
            assert_eq!(shown(&in_use(&pod, "limits")), limits, "{pod}");
        }
        let mut new = pod("3", "1", "1", "");
        new["status"]["containerStatuses"][0]["resources"] = Value::Null;
        assert_eq!(shown(&in_use(&new, "requests")), "cpu=3");
    }
}
