//! Volume attributes classes: what of a volume can be changed while it is used.

use serde_json::Value;

use super::fields::text;
use super::storageclass;
use crate::catalog::Strategy;
use crate::field::ErrorList;
use crate::{meta, table};

/// The strategy of volume attributes classes.
pub struct VolumeAttributesClass;

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

impl Strategy for VolumeAttributesClass {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        storageclass::provisioner(object, "driverName", errors);
        storageclass::parameters(object, false, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        storageclass::sealed(new, old, &["driverName", "parameters"], errors);
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let name = meta::name(o);
        let is_default = meta::str_at(o, &["metadata", "annotations", DEFAULT]) == "true";
        vec![
            if is_default { format!("{name} (default)").into() } else { name.into() },
            text(o, "driverName").into(),
            table::age(o, now).into(),
        ]
    }
}
