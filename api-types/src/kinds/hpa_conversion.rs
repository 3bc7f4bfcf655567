//! Between `autoscaling/v1` and the stored v2 (`pkg/apis/autoscaling/v1/conversion.go`).
//!
//! Version 1 knows one target for the CPU; all else travels in annotations, in the form that v2beta1 had, so that
//! a client of version 1 can read, change and write an autoscaler without losing any of it.

use serde_json::{Map, Value, json};

use super::check::{int, list, part, text};
use super::horizontalpodautoscaler::{DEFAULT_CPU, cpu_utilization};
use crate::catalog::Conversion;
use crate::meta::{self, object_mut};

/// The conversion of version 1.
pub const V1: Conversion = Conversion { to_stored, from_stored };

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The keys of the annotations' documents in the order in which Go's structures have them.
const ORDER: [&str; 38] = [
    "type",
    "status",
    "lastTransitionTime",
    "reason",
    "message",
    "object",
    "pods",
    "resource",
    "containerResource",
    "external",
    "target",
    "kind",
    "name",
    "apiVersion",
    "metricName",
    "metricSelector",
    "targetValue",
    "targetAverageUtilization",
    "targetAverageValue",
    "currentValue",
    "currentAverageUtilization",
    "currentAverageValue",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "averageValue",
    "container",
    "ScaleUp",
    "ScaleDown",
    "StabilizationWindowSeconds",
    "SelectPolicy",
    "Policies",
    "Type",
    "Value",
    "PeriodSeconds",
];

fn is_cpu(metric: &Value) -> bool {
    text(metric, "type") == Some("Resource") && text(part(metric, "resource"), "name") == Some("cpu")
}

fn utilization(metric: &Value, side: &str) -> Option<i64> {
    int(part(part(metric, "resource"), side), "averageUtilization")
}

fn from_stored(object: &mut Value) {
    let spec = part(object, "spec").clone();
    let status = part(object, "status").clone();
    let metrics = list(&spec, "metrics");
    let others: Vec<Value> = metrics
        .iter()
        .filter(|m| !(is_cpu(m) && utilization(m, "target").is_some()))
        .map(|m| legacy(m, "target", "targetAverage", "targetValue"))
        .collect();
    let current: Vec<Value> = list(&status, "currentMetrics")
        .iter()
        .map(|m| legacy(m, "current", "currentAverage", "currentValue"))
        .collect();
    let conditions = list(&status, "conditions").to_vec();
    let Value::Object(root) = object else { return };
    root.insert("apiVersion".into(), "autoscaling/v1".into());
    annotate(root, METRICS, (!others.is_empty()).then(|| others.into()));
    annotate(root, CURRENT_METRICS, (!current.is_empty()).then(|| current.into()));
    annotate(root, CONDITIONS, (!conditions.is_empty()).then(|| conditions.into()));
    annotate(root, BEHAVIOR, spec.get("behavior").map(|b| recased(b, |c| c.to_ascii_uppercase())));
    let percent = metrics.iter().find(|m| is_cpu(m)).and_then(|m| utilization(m, "target"));
    if let Some(Value::Object(spec)) = root.get_mut("spec") {
        spec.remove("metrics");
        spec.remove("behavior");
        if let Some(percent) = percent {
            spec.insert("targetCPUUtilizationPercentage".into(), percent.into());
        }
    }
    let percent =
        list(&status, "currentMetrics").iter().filter(|m| is_cpu(m)).find_map(|m| utilization(m, "current"));
    if let Some(Value::Object(status)) = root.get_mut("status") {
        status.remove("currentMetrics");
        status.remove("conditions");
        for f in ["currentReplicas", "desiredReplicas"] {
            meta::default_to(status, f, 0);
        }
        if let Some(percent) = percent {
            status.insert("currentCPUUtilizationPercentage".into(), percent.into());
        }
    }
}

