//! Events: the core form is stored, the `events.k8s.io` form is made from it.

use serde_json::{Map, Value};

use crate::catalog::{Conversion, Strategy};
use crate::field::{ErrorList, Path};
use crate::meta::{self, str_at};
use crate::{names, table};

/// The strategy of core events.
pub struct Event;

/// The strategy of events as `events.k8s.io` has them, which are held to more.
pub struct StrictEvent;

/// Between `events.k8s.io/v1` and the stored core form.
pub const EVENTS_V1: Conversion = Conversion { to_stored: to_core, from_stored: to_events };

/// Bytes of who reports, of what is done, and why, in upstream's words "characters".
const MAX_TEXT: usize = 128;
/// Bytes of what is told.
const MAX_NOTE: usize = 1024;

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
        validate_any(object, "reportingComponent", errors);
    }

    /// Any that can be part of a path: clients of this version have always chosen as they like.
    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
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

impl Strategy for StrictEvent {
    fn default(&self, object: &mut Value) {
        Event.default(object);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        validate_any(object, "reportingController", errors);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        series(object, errors);
        if str_at(object, &["eventTime"]).is_empty() {
            errors.required(&Path::new("eventTime"), "");
        }
        let kind = str_at(object, &["type"]);
        if !["Normal", "Warning"].contains(&kind) {
            errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
        }
        let source = ["component", "host"].map(|f| str_at(object, &["source", f]));
        for (field, set) in [
            ("firstTimestamp", !str_at(object, &["firstTimestamp"]).is_empty()),
            ("lastTimestamp", !str_at(object, &["lastTimestamp"]).is_empty()),
            ("count", object.get("count").and_then(Value::as_i64).unwrap_or(0) != 0),
            ("source", source != ["", ""]),
        ] {
            if set {
                errors.invalid(&Path::new(field), "", "needs to be unset");
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        if new.get("series") != old.get("series") {
            series(new, errors);
        }
        for field in [
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "count",
            // Upstream looks at it twice.
            "reason",
            "type",
            "eventTime",
            "action",
            "related",
            "reportingComponent",
            "reportingInstance",
        ] {
            let shown = if field == "reportingComponent" { "reportingController" } else { field };
            errors.immutable(&Path::new(shown), new.get(field), old.get(field));
        }
    }

    fn allows_create_on_update(&self) -> bool {
        Event.allows_create_on_update()
    }

    fn row(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        Event.row(object, now)
    }
}

/// What upstream calls the validation of older events; newer ones, which have an `eventTime`, must say who reports
/// what. `controller` is what the version calls that field.
fn validate_any(object: &Value, controller: &str, errors: &mut ErrorList) {
    let (theirs, own) = (str_at(object, &["involvedObject", "namespace"]), meta::namespace(object));
    let new = !str_at(object, &["eventTime"]).is_empty();
    let fits = match (new, theirs.is_empty()) {
        (false, true) => own.is_empty() || own == "default",
        (false, false) => theirs == own,
        (true, true) => own == "default" || own == "kube-system",
        (true, false) => true,
    };
    if !fits {
        let path = Path::new("involvedObject").child("namespace");
        errors.invalid(&path, theirs, "does not match event.namespace");
    }
    if !new {
        return;
    }
    let reporter = str_at(object, &["reportingComponent"]);
    if reporter.is_empty() {
        errors.required(&Path::new(controller), "");
    }
    errors.invalid_all(&Path::new(controller), reporter, names::qualified_name(reporter));
    for field in ["reportingInstance", "action", "reason"] {
        let (text, path) = (str_at(object, &[field]), Path::new(field));
        if text.is_empty() {
            errors.required(&path, "");
        }
        at_most(text, MAX_TEXT, &path, errors);
    }
    at_most(str_at(object, &["message"]), MAX_NOTE, &Path::new("message"), errors);
}

fn at_most(text: &str, limit: usize, path: &Path, errors: &mut ErrorList) {
    if text.len() > limit {
        errors.invalid(path, "", format!("can have at most {limit} characters"));
    }
}

fn series(object: &Value, errors: &mut ErrorList) {
    let Some(series) = object.get("series").filter(|s| !s.is_null()) else { return };
    if series.get("count").and_then(Value::as_i64).unwrap_or(0) < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if str_at(series, &["lastObservedTime"]).is_empty() {
        errors.required(&Path::new("series.lastObservedTime"), "");
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

    fn refused(strategy: &dyn Strategy, object: &Value) -> Vec<String> {
        let mut errors = ErrorList::new();
        strategy.validate(object, &mut errors);
        strategy.validate_create(object, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn new_events_say_who_reports_what() {
        let event = json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b"}, "type": "Odd",
            "eventTime": "2020-01-01T00:00:00.000000Z", "reportingComponent": "c.io/x", "reportingInstance": "i",
            "action": "a", "reason": "r".repeat(129), "series": {"count": 1}, "count": 1});
        let long = "reason: Invalid value: \"\": can have at most 128 characters";
        assert_eq!(refused(&Event, &event), [long]);
        assert_eq!(
            refused(&StrictEvent, &event),
            [
                long,
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
                "type: Invalid value: \"\": has invalid value: Odd",
                "count: Invalid value: \"\": needs to be unset",
            ]
        );
    }

    #[test]
    fn older_events_are_in_the_namespace_of_their_object() {
        for (own, theirs, fits) in [
            ("a", "a", true),
            ("a", "b", false),
            ("default", "", true),
            ("a", "", false),
            ("kube-system", "", false),
        ] {
            let event = json!({"metadata": {"namespace": own}, "involvedObject": {"namespace": theirs}});
            assert_eq!(refused(&Event, &event).is_empty(), fits, "{own} {theirs}");
        }
    }

    #[test]
    fn only_the_series_of_a_strict_event_changes() {
        let old = json!({"reason": "a", "reportingComponent": "x"});
        let new = json!({"reason": "b", "reportingComponent": "y", "series": {"count": 2,
            "lastObservedTime": "2020-01-01T00:00:00.000000Z"}});
        let mut errors = ErrorList::new();
        StrictEvent.validate_update(&new, &old, &mut errors);
        let fields: Vec<_> = errors.0.iter().map(|e| e.field.clone()).collect();
        assert_eq!(fields, ["reason", "reason", "reportingController"]);
    }
}
