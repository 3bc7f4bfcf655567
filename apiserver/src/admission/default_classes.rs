//! Which class of several is the default.

use api_types::catalog;
use api_types::meta;
use api_types::status::Status;
use serde_json::Value;

use super::cached;
use crate::registry::{Registry, parsed};

/// The class that one of these annotations marks; the newest, should there be several, and of those made in the same
/// second the first by name.
pub(super) fn default_class(
    registry: &Registry,
    group: &str,
    plural: &str,
    annotations: &[&str],
) -> Result<Option<String>, Status> {
    let Some(kind) = catalog::by_resource(group, "v1", plural) else { return Ok(None) };
    let mut best: Option<(String, String)> = None;
    for class in cached(registry, kind, "")? {
        let class = parsed(&class)?;
        let marked = |a: &&str| meta::str_at(class, &["metadata", "annotations", *a]) == "true";
        if !annotations.iter().any(marked) {
            continue;
        }
        // Times as the API writes them are in order as texts.
        let made = meta::field(class, "creationTimestamp").to_owned();
        if best.as_ref().is_none_or(|(newest, _)| made > *newest) {
            best = Some((made, meta::name(class).to_owned()));
        }
    }
    Ok(best.map(|(_, name)| name))
}

/// Sets a field of the spec.
pub(super) fn set_in_spec(object: &mut Value, field: &str, value: String) {
    if let Value::Object(root) = object {
        meta::object_mut(root, "spec").insert(field.to_owned(), value.into());
    }
}
