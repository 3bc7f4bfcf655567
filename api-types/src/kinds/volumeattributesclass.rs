//! Volume attributes classes: what of a volume can be changed while it is used.

use serde_json::Value;

use super::fields::text;
use super::storageclass;
use crate::catalog::Strategy;
use crate::field::ErrorList;
use crate::{meta, table};

/// The strategy of volume attributes classes.
pub struct VolumeAttributesClass;

impl Strategy for VolumeAttributesClass {
    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        storageclass::provisioner(object, "driverName", errors);
        storageclass::parameters(object, false, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        storageclass::sealed(new, old, &["driverName", "parameters"], errors);
        self.validate_create(new, errors);
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), text(o, "driverName").into(), table::age(o, now).into()]
    }
}
