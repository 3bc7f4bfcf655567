//! The rules of a cluster role that is put together from others. Pure.

use std::collections::BTreeMap;

use api_types::selector::Selector;
use k8s_openapi::{api::rbac::v1::PolicyRule, apimachinery::pkg::apis::meta::v1::LabelSelector};
use serde::Deserialize;

use crate::cache::{Meta, Object, null_default, views::view_object};

/// A cluster role.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClusterRole {
    pub metadata: Meta,
    #[serde(deserialize_with = "null_default")]
    rules: Vec<PolicyRule>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AggregationRule {
    #[serde(deserialize_with = "null_default")]
    cluster_role_selectors: Vec<LabelSelector>,
}

view_object!(ClusterRole);

impl ClusterRole {
    /// What selects the roles it is put together from; `None` when it has its own rules. Selectors are validated when
    /// they are written; one that cannot be read selects nothing.
    pub fn selectors(&self) -> Option<Vec<Selector>> {
        let rule = self.aggregation_rule.as_ref()?;
        let selectors = rule.cluster_role_selectors.iter();
        Some(selectors.filter_map(|selector| Selector::from_label_selector(selector).ok()).collect())
    }

    /// Whether another state of it makes no difference to any role.
    pub fn counts_as(&self, other: &Self) -> bool {
        self.metadata.labels == other.metadata.labels
            && self.rules == other.rules
            && self.aggregation_rule == other.aggregation_rule
    }
}

/// Whether one of the selectors selects these labels.
pub(super) fn selects(selectors: &[Selector], labels: &BTreeMap<String, String>) -> bool {
    selectors.iter().any(|selector| selector.matches(labels))
}

/// The rules that `role` must have: those of the roles each selector selects, in the order of their names, each once.
/// `None` when it has them, or is not put together.
pub(super) fn rules<'a>(
    role: &ClusterRole,
    all: impl Iterator<Item = &'a ClusterRole> + Clone,
) -> Option<Vec<PolicyRule>> {
    let mut wanted = Vec::new();
    for selector in role.selectors()? {
        let mut parts: Vec<&ClusterRole> = all
            .clone()
            .filter(|part| part.name() != role.name() && selector.matches(&part.metadata.labels))
            .collect();
        parts.sort_by(|a, b| a.name().cmp(b.name()));
        for rule in parts.into_iter().flat_map(|part| &part.rules).map(plain) {
            if !wanted.contains(&rule) {
                wanted.push(rule);
            }
        }
    }
    let has: Vec<PolicyRule> = role.rules.iter().map(plain).collect();
    (has != wanted).then_some(wanted)
}

/// A list that is empty is none.
fn plain(rule: &PolicyRule) -> PolicyRule {
    let some = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    PolicyRule {
        api_groups: some(&rule.api_groups),
        non_resource_urls: some(&rule.non_resource_urls),
        resource_names: some(&rule.resource_names),
        resources: some(&rule.resources),
        verbs: rule.verbs.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(name: &str, labels: &[&str], rules: &[&str], selectors: Option<&[&str]>) -> ClusterRole {
        let labels: BTreeMap<&str, &str> = labels.iter().map(|label| (*label, "true")).collect();
        let rules: Vec<Value> = rules
            .iter()
            .map(|verb| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"], "resourceNames": []}))
            .collect();
        let mut object = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
        if let Some(selectors) = selectors {
            let selectors: Vec<Value> =
                selectors.iter().map(|label| json!({"matchLabels": {*label: "true"}})).collect();
            object["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
        }
        serde_json::from_value(object).expect("a cluster role")
    }

    #[test]
    fn rules_are_those_of_the_parts() {
        let parts = [
            role("z", &["a"], &["get", "list"], None),
            role("b", &["a", "b"], &["watch", "get"], None),
            role("other", &["c"], &["delete"], None),
            role("it", &["a"], &["own"], Some(&["a"])),
        ];
        for (name, selectors, has, wanted) in [
            ("sorted by name, each once", Some(&["a"][..]), &[][..], Some(&["watch", "get", "list"][..])),
            ("selectors in their order", Some(&["c", "b"]), &[], Some(&["delete", "watch", "get"])),
            ("it has them", Some(&["a"]), &["watch", "get", "list"], None),
            ("in another order", Some(&["a"]), &["list", "get", "watch"], Some(&["watch", "get", "list"])),
            ("one too many", Some(&["b"]), &["watch", "get", "list"], Some(&["watch", "get"])),
            ("nothing is selected", Some(&["x"]), &["get"], Some(&[])),
            ("no selectors", Some(&[]), &[], None),
            ("its own rules", None, &["get"], None),
        ] {
            let it = role("it", &["a"], has, selectors);
            let verbs = rules(&it, parts.iter())
                .map(|rules| rules.into_iter().flat_map(|rule| rule.verbs).collect::<Vec<_>>());
            assert_eq!(
                verbs.as_deref(),
                wanted.map(|w| w.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{name}"
            );
        }
    }

    #[test]
    fn empty_lists_are_no_lists() {
        let rules_of = |rule: Value| serde_json::from_value::<PolicyRule>(rule).expect("a rule");
        let (with, without) = (
            rules_of(json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [], "resources": []})),
            rules_of(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})),
        );
        assert_ne!(with, without);
        assert_eq!(plain(&with), without);
    }
}
