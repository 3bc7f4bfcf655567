//! Rules that a stored definition may go on breaking: what was accepted once is not refused when something else changes.

use std::collections::HashSet;

use serde_json::Value;

use super::openapi::TYPES;
use super::structural::{self, schema_at};
use super::{defaults, lists};
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{self, below, entries, flag, list, set, text, texts};
use crate::kinds::webhook_client;

/// Which rules are in force; all of them for a new definition.
#[derive(Debug)]
pub struct Rules {
    /// Every version has a schema.
    pub schemas: bool,
    /// Schemas are structural.
    pub structural: bool,
    /// Types are known.
    pub types: bool,
    /// Items of sets are atomic.
    pub atomic_sets: bool,
    /// Keys of maps are there, and items are not null.
    pub map_keys: bool,
    /// Defaults have no unknown fields.
    pub pruned_defaults: bool,
    /// A version of reviews is known.
    pub review_version: bool,
    /// What names the authority of a webhook is a certificate.
    pub authority: bool,
    /// The versions that may have more selectable fields than others.
    pub many_selectable: HashSet<String>,
}

/// More fields than these cannot be selected by.
pub const MAX_SELECTABLE: usize = 8;

impl Rules {
    /// For a new definition. Its webhook may be given an authority later.
    pub fn strict() -> Self {
        Self {
            schemas: true,
            structural: true,
            types: true,
            atomic_sets: true,
            map_keys: true,
            pruned_defaults: true,
            review_version: true,
            authority: false,
            many_selectable: HashSet::new(),
        }
    }

    /// For a change of a definition.
    pub fn towards(new: &Value, old: &Value) -> Self {
        let spec = below(old, "spec");
        let webhook = below(below(spec, "conversion"), "webhook");
        let reviews = texts(webhook, "conversionReviewVersions");
        let authority = text(below(webhook, "clientConfig"), "caBundle");
        let all = |rule: fn(&Value) -> bool| schemas(spec).all(rule);
        Self {
            schemas: list(spec, "versions").iter().all(|v| schema_of(v).is_some()),
            structural: all(structural::is_structural),
            types: all(|s| every(s, &|s| text(s, "type").is_empty() || TYPES.contains(&text(s, "type")))),
            atomic_sets: all(|s| every(s, &keeps(lists::set_items))),
            map_keys: all(|s| every(s, &keeps(lists::items_of_maps_and_sets))),
            pruned_defaults: all(defaults::are_pruned),
            review_version: reviews.is_empty() || webhook_client::has_accepted_version(&reviews),
            authority: is_established(old) && webhook_client::authority(authority).is_ok(),
            many_selectable: many_selectable(new, old),
        }
    }
}

/// Whether names were accepted once and resources are served.
pub fn is_established(definition: &Value) -> bool {
    let conditions = list(below(definition, "status"), "conditions");
    conditions.iter().find(|c| text(c, "type") == "Established").is_some_and(|c| text(c, "status") == "True")
}

/// The schema of a version.
pub fn schema_of(version: &Value) -> Option<&Value> {
    schema_at(below(version, "schema"), "openAPIV3Schema")
}

/// The schemas of all versions.
pub fn schemas(spec: &Value) -> impl Iterator<Item = &Value> {
    list(spec, "versions").iter().filter_map(schema_of)
}

/// Whether something is true of a schema and of all within it.
pub fn every(s: &Value, rule: &dyn Fn(&Value) -> bool) -> bool {
    let lists = ["items", "allOf", "anyOf", "oneOf"].into_iter().flat_map(|f| list(s, f));
    let single = ["items", "not", "additionalProperties", "additionalItems"];
    let single = single.into_iter().filter_map(|f| schema_at(s, f));
    let maps = ["properties", "patternProperties", "definitions", "dependencies"];
    let maps = maps.into_iter().flat_map(|f| entries(s, f)).map(|(_, s)| s).filter(|s| s.is_object());
    rule(s) && lists.chain(single).chain(maps).all(|s| every(s, rule))
}

/// Whether a rule about one schema has nothing to say.
fn keeps(rule: fn(&Value, &Path, &mut ErrorList)) -> impl Fn(&Value) -> bool {
    move |s| {
        let mut errors = ErrorList::new();
        rule(s, &Path::new(""), &mut errors);
        errors.is_empty()
    }
}

/// Whether any schema needs to be structural by what it says.
pub fn must_be_structural(spec: &Value) -> bool {
    let plain = |s: &Value| {
        let extended = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"];
        set(s, "default").is_none()
            && !extended.iter().any(|f| set(s, f).is_some())
            && !["x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"].iter().any(|f| flag(s, f))
            && !["x-kubernetes-list-map-keys", "x-kubernetes-validations"]
                .iter()
                .any(|f| !list(s, f).is_empty())
    };
    !flag(spec, "preserveUnknownFields") || !schemas(spec).all(|s| every(s, &plain))
}