fn to_stored(object: &mut Value) {
    let Value::Object(root) = object else { return };
    root.insert("apiVersion".into(), "autoscaling/v2".into());
    let mut metrics = carried(root, METRICS).map(|m| modern_all(&m, "target")).unwrap_or_default();
    let current = carried(root, CURRENT_METRICS).map(|m| modern_all(&m, "current"));
    let conditions = carried(root, CONDITIONS);
    let behavior = carried(root, BEHAVIOR).map(|b| recased(&b, |c| c.to_ascii_lowercase()));
    let spec = object_mut(root, "spec");
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage").and_then(|v| v.as_i64()) {
        metrics.push(cpu_utilization(percent));
    }
    if metrics.is_empty() {
        metrics.push(cpu_utilization(DEFAULT_CPU));
    }
    spec.insert("metrics".into(), metrics.into());
    if let Some(behavior) = behavior.filter(|b| b.as_object().is_some_and(|b| !b.is_empty())) {
        spec.insert("behavior".into(), behavior);
    }
    let Some(Value::Object(status)) = root.get_mut("status") else { return };
    let percent = status.remove("currentCPUUtilizationPercentage").and_then(|v| v.as_i64());
    let of_cpu = percent.map(|p| {
        vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": p}}})]
    });
    if let Some(current) = current.or(of_cpu) {
        status.insert("currentMetrics".into(), current.into());
    }
    if let Some(conditions) = conditions.filter(Value::is_array) {
        status.insert("conditions".into(), conditions);
    }
}

/// Sets or clears an annotation that carries a document.
fn annotate(root: &mut Map<String, Value>, name: &str, document: Option<Value>) {
    let metadata = object_mut(root, "metadata");
    match document {
        Some(d) => {
            object_mut(metadata, "annotations").insert(name.into(), ordered(&d).into());
        }
        None => {
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.remove(name);
            }
        }
    }
}

/// Takes the document out of an annotation; one that cannot be read is dropped, as upstream does.
fn carried(root: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let metadata = object_mut(root, "metadata");
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let taken = annotations.remove(name);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(taken?.as_str()?).ok()
}

/// JSON with its keys as Go writes them.
fn ordered(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let place = |k: &str| ORDER.iter().position(|o| *o == k).unwrap_or(ORDER.len());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(k, _)| (place(k), k.as_str()));
            let fields: Vec<String> =
                entries.iter().map(|(k, v)| format!("{}:{}", Value::from(k.as_str()), ordered(v))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(ordered).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The same with another first letter of every key: behaviour travels under the names of Go's own structures.
fn recased(value: &Value, case: fn(char) -> char) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| {
                let mut letters = k.chars();
                let first = letters.next().map(case);
                (first.into_iter().chain(letters).collect::<String>(), recased(v, case))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|v| recased(v, case)).collect(),
        other => other.clone(),
    }
}

/// The form of v2beta1 of a metric: `side` is `target` or `current`, and what is below it stands beside it.
fn legacy(metric: &Value, side: &str, average: &str, value: &str) -> Value {
    let kind = text(metric, "type").unwrap_or("").to_owned();
    let mut out = json!({"type": kind});
    for field in ["object", "pods", "resource", "containerResource", "external"] {
        let Some(source) = metric.get(field) else { continue };
        let amounts = part(source, side);
        let mut old = Map::new();
        let mut put = |name: &str, v: Option<&Value>| {
            if let Some(v) = v {
                old.insert(name.to_owned(), v.clone());
            }
        };
        let zero = Value::from("0");
        put("metricName", part(source, "metric").get("name"));
        let selector = if field == "external" { "metricSelector" } else { "selector" };
        put(selector, part(source, "metric").get("selector"));
        put("name", source.get("name"));
        put("container", source.get("container"));
        put("target", source.get("describedObject"));
        let plain = (amounts.get("value"), amounts.get("averageValue"));
        match field {
            // Not optional in Go: nothing is written as zero.
            "object" => {
                put(value, Some(plain.0.unwrap_or(&zero)));
                put("averageValue", plain.1);
            }
            "pods" => put(&format!("{average}Value"), Some(plain.1.unwrap_or(&zero))),
            "external" => {
                put(value, plain.0.or((side == "current").then_some(&zero)));
                put(&format!("{average}Value"), plain.1);
            }
            _ => {
                put(&format!("{average}Utilization"), amounts.get("averageUtilization"));
                let needed = side == "current";
                put(&format!("{average}Value"), plain.1.or(needed.then_some(&zero)));
            }
        }
        out[field] = old.into();
    }
    out
}

