//! Amounts of resources, and what the containers of a pod ask for together
//! (`component-helpers/resource/helpers.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::resource_names::quantity;
use crate::meta;
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
    let mut total = of_containers(pod.get("spec").unwrap_or(&Value::Null), field);
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

/// The same of the containers of a spec alone.
pub fn of_containers(spec: &Value, field: &str) -> Amounts {
    let containers = |list: &str| spec.get(list).and_then(Value::as_array).into_iter().flatten();
    let own = |c: &Value| read(meta::at(c, &["resources", field]));
    let (mut total, mut sidecars, mut first) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in containers("containers") {
        add(&mut total, &own(container));
    }
    for container in containers("initContainers") {
        let mut needed = own(container);
        if meta::str_at(container, &["restartPolicy"]) == "Always" {
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
}
