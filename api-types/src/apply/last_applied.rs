//! Objects that kubectl has applied by itself before: the annotation that it kept then.
//!
//! Both rules hold for the manager `kubectl` alone; who names another opts out.

use serde_json::Value;

use super::conflict::Conflict;
use super::diff;
use super::set::{self, Set};
use super::shape::Schema;
use super::update::View;
use super::{check, extract};
use crate::meta;

/// The configuration that kubectl applied last.
pub const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const KUBECTL: &str = "kubectl";

/// All annotations of an object together may have this many bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    meta::at(object, &["metadata", "annotations", ANNOTATION])
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
}

/// The conflicts that are left when kubectl is not in conflict with what it has applied by itself: fields of the
/// annotation that still have the value it gave them. `live` is in the version of the request.
pub fn without_own(conflicts: Vec<Conflict>, live: &Value, view: &View, manager: &str) -> Vec<Conflict> {
    if manager != KUBECTL {
        return conflicts;
    }
    let Some(own) = own_fields(live, view) else { return conflicts };
    let theirs = |c: &Conflict| {
        let path: Vec<&str> = c.path.iter().map(String::as_str).collect();
        !set::has(&own, &path)
    };
    conflicts.into_iter().filter(theirs).collect()
}

fn own_fields(live: &Value, view: &View) -> Option<Set> {
    let schema = Schema::builtin();
    let applied: Value = serde_json::from_str(annotation(live)?).ok()?;
    if applied.get("apiVersion").and_then(Value::as_str) != Some(view.version.as_str()) {
        return None;
    }
    let root = schema.root(view.id);
    check::check(&applied, root, schema).ok()?;
    let changed = diff::objects(&applied, live, view.id, schema).ok()?;
    let fields = extract::field_set(&applied, root, schema);
    Some(set::difference(&set::difference(&fields, &changed.changed), &changed.removed))
}

/// Keeps the annotation of an object that has one true to what kubectl applies.
pub fn refresh(object: &mut Value, config: &Value, manager: &str) {
    if manager != KUBECTL || annotation(object).is_none() {
        return;
    }
    let mut applied = config.clone();
    if let Some(Value::Object(m)) = applied.pointer_mut("/metadata/annotations") {
        m.remove(ANNOTATION);
        if m.is_empty() {
            meta::metadata_mut(&mut applied).remove("annotations");
        }
    }
    let text = format!("{applied}\n");
    let Some(Value::Object(all)) = object.pointer_mut("/metadata/annotations") else { return };
    all.insert(ANNOTATION.to_owned(), text.into());
    let size: usize = all.iter().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if size > MAX_ANNOTATIONS {
        all.remove(ANNOTATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_annotation_follows_kubectl_alone() {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {ANNOTATION: "x"}}, "data": {"a": "b"}});
        let with = |text: Option<&str>| match text {
            Some(t) => json!({"metadata": {"annotations": {ANNOTATION: t}}}),
            None => json!({"metadata": {}}),
        };
        for (before, manager, want) in [
            (
                Some("old"),
                "kubectl",
                Some(
                    "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"b\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\n",
                ),
            ),
            (Some("old"), "other", Some("old")),
            (None, "kubectl", None),
        ] {
            let mut object = with(before);
            refresh(&mut object, &config, manager);
            assert_eq!(object, with(want), "{manager}");
        }
        let mut large = with(Some("old"));
        refresh(&mut large, &json!({"data": {"a": "x".repeat(MAX_ANNOTATIONS)}}), "kubectl");
        assert_eq!(annotation(&large), None);
    }
}