fn modern_all(metrics: &Value, side: &str) -> Vec<Value> {
    metrics.as_array().map_or(Vec::new(), |all| all.iter().map(|m| modern(m, side)).collect())
}

/// The way back.
fn modern(metric: &Value, side: &str) -> Value {
    let mut out = json!({"type": text(metric, "type").unwrap_or("")});
    for field in ["object", "pods", "resource", "containerResource", "external"] {
        let Some(old) = metric.get(field).filter(|v| v.is_object()) else { continue };
        let (mut source, mut amounts) = (Map::new(), Map::new());
        let mut identifier = Map::new();
        let mut kind = "Value";
        for (name, v) in old.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
            let v = v.clone();
            match name.as_str() {
                "metricName" => identifier.insert("name".into(), v),
                "metricSelector" | "selector" => identifier.insert("selector".into(), v),
                "target" => source.insert("describedObject".into(), v),
                "targetValue" | "currentValue" => amounts.insert("value".into(), v),
                "targetAverageValue" | "currentAverageValue" | "averageValue" => {
                    if !amounts.contains_key("averageUtilization") {
                        kind = "AverageValue";
                    }
                    amounts.insert("averageValue".into(), v)
                }
                "targetAverageUtilization" | "currentAverageUtilization" => {
                    kind = "Utilization";
                    amounts.insert("averageUtilization".into(), v)
                }
                other => source.insert(other.to_owned(), v),
            };
        }
        if ["object", "pods", "external"].contains(&field) {
            source.insert("metric".into(), identifier.into());
        }
        // An external target with a value is one of a value, whatever stands beside it.
        if field == "external" && amounts.contains_key("value") {
            kind = "Value";
        }
        if amounts.contains_key("averageUtilization") {
            kind = "Utilization";
        }
        if side == "target" {
            amounts.insert("type".into(), kind.into());
        }
        source.insert(side.to_owned(), amounts.into());
        out[field] = source.into();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_through_version_1() {
        let stored = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 5, "minReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "behavior": {"scaleDown": {"selectPolicy": "Max",
                    "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}},
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "AverageValue", "averageValue": "1k"}}},
                    {"type": "External", "external": {"metric": {"name": "q"},
                        "target": {"type": "Value", "value": "30"}}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                        "target": {"type": "Utilization", "averageUtilization": 60}}},
                    {"type": "Resource", "resource": {"name": "memory",
                        "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 50}}}]},
            "status": {"desiredReplicas": 2, "currentReplicas": 2,
                "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageValue": "10m", "averageUtilization": 20}}}]}});
        let mut object = stored.clone();
        from_stored(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 20);
        let annotation = |name: &str| object["metadata"]["annotations"][name].as_str().unwrap().to_owned();
        assert_eq!(
            annotation(METRICS),
            r#"[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"1k","selector":{"matchLabels":{"a":"b"}}}},{"type":"External","external":{"metricName":"q","targetValue":"30"}},{"type":"ContainerResource","containerResource":{"name":"cpu","targetAverageUtilization":60,"container":"c"}},{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}]"#
        );
        assert_eq!(
            annotation(CURRENT_METRICS),
            r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":20,"currentAverageValue":"10m"}}]"#
        );
        assert_eq!(
            annotation(BEHAVIOR),
            r#"{"ScaleDown":{"SelectPolicy":"Max","Policies":[{"Type":"Percent","Value":10,"PeriodSeconds":60}]}}"#
        );
        to_stored(&mut object);
        assert_eq!(object, stored);
    }

    #[test]
    fn a_bare_one_aims_at_the_cpu() {
        let mut o = json!({"spec": {"maxReplicas": 3}});
        to_stored(&mut o);
        assert_eq!(o["spec"]["metrics"], json!([cpu_utilization(80)]));
        let mut o = json!({"metadata": {"annotations": {METRICS: "no json"}},
            "spec": {"targetCPUUtilizationPercentage": 7}});
        to_stored(&mut o);
        assert_eq!(o["spec"]["metrics"], json!([cpu_utilization(7)]));
        assert_eq!(o["metadata"], json!({}));
    }
}
