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
    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        validate(object, false, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate(new, fields::has_bad_selector(old, "nodeTopology"), errors);
        // An empty topology is every node, no topology none.
        if fields::set(new, "nodeTopology") != fields::set(old, "nodeTopology") {
            let shown = fields::shown(new, "nodeTopology");
            errors.invalid(&Path::new("nodeTopology"), shown, "field is immutable");
        }
        let class = "storageClassName";
        fields::unchanged(new, old, class, &Path::new(class), errors);
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

/// With `any_value` the topology may ask for values that no label has.
fn validate(object: &Value, any_value: bool, errors: &mut ErrorList) {
    let root = Path::new("");
    fields::selector_of(object, "nodeTopology", any_value, &root, errors);
    let class = text(object, "storageClassName");
    errors.invalid_all(&Path::new("storageClassName"), class, names::dns1123_subdomain(class));
    fields::non_negative_quantity(object, "capacity", &root, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_stored_may_stay() {
        let topology =
            |value: &str| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [value]}]});
        for (old, new, want) in [
            (topology("a b"), topology("a b"), &[][..]),
            (json!({}), json!({}), &[]),
            (json!(null), json!({}), &["nodeTopology: Invalid value: {}: field is immutable"]),
            (json!({}), json!(null), &["nodeTopology: Invalid value: null: field is immutable"]),
        ] {
            let capacity = |topology: &Value| json!({"storageClassName": "c", "nodeTopology": topology});
            let mut errors = ErrorList::new();
            CsiStorageCapacity.validate_update(&capacity(&new), &capacity(&old), &mut errors);
            let got: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(got, want, "{old} {new}");
        }
        let mut errors = ErrorList::new();
        let new = json!({"storageClassName": "c", "nodeTopology": topology("a b")});
        CsiStorageCapacity.validate_create(&new, &mut errors);
        assert_eq!(errors.0.len(), 1, "new ones may not");
    }
}
