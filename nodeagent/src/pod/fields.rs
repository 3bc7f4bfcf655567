//! The downward API: values of `fieldRef` and `resourceFieldRef`, for variables and volumes alike.

use api_types::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::resources;
use super::spec;

/// Facts a field may refer to besides the pod itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// The node's address.
    pub host_ip: String,
    /// The node's name.
    pub node_name: String,
    /// Thousandths of CPUs a container without a limit may use.
    pub cpu_milli: i64,
    /// Bytes of memory a container without a limit may use.
    pub memory: i64,
}

fn quoted(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// Value of a field of the pod.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, String> {
    let spec = spec::spec(pod);
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let values = match map {
            "metadata.labels" => pod.metadata.labels.as_ref(),
            "metadata.annotations" => pod.metadata.annotations.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(values.and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.labels" => quoted(pod.metadata.labels.as_ref()),
        "metadata.annotations" => quoted(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// Value of a resource of a container, divided as asked and rounded up.
pub fn resource(
    container: &Container,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, String> {
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let resources = container.resources.as_ref();
    let in_milli = name == "cpu";
    let value = match list {
        "limits" => resources::limit(resources, name).or(match name {
            "cpu" => Some(facts.cpu_milli),
            "memory" => Some(facts.memory),
            _ => None,
        }),
        "requests" => resources::request(resources, name),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    }
    .unwrap_or(0);
    let divisor = selector.divisor.as_ref().and_then(|divisor| divisor.0.parse::<Quantity>().ok());
    let divisor = divisor.filter(|divisor| divisor.milli_value() > 0);
    let divisor = match (divisor, in_milli) {
        (Some(divisor), true) => divisor.milli_value(),
        (Some(divisor), false) => divisor.value(),
        (None, true) => 1000,
        (None, false) => 1,
    };
    Ok(value.saturating_add(divisor - 1).div_euclid(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_resources() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b\"c"}},
            "spec": {"containers": []},
        }))
        .unwrap();
        let facts =
            Facts { pod_ips: vec!["1.2.3.4".into()], memory: 1 << 30, cpu_milli: 1500, ..Facts::default() };
        assert_eq!(field(&pod, "metadata.labels['a']", &facts).unwrap(), "b\"c");
        assert_eq!(field(&pod, "metadata.labels", &facts).unwrap(), "a=\"b\\\"c\"");
        assert_eq!(field(&pod, "status.podIP", &facts).unwrap(), "1.2.3.4");
        assert!(field(&pod, "spec.x", &facts).is_err());
        let container = Container::default();
        let select = |name: &str| ResourceFieldSelector { resource: name.into(), ..Default::default() };
        assert_eq!(resource(&container, &select("limits.cpu"), &facts).unwrap(), "2");
        assert_eq!(resource(&container, &select("limits.memory"), &facts).unwrap(), (1 << 30).to_string());
        assert_eq!(resource(&container, &select("requests.cpu"), &facts).unwrap(), "0");
    }
}
