//! ConfigMaps.

use serde_json::Value;

use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta;
use crate::{names, table};

/// The strategy of config maps.
pub struct ConfigMap;

/// All data of a config map or a secret together may have this many bytes.
pub const MAX_DATA: usize = 1024 * 1024;

/// (keys, bytes) of a map of texts.
pub fn size(map: Option<&Value>) -> (usize, usize) {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries.fold((0, 0), |(n, bytes), (_, v)| (n + 1, bytes + v.as_str().map_or(0, str::len)))
}

/// Data that was sealed may not change any more.
pub fn validate_sealed(new: &Value, old: &Value, fields: &[&str], errors: &mut ErrorList) {
    if old.get("immutable").and_then(Value::as_bool) != Some(true) {
        return;
    }
    if new.get("immutable").and_then(Value::as_bool) != Some(true) {
        errors.forbidden(&Path::new("immutable"), "field is immutable when `immutable` is set");
    }
    for f in fields {
        if new.get(f) != old.get(f) {
            errors.forbidden(&Path::new(f), "field is immutable when `immutable` is set");
        }
    }
}

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let mut total = 0;
        for f in ["data", "binaryData"] {
            for (k, v) in object.get(f).and_then(Value::as_object).into_iter().flatten() {
                errors.invalid_all(&Path::new(f).key(k), k, names::config_map_key(k));
                if f == "binaryData" && object.get("data").is_some_and(|d| d.get(k).is_some()) {
                    errors.invalid(
                        &Path::new("data").key(k),
                        k.as_str(),
                        "duplicate of key present in binaryData",
                    );
                }
                total += v.as_str().map_or(0, str::len);
            }
        }
        if total > MAX_DATA {
            errors.too_long(&Path::new(""), MAX_DATA);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate_sealed(new, old, &["data", "binaryData"], errors);
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let keys = size(o.get("data")).0 + size(o.get("binaryData")).0;
        vec![meta::name(o).into(), keys.into(), table::age(o, now).into()]
    }
}
