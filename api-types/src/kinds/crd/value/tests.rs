//! Values against schemas, and what is told of them.

use super::*;
use serde_json::json;

#[test]
fn values() {
    for (schema, value, want) in [
        (json!({"type": "number"}), json!(1), vec![]),
        (json!({"type": "integer"}), json!(1.0), vec![]),
        (
            json!({"type": "integer"}),
            json!(1.5),
            vec!["d: Invalid value: \"number\":  in body must be of type integer: \"number\""],
        ),
        (
            json!({"type": "string"}),
            json!(null),
            vec!["d: Invalid value: \"null\":  in body must be of type string: \"null\""],
        ),
        (json!({"type": "string", "nullable": true}), json!(null), vec![]),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            vec!["d: Unsupported value: \"c\": supported values: \"a\", \"b\""],
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("ab"),
            vec!["d: Too long: may not be more than 1 bytes"],
        ),
        (
            json!({"type": "string", "minLength": 1}),
            json!(""),
            vec!["d: Invalid value: \"\":  in body should be at least 1 chars long"],
        ),
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            vec!["d: Invalid value: \"b\":  in body should match '^a$'"],
        ),
        (
            json!({"type": "integer", "maximum": 3}),
            json!(4),
            vec!["d: Invalid value: 4:  in body should be less than or equal to 3"],
        ),
        (
            json!({"type": "integer", "minimum": 3, "exclusiveMinimum": true}),
            json!(3),
            vec!["d: Invalid value: 3:  in body should be greater than 3"],
        ),
        (
            json!({"type": "integer", "multipleOf": 2}),
            json!(3),
            vec!["d: Invalid value: 3:  in body should be a multiple of 2"],
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", 1]),
            vec![
                "d.[1]: Invalid value: \"integer\": [1] in body must be of type string: \"integer\"",
                "d: Too many: 2: must have at most 1 item",
            ],
        ),
        (
            json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"properties": {"c": {"type": "string"}}}}}),
            json!({"a": {"c": 1}}),
            vec![
                "d.a.c: Invalid value: \"integer\": a.c in body must be of type string: \"integer\"",
                "d.b: Required value",
            ],
        ),
        (
            json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!(true),
            vec![
                "d: Invalid value: \"\": \"\" must validate at least one schema (anyOf)",
                "d: Invalid value: \"boolean\":  in body must be of type integer: \"boolean\"",
            ],
        ),
        (
            json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]}),
            json!(3),
            vec![
                "d: Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            json!({"allOf": [{"minimum": 4}]}),
            json!(3),
            vec![
                "d: Invalid value: 3:  in body should be greater than or equal to 4",
                "d: Invalid value: \"\": \"\" must validate all the schemas (allOf). None validated",
            ],
        ),
        (
            json!({"not": {"minimum": 1}}),
            json!(3),
            vec!["d: Invalid value: \"\": \"\" must not validate the schema (not)"],
        ),
    ] {
        let mut errors = ErrorList::new();
        validate(&value, &schema, &Path::new("d"), &mut errors);
        let got: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(got, want, "{schema} {value}");
    }
}

#[test]
fn nested_alternatives_are_judged_once() {
    let mut deep = json!({"type": "string"});
    for _ in 0..60 {
        deep = json!({"oneOf": [deep]});
    }
    let mut errors = ErrorList::new();
    validate(&json!(1), &deep, &Path::new("d"), &mut errors);
    assert_eq!(errors.0.len(), 61);
}
