//! Events: the core form is stored, the `events.k8s.io` form is made from it.

use serde_json::{Map, Value};

use crate::catalog::{Conversion, Strategy};
use crate::field::{ErrorList, Path};
use crate::meta::{self, str_at};
use crate::table;

/// The strategy of events, for both groups.
pub struct Event;

/// Between `events.k8s.io/v1` and the stored core form.
pub const EVENTS_V1: Conversion = Conversion { to_stored: to_core, from_stored: to_events };

/// (core, events.k8s.io) names of the same fields.
const RENAMED: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(v) = map.remove(from) {
        map.insert(to.to_owned(), v);
    }
}

fn to_core(object: &mut Value) {
    let Value::Object(root) = object else { return };
    for (core, events) in RENAMED {
        rename(root, events, core);
    }
    rename(root, "reportingController", "reportingComponent");
    root.insert("apiVersion".into(), "v1".into());
}

fn to_events(object: &mut Value) {
    let Value::Object(root) = object else { return };
    for (core, events) in RENAMED {
        rename(root, core, events);
    }
    rename(root, "reportingComponent", "reportingController");
    root.insert("apiVersion".into(), "events.k8s.io/v1".into());
}

impl Strategy for Event {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            for f in ["reportingComponent", "reportingInstance"] {
                meta::default_to(root, f, "");
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let namespace = str_at(object, &["involvedObject", "namespace"]);
        let own = meta::namespace(object);
        let fits =
            if namespace.is_empty() { own == "default" || own == "kube-system" } else { namespace == own };
        if !fits {
            errors.invalid(
                &Path::new("involvedObject").child("namespace"),
                namespace,
                "does not match event.namespace",
            );
        }
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let event_time = str_at(o, &["eventTime"]);
        let pick = |t: &str| if t.is_empty() { event_time.to_owned() } else { t.to_owned() };
        let series_last = str_at(o, &["series", "lastObservedTime"]);
        let first = pick(str_at(o, &["firstTimestamp"]));
        let last =
            if series_last.is_empty() { pick(str_at(o, &["lastTimestamp"])) } else { series_last.to_owned() };
        let count =
            meta::at(o, &["series", "count"]).or_else(|| o.get("count")).and_then(Value::as_i64).unwrap_or(1);
        let component = match str_at(o, &["source", "component"]) {
            "" => str_at(o, &["reportingComponent"]),
            c => c,
        };
        let host = match str_at(o, &["source", "host"]) {
            "" => str_at(o, &["reportingInstance"]),
            h => h,
        };
        let source = if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") };
        let target = format!(
            "{}/{}",
            str_at(o, &["involvedObject", "kind"]).to_lowercase(),
            str_at(o, &["involvedObject", "name"])
        );
        vec![
            table::since(&last, now).into(),
            str_at(o, &["type"]).into(),
            str_at(o, &["reason"]).into(),
            target.into(),
            str_at(o, &["involvedObject", "fieldPath"]).into(),
            source.into(),
            str_at(o, &["message"]).trim().into(),
            table::since(&first, now).into(),
            count.into(),
            meta::name(o).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_two_forms_are_one_event() {
        let core = json!({"apiVersion": "v1", "involvedObject": {"name": "a"}, "message": "m", "count": 2,
            "reportingComponent": "c"});
        let mut o = core.clone();
        to_events(&mut o);
        assert_eq!(
            o,
            json!({"apiVersion": "events.k8s.io/v1", "regarding": {"name": "a"}, "note": "m", "deprecatedCount": 2,
                "reportingController": "c"})
        );
        to_core(&mut o);
        assert_eq!(o, core);
    }
}
