//! Formats of values in schemas: those that nothing checks are warned of.

use serde_json::Value;

use super::rules::{every, schemas};
use crate::kinds::fields::text;

/// Formats of texts, without dashes.
const OF_TEXT: &[&str] = &[
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// The formats in the schemas of a definition that nothing checks, each once.
pub fn unknown(spec: &Value) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    let note = |s: &Value| {
        let format = text(s, "format");
        let mut found = found.borrow_mut();
        if !format.is_empty() && !is_known(text(s, "type"), format) && !found.iter().any(|f| f == format) {
            found.push(format.to_owned());
        }
        true
    };
    schemas(spec).for_each(|s| {
        every(s, &note);
    });
    found.into_inner()
}

fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => OF_TEXT.contains(&format.replace('-', "").as_str()),
        "integer" => ["int32", "int64"].contains(&format),
        "number" => ["float", "double"].contains(&format),
        _ => false,
    }
}
