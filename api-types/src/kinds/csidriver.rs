//! CSI drivers: what the cluster must know of a volume driver.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{self, below, flag, int, list, set, text};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::table;

/// The strategy of CSI drivers.
pub struct CsiDriver;

const MODES: &[&str] = &["Persistent", "Ephemeral"];
const SECRETS_ADVISED: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";
const MIN_TOKEN_SECONDS: i64 = 600;

impl Strategy for CsiDriver {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        default_to(spec, "attachRequired", true);
        for f in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            default_to(spec, f, false);
        }
        default_to(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if list(&Value::Object(spec.clone()), "volumeLifecycleModes").is_empty() {
            spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_disabled(object, &Value::Null);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        drop_disabled(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        fields::word(spec, "fsGroupPolicy", &["File", "None", "ReadWriteOnceWithFSType"], &path, errors);
        token_requests(spec, &path.child("tokenRequests"), errors);
        for mode in fields::texts(spec, "volumeLifecycleModes") {
            if !MODES.contains(&mode) {
                errors.not_supported(&path.child("volumeLifecycleModes"), mode, MODES);
            }
        }
        let period = "nodeAllocatableUpdatePeriodSeconds";
        if set(spec, period).is_some() && int(spec, period) < 10 {
            let text = "must be greater than or equal to 10 seconds";
            errors.invalid(&path.child(period), int(spec, period), text);
        }
        let secrets = "serviceAccountTokenInSecrets";
        if set(spec, secrets).is_some() && list(spec, "tokenRequests").is_empty() {
            let text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.invalid(&path.child(secrets), fields::shown(spec, secrets), text);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let (new, old, path) = (below(new, "spec"), below(old, "spec"), Path::new("spec"));
        // Upstream spells the path of this field so.
        fields::unchanged(new, old, "attachRequired", &path.child("attachedRequired"), errors);
        fields::unchanged(new, old, "volumeLifecycleModes", &path.child("volumeLifecycleModes"), errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let spec = below(object, "spec");
        let changed = old.is_none_or(|o| fields::differs(spec, below(o, "spec"), "tokenRequests"));
        let tokens = !list(spec, "tokenRequests").is_empty();
        if changed && tokens && set(spec, "serviceAccountTokenInSecrets").is_none() {
            vec![SECRETS_ADVISED.to_owned()]
        } else {
            Vec::new()
        }
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let audiences: Vec<&str> = list(spec, "tokenRequests").iter().map(|t| text(t, "audience")).collect();
        let modes = fields::texts(spec, "volumeLifecycleModes").join(",");
        vec![
            meta::name(o).into(),
            spec.get("attachRequired").and_then(Value::as_bool).unwrap_or(true).into(),
            flag(spec, "podInfoOnMount").into(),
            flag(spec, "storageCapacity").into(),
            if set(spec, "tokenRequests").is_some() { audiences.join(",").into() } else { "<unset>".into() },
            flag(spec, "requiresRepublish").into(),
            if modes.is_empty() { "<none>".into() } else { modes.into() },
            table::age(o, now).into(),
        ]
    }
}

/// Drops a field of a feature that is off by default, unless it was set before.
fn drop_disabled(new: &mut Value, old: &Value) {
    const FIELD: &str = "preventPodSchedulingIfMissing";
    if let Some(Value::Object(spec)) =
        new.get_mut("spec").filter(|_| set(below(old, "spec"), FIELD).is_none())
    {
        spec.remove(FIELD);
    }
}

fn token_requests(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, t) in list(spec, "tokenRequests").iter().enumerate() {
        let path = path.index(i);
        if !seen.insert(text(t, "audience")) {
            errors.duplicate(&path.child("audience"), text(t, "audience"));
            continue;
        }
        let (path, seconds) = (path.child("expirationSeconds"), int(t, "expirationSeconds"));
        if set(t, "expirationSeconds").is_none() {
            continue;
        }
        if seconds < MIN_TOKEN_SECONDS {
            errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > 1 << 32 {
            errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
}
