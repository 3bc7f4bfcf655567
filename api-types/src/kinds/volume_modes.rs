//! How volumes may be accessed: the same words in volumes and claims.

use serde_json::Value;

use super::check::text;
use crate::field::{ErrorList, Path};

/// (access mode, as the table prints it)
const ACCESS: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
const SORTED: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// `RWO,ROX`.
pub fn short(modes: &[Value]) -> String {
    let has = |m: &str| modes.iter().any(|v| v.as_str() == Some(m));
    ACCESS.iter().filter(|(m, _)| has(m)).map(|(_, s)| *s).collect::<Vec<_>>().join(",")
}

/// Reasons to refuse access modes.
pub fn access(modes: &[Value], path: &Path, errors: &mut ErrorList) {
    let (mut single, mut other) = (false, false);
    for mode in modes.iter().filter_map(Value::as_str) {
        match mode {
            "ReadWriteOncePod" => single = true,
            m if SORTED.contains(&m) => other = true,
            m => errors.not_supported(path, m, &SORTED),
        }
    }
    if single && other {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// Reasons to refuse the mode of a volume.
pub fn mode(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let supported = ["Block", "Filesystem"];
    if let Some(m) = text(spec, "volumeMode").filter(|m| !supported.contains(m)) {
        errors.not_supported(&path.child("volumeMode"), m, &supported);
    }
}
