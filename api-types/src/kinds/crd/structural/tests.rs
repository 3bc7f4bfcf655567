//! Schemas that are not structural, and why.

use super::*;
use serde_json::json;

fn told(schema: &Value) -> Vec<String> {
    let mut errors = ErrorList::new();
    validate(schema, &Path::new("s"), &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn schemas_that_are_not_structural() {
    let field = |s: Value| json!({"type": "object", "properties": {"a": s}});
    for (schema, want) in [
        (field(json!({"type": "string", "anyOf": [{"pattern": "a"}]})), vec![]),
        (field(json!({"anyOf": [{"type": "integer"}, {"type": "string"}], INT_OR_STRING: true})), vec![]),
        (
            field(json!({"allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}],
                INT_OR_STRING: true})),
            vec![],
        ),
        (field(json!({"type": "object", "anyOf": [{"additionalProperties": false}]})), vec![]),
        (
            field(json!({"type": "object", "anyOf": [{"additionalProperties": true}]})),
            vec![
                "s.properties[a].anyOf[0].additionalProperties: Forbidden: must be undefined to be structural",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}},
                "not": {"properties": {"b": {"pattern": "x"}, "a": {"items": {"pattern": "x"}}}}}),
            vec!["s.properties[b]: Required value: because it is defined in s.not.properties[b]"],
        ),
        (
            // Upstream looks from the root only.
            field(json!({"type": "object", "not": {"properties": {"b": {"pattern": "x"}}}})),
            vec![],
        ),
        (
            field(
                json!({"type": "array", "items": {"type": "object"}, "allOf": [{"x-kubernetes-list-type": "set",
                "items": {"properties": {"metadata": {}}}}]}),
            ),
            vec![
                "s.properties[a].allOf[0].items.properties[metadata]: Forbidden: must not be specified in a nested context",
                "s.properties[a].allOf[0].x-kubernetes-list-type: Forbidden: must be undefined to be structural",
            ],
        ),
        (
            field(json!({"type": "string", "pattern": "("})),
            vec![
                "s.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`",
            ],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {}}}}}),
            vec![
                "s.properties[metadata].properties[name].type: Required value: must not be empty for specified object fields",
            ],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "description": "d"}}}),
            vec![
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
    ] {
        assert_eq!(told(&schema), want, "{schema}");
    }
}

#[test]
fn schemas_without_a_structural_form() {
    for (schema, want) in [
        (json!({"$schema": "x"}), "OpenAPIV3Schema 'schema' is not supported"),
        (json!({"not": {"items": [{}]}}), "OpenAPIV3Schema 'items' must be a schema, but is an array"),
        (json!({"properties": {"a": {"$ref": "b"}}}), "OpenAPIV3Schema '$ref' is not supported"),
    ] {
        assert_eq!(unsupported(&schema).as_deref(), Some(want));
        assert!(!is_structural(&schema));
    }
    assert!(is_structural(&json!({"type": "object"})));
}
