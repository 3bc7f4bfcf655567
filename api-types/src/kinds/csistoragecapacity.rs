//! CSI storage capacities: how much room a storage class has in a part of the cluster.

use serde_json::Value;

use super::fields::{self, text};
use super::node_labels;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names};

/// The strategy of CSI storage capacities.
pub struct CsiStorageCapacity;

impl Strategy for CsiStorageCapacity {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let root = Path::new("");
        fields::selector(object, "nodeTopology", &root, errors);
        let class = text(object, "storageClassName");
        errors.invalid_all(&Path::new("storageClassName"), class, names::dns1123_subdomain(class));
        fields::non_negative_quantity(object, "capacity", &root, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        for f in ["nodeTopology", "storageClassName"] {
            fields::unchanged(new, old, f, &Path::new(f), errors);
        }
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let topology = fields::below(object, "nodeTopology");
        node_labels::label_selector_warnings(topology, &Path::new("nodeTopology"))
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        let capacity = fields::set_text(o, "capacity").unwrap_or("<unset>");
        vec![meta::name(o).into(), text(o, "storageClassName").into(), capacity.into()]
    }
}
