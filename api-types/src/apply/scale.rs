//! The owners of a workload as its scale shows them: who owns the replicas.

use serde_json::Value;

use super::managers::{Entry, Manager, Managers, Operation};
use super::set::{self, Set};

const SCALE: &str = "autoscaling/v1";
const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];

fn replicas() -> Set {
    set::of(&[&REPLICAS])
}

/// The entries of the scale of a workload with these entries.
pub fn of_workload(workload: &[Value]) -> Option<Value> {
    let all = Managers::read(workload, true).unwrap_or_default();
    let owners = all.0.into_iter().filter(|(_, e)| set::has(&e.fields, &REPLICAS));
    let scale = owners
        .map(|(m, e)| (versioned(m, SCALE), Entry { version: SCALE.to_owned(), fields: replicas(), ..e }));
    Managers(scale.collect()).write()
}

/// The same manager, writing in another version.
fn versioned(manager: Manager, version: &str) -> Manager {
    let updated_version =
        if manager.operation == Operation::Update { version.to_owned() } else { String::new() };
    Manager { updated_version, ..manager }
}

/// The entries of a workload at `version` after its scale was written, whose entries are `scale` now.
pub fn to_workload(workload: &[Value], scale: &[Value], version: &str) -> Option<Value> {
    let before = Managers::read(workload, true).unwrap_or_default();
    let mut now = Managers::read(scale, true).unwrap_or_default();
    let mut out = Managers::default();
    for (manager, entry) in before.0 {
        // The scale names an owner as the workload does, but for the version.
        let kept =
            !set::has(&entry.fields, &REPLICAS) || now.0.remove(&versioned(manager.clone(), SCALE)).is_some();
        if kept {
            out.0.insert(manager, entry);
            continue;
        }
        let fields = set::difference(&entry.fields, &replicas());
        if !fields.is_empty() {
            out.0.insert(manager, Entry { fields, ..entry });
        }
    }
    for (manager, _) in now.0.into_iter().filter(|(_, e)| set::has(&e.fields, &REPLICAS)) {
        let manager = versioned(manager, version);
        let old = out.0.remove(&manager);
        // Upstream knows no time for an owner that is new to the workload.
        let time = old.as_ref().and_then(|e| e.time.clone());
        let mut fields = replicas();
        if let Some(old) = old {
            set::union(&mut fields, &old.fields);
        }
        out.0.insert(manager, Entry { version: version.to_owned(), time, fields });
    }
    out.write()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(name: &str, op: &str, version: &str, sub: &str, fields: Value) -> Value {
        let mut e = json!({"apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": name, "operation": op});
        if !sub.is_empty() {
            e["subresource"] = sub.into();
        }
        e
    }

    #[test]
    fn replicas_change_hands() {
        let mine = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let workload = [
            entry("a", "Apply", "apps/v1", "", mine),
            entry("b", "Update", "apps/v1", "", json!({"f:metadata": {"f:labels": {}}})),
        ];
        let scale = of_workload(&workload).unwrap();
        assert_eq!(scale, json!([entry("a", "Apply", SCALE, "", json!({"f:spec": {"f:replicas": {}}}))]));
        assert_eq!(to_workload(&workload, scale.as_array().unwrap(), "apps/v1"), Some(json!(workload)));
        let taken = [entry("c", "Update", SCALE, "scale", json!({"f:spec": {"f:replicas": {}}}))];
        assert_eq!(
            to_workload(&workload, &taken, "apps/v1"),
            Some(json!([
                entry("a", "Apply", "apps/v1", "", json!({"f:spec": {"f:paused": {}}})),
                entry("b", "Update", "apps/v1", "", json!({"f:metadata": {"f:labels": {}}})),
                entry("c", "Update", "apps/v1", "scale", json!({"f:spec": {"f:replicas": {}}})),
            ]))
        );
    }
}