fn many_selectable(new: &Value, old: &Value) -> HashSet<String> {
    let versions = |o| list(below(o, "spec"), "versions");
    let unchanged = |v: &&Value| {
        versions(old).iter().any(|o| {
            text(o, "name") == text(v, "name")
                && list(o, "selectableFields").len() > MAX_SELECTABLE
                && !fields::differs(o, v, "selectableFields")
        })
    };
    versions(new).iter().filter(unchanged).map(|v| text(v, "name").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Strategy;
    use crate::kinds::customresourcedefinition::CustomResourceDefinition;
    use serde_json::json;

    fn definition(schema: &Value, change: &Value) -> Value {
        let version =
            json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let mut d = json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
            "scope": "Cluster", "names": {"plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList"},
            "versions": [version]}, "status": {"storedVersions": ["v1"]}});
        for (field, value) in change.as_object().into_iter().flatten() {
            d["spec"][field] = value.clone();
        }
        d
    }

    fn update(new: &Value, old: &Value) -> Vec<String> {
        let mut errors = ErrorList::new();
        CustomResourceDefinition.validate_update(new, old, &mut errors);
        errors.0.iter().map(|e| e.field.clone()).collect()
    }

    #[test]
    fn what_is_stored_may_go_on_being_wrong() {
        let plain = json!({"type": "object"});
        let field = |s: Value| json!({"type": "object", "properties": {"a": s}});
        let keeps = json!({"preserveUnknownFields": true});
        let reviews = |versions: Value| {
            json!({"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": versions,
                "clientConfig": {"url": "https://a"}}}})
        };
        for (good, bad) in [
            // Sets of things that are not compared as a whole, keys that may be missing, defaults nobody knows.
            (
                definition(&plain, &json!({})),
                definition(
                    &field(
                        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}),
                    ),
                    &json!({}),
                ),
            ),
            (
                definition(&plain, &json!({})),
                definition(
                    &field(
                        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
                    ),
                    &json!({}),
                ),
            ),
            (
                definition(&plain, &json!({})),
                definition(&field(json!({"type": "object", "default": {"b": 1}})), &json!({})),
            ),
            // What only definitions can say that keep what they do not know.
            (definition(&plain, &keeps), definition(&json!({"type": "string"}), &keeps)),
            (definition(&plain, &keeps), definition(&field(json!({"type": "odd"})), &keeps)),
            (definition(&plain, &keeps), definition(&Value::Null, &keeps)),
            (definition(&plain, &reviews(json!(["v1"]))), definition(&plain, &reviews(json!(["v9"])))),
        ] {
            assert_eq!(update(&bad, &good).len(), 1, "{bad}");
            assert_eq!(update(&bad, &bad), Vec::<String>::new(), "{bad}");
        }
        assert_eq!(
            update(&definition(&Value::Null, &json!({})), &definition(&Value::Null, &keeps)),
            ["spec.versions[0].schema.openAPIV3Schema"],
            "what is served must be known once nothing else is kept"
        );
        assert_eq!(
            update(&definition(&plain, &keeps), &definition(&plain, &json!({}))),
            ["spec.preserveUnknownFields"]
        );
    }

    #[test]
    fn authorities_of_webhooks_are_certificates_once_the_definition_is_established() {
        let with = |bundle: &str, established: bool| {
            let mut d = definition(
                &json!({"type": "object"}),
                &json!({"conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://a", "caBundle": bundle}}}}),
            );
            if established {
                d["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
            }
            d
        };
        for (old, refused) in [(with("", true), 1), (with("eA==", true), 0), (with("", false), 0)] {
            assert_eq!(update(&with("eA==", true), &old).len(), refused, "{old}");
        }
    }

    #[test]
    fn many_fields_to_select_by() {
        let with = |n: usize| {
            let names: Vec<String> = (0..n).map(|i| format!("f{i}")).collect();
            let properties: serde_json::Map<String, Value> =
                names.iter().map(|n| (n.clone(), json!({"type": "string"}))).collect();
            let fields: Vec<Value> = names.iter().map(|n| json!({"jsonPath": format!(".{n}")})).collect();
            let mut d = definition(&json!({"type": "object", "properties": properties}), &json!({}));
            d["spec"]["versions"][0]["selectableFields"] = json!(fields);
            d
        };
        for (new, old, refused) in [(8, 1, 0), (9, 8, 1), (9, 9, 0), (10, 9, 1)] {
            assert_eq!(update(&with(new), &with(old)).len(), refused, "{new} {old}");
        }
    }
}
