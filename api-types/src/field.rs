//! Refusals of single fields, in upstream's words (`apimachinery/pkg/util/validation/field`).

use std::fmt;

use serde_json::Value;

/// Why a field is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// It must be there and is not.
    Required,
    /// Its value is malformed or out of range.
    Invalid,
    /// Its value is none of those known.
    NotSupported,
    /// It may not be set here.
    Forbidden,
    /// Another element has the same value.
    Duplicate,
    /// It names something that is not there.
    NotFound,
    /// It is longer than allowed.
    TooLong,
    /// There are more elements than allowed.
    TooMany,
    /// It is of another type than it should be.
    TypeInvalid,
}

impl ErrorType {
    /// The reason of the status cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One refused field.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// Why.
    pub kind: ErrorType,
    /// Which field: `spec.containers[0].name`.
    pub field: String,
    /// Upstream's text after the field's name.
    pub body: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// A place in an object, built while walking down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The path of a top-level field.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// With more behind it. Hundreds of paths are made for a pod in which nothing is wrong: one allocation each, and no
    /// formatting.
    fn with(&self, parts: &[&str]) -> Self {
        let more: usize = parts.iter().map(|part| part.len()).sum();
        let mut path = String::with_capacity(self.0.len() + more);
        path.push_str(&self.0);
        parts.iter().for_each(|part| path.push_str(part));
        Self(path)
    }

    /// A field below.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { self.with(&[".", name]) }
    }

    /// An element of a list.
    #[must_use]
    pub fn index(&self, i: usize) -> Self {
        self.with(&["[", &i.to_string(), "]"])
    }

    /// An entry of a map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(&["[", key, "]"])
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value as Go prints it in such messages: strings quoted, the rest as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{s:?}"),
        Value::Null => "null".into(),
        other => other.to_string(),
    }
}

/// A list of refusals that grows during validation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorList(pub Vec<Error>);

impl ErrorList {
    /// No refusal yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, kind: ErrorType, path: &Path, body: String) {
        self.0.push(Error { kind, field: path.to_string(), body });
    }

    /// The field must be there; `detail` may be empty.
    pub fn required(&mut self, path: &Path, detail: &str) {
        let body =
            if detail.is_empty() { "Required value".into() } else { format!("Required value: {detail}") };
        self.push(ErrorType::Required, path, body);
    }

    /// The value is malformed.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl fmt::Display) {
        self.push(ErrorType::Invalid, path, format!("Invalid value: {}: {detail}", show(&value.into())));
    }

    /// The value is malformed, and its text would not help.
    pub fn invalid_unshown(&mut self, path: &Path, detail: impl fmt::Display) {
        self.push(ErrorType::Invalid, path, format!("Invalid value: {detail}"));
    }

    /// The value is of another type than it should be; `found` is the name of its own.
    pub fn wrong_type(&mut self, path: &Path, found: &str, detail: impl fmt::Display) {
        self.push(ErrorType::TypeInvalid, path, format!("Invalid value: {found:?}: {detail}"));
    }

    /// The value is malformed for each of these reasons.
    pub fn invalid_all(&mut self, path: &Path, value: &str, details: Vec<String>) {
        for d in details {
            self.invalid(path, value, d);
        }
    }

    /// The value is none of `supported`.
    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.push(
            ErrorType::NotSupported,
            path,
            format!("Unsupported value: {}: supported values: {}", show(&value.into()), list.join(", ")),
        );
    }

    /// The field may not be set here.
    pub fn forbidden(&mut self, path: &Path, detail: impl fmt::Display) {
        self.push(ErrorType::Forbidden, path, format!("Forbidden: {detail}"));
    }

    /// The value repeats another's.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(ErrorType::Duplicate, path, format!("Duplicate value: {}", show(&value.into())));
    }

    /// The value repeats another's, for a reason that is not obvious.
    pub fn duplicate_because(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        let body = format!("Duplicate value: {}: {detail}", show(&value.into()));
        self.push(ErrorType::Duplicate, path, body);
    }

    /// The value names nothing that is there.
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(ErrorType::NotFound, path, format!("Not found: {}", show(&value.into())));
    }

    /// The value is longer than `max` bytes.
    pub fn too_long(&mut self, path: &Path, max: usize) {
        self.push(ErrorType::TooLong, path, format!("Too long: may not be more than {max} bytes"));
    }

    /// There are more elements than `max`.
    pub fn too_many(&mut self, path: &Path, actual: usize, max: usize) {
        let unit = if max == 1 { "item" } else { "items" };
        self.push(ErrorType::TooMany, path, format!("Too many: {actual}: must have at most {max} {unit}"));
    }

    /// Refuses a number below zero.
    pub fn non_negative(&mut self, path: &Path, value: i64) {
        if value < 0 {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// Refuses a change of a field that may not change.
    pub fn immutable(&mut self, path: &Path, new: Option<&Value>, old: Option<&Value>) {
        if new.unwrap_or(&Value::Null) != old.unwrap_or(&Value::Null) {
            self.invalid(path, new.cloned().unwrap_or(Value::Null), "field is immutable");
        }
    }
}
