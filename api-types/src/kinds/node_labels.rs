//! Labels of nodes that have been renamed, wherever nodes are selected (`pkg/api/node/util.go`).

use serde_json::Value;

use super::fields::{entries, list, text, texts};
use crate::field::Path;
use crate::names;

const DEPRECATED: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// What to say of a label, if it is one of them.
pub fn deprecated(key: &str) -> Option<&'static str> {
    DEPRECATED.iter().find(|(k, _)| *k == key).map(|(_, why)| *why)
}

/// What to say of a term of a node selector. Values are only looked at where validation lets any pass.
pub fn term_warnings(term: &Value, values: bool, path: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for (i, e) in list(term, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(i);
        all.extend(key_warning(e, &path));
        for (j, value) in texts(e, "values").into_iter().enumerate().filter(|_| values) {
            let at = path.child("values").index(j);
            all.extend(
                names::label_value(value).iter().map(|why| format!("{at}: {value} is invalid, {why}")),
            );
        }
    }
    all
}

/// What to say of the terms of a required node selector.
pub fn selector_warnings(selector: &Value, path: &Path) -> Vec<String> {
    let path = path.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms").iter().enumerate();
    terms.flat_map(|(i, t)| term_warnings(t, false, &path.index(i))).collect()
}

/// What to say of a label selector that selects nodes.
pub fn label_selector_warnings(selector: &Value, path: &Path) -> Vec<String> {
    let expressions = list(selector, "matchExpressions").iter().enumerate();
    let mut all: Vec<String> =
        expressions.filter_map(|(i, e)| key_warning(e, &path.child("matchExpressions").index(i))).collect();
    for (key, _) in entries(selector, "matchLabels") {
        all.extend(deprecated(key).map(|why| format!("{}: {why}", path.child("matchLabels").child(key))));
    }
    all
}

fn key_warning(expression: &Value, path: &Path) -> Option<String> {
    let key = text(expression, "key");
    deprecated(key).map(|why| format!("{}: {key} is {why}", path.child("key")))
}
