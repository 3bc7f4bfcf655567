//! Values held against the schema of a custom resource, in the words of Go's validator (`kube-openapi/pkg/validation`).
//!
//! Formats of texts are not looked at.

use regex::Regex;
use serde_json::Value;

use super::structural::schema_at;
use crate::field::{ErrorList, Path};
use crate::kinds::fields::{entries, flag, list, set, text, texts};

/// Reasons to refuse a value that stands at `path`.
pub fn validate(value: &Value, schema: &Value, path: &Path, errors: &mut ErrorList) {
    Against { path, errors }.value(value, schema, "");
}

/// Where errors go. Places below the value are named as Go's validator does: `.a.b[0]`.
struct Against<'e> {
    path: &'e Path,
    errors: &'e mut ErrorList,
}

impl Against<'_> {
    fn at(&self, place: &str) -> Path {
        match place.strip_prefix('.').unwrap_or(place) {
            "" => self.path.clone(),
            below => self.path.child(below),
        }
    }

    fn invalid(&mut self, place: &str, value: Value, why: &str) {
        self.errors.invalid(&self.at(place), value, format!("{place} in body {why}"));
    }

    /// What schemas under a junctor say is reported at the whole value.
    fn refused(&mut self, why: String) {
        self.errors.invalid(self.path, "", why);
    }

    /// Whether a value would be accepted; what is refused otherwise.
    fn would(&self, value: &Value, schema: &Value, place: &str) -> Result<(), ErrorList> {
        let mut errors = ErrorList::new();
        Against { path: self.path, errors: &mut errors }.value(value, schema, place);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn value(&mut self, value: &Value, s: &Value, place: &str) {
        self.kind(value, s, place);
        if !value.is_null() {
            self.junctors(value, s, place);
        }
        match value {
            Value::String(t) => self.text(t, s, place),
            Value::Number(_) => self.number(value, s, place),
            Value::Array(items) => self.items(items, s, place),
            _ => {}
        }
        let known = list(s, "enum");
        if !known.is_empty() && !known.iter().any(|k| same(k, value)) {
            let known: Vec<String> =
                known.iter().map(|k| k.as_str().map_or_else(|| k.to_string(), str::to_owned)).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.errors.not_supported(&self.at(place), value.clone(), &known);
        }
        if let Value::Object(fields) = value {
            self.fields(fields, s, place);
        }
    }

    fn kind(&mut self, value: &Value, s: &Value, place: &str) {
        let (want, found) = (text(s, "type"), kind_of(value));
        if want.is_empty() || want == found || (found == "null" && flag(s, "nullable")) {
            return;
        }
        let fits = match (want, found) {
            ("number", "integer") => true,
            ("integer", "number") => value.as_f64().is_some_and(|f| f.fract() == 0.0),
            // The format is what such a value is held against.
            ("number" | "integer", _) => false,
            (_, "string" | "array") => !text(s, "format").is_empty(),
            _ => false,
        };
        if !fits {
            let why = format!("{place} in body must be of type {want}: {found:?}");
            self.errors.wrong_type(&self.at(place), found, why);
        }
    }

    fn junctors(&mut self, value: &Value, s: &Value, place: &str) {
        let (any, one, all) = (list(s, "anyOf"), list(s, "oneOf"), list(s, "allOf"));
        if let Err(Some(mut best)) = self.any(value, any, place) {
            self.refused(format!("{place:?} must validate at least one schema (anyOf)"));
            self.errors.0.append(&mut best.0);
        }
        // Each branch is judged once: schemas nest, and twice at every level would be a power of two in all.
        let judged: Vec<_> = one.iter().map(|branch| self.would(value, branch, place)).collect();
        let valid = judged.iter().filter(|j| j.is_ok()).count();
        if !one.is_empty() && valid != 1 {
            let found = if valid == 0 {
                "Found none valid".into()
            } else {
                format!("Found {valid} valid alternatives")
            };
            self.refused(format!("{place:?} must validate one and only one schema (oneOf). {found}"));
            if let Some(Err(mut first)) = judged.into_iter().next().filter(|_| valid == 0) {
                self.errors.0.append(&mut first.0);
            }
        }
        let mut valid = 0;
        for branch in all {
            match self.would(value, branch, place) {
                Ok(()) => valid += 1,
                Err(mut why) => self.errors.0.append(&mut why.0),
            }
        }
        if valid != all.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            self.refused(format!("{place:?} must validate all the schemas (allOf){none}"));
        }
        if set(s, "not").is_some_and(|not| self.would(value, not, place).is_ok()) {
            self.refused(format!("{place:?} must not validate the schema (not)"));
        }
    }

    /// Whether any branch accepts the value; else what the first of them says, if there are branches.
    fn any(&self, value: &Value, branches: &[Value], place: &str) -> Result<(), Option<ErrorList>> {
        let mut first = None;
        for branch in branches {
            match self.would(value, branch, place) {
                Ok(()) => return Ok(()),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first)
    }

    /// The first thing that is wrong with a text.
    fn text(&mut self, t: &str, s: &Value, place: &str) {
        let length = t.chars().count();
        let pattern = text(s, "pattern");
        if let Some(most) = limit(s, "maxLength").filter(|most| length > *most) {
            self.errors.too_long(&self.at(place), most);
        } else if let Some(least) = limit(s, "minLength").filter(|least| length < *least) {
            self.invalid(place, t.into(), &format!("should be at least {least} chars long"));
        } else if !pattern.is_empty() && Regex::new(pattern).is_ok_and(|r| !r.is_match(t)) {
            self.invalid(place, t.into(), &format!("should match '{pattern}'"));
        }
    }

    fn number(&mut self, value: &Value, s: &Value, place: &str) {
        let n = value.as_f64().unwrap_or(0.0);
        let bound = |field: &str| s.get(field).filter(|b| b.is_number()).and_then(|b| Some((b, b.as_f64()?)));
        if let Some((factor, f)) = bound("multipleOf").filter(|(_, f)| *f > 0.0)
            && (n / f).fract() != 0.0
        {
            self.invalid(place, value.clone(), &format!("should be a multiple of {factor}"));
        }
        if let Some((least, l)) = bound("minimum") {
            let only = flag(s, "exclusiveMinimum");
            if n < l || (only && n == l) {
                let or = if only { "greater than" } else { "greater than or equal to" };
                self.invalid(place, value.clone(), &format!("should be {or} {least}"));
            }
        }
        if let Some((most, m)) = bound("maximum") {
            let only = flag(s, "exclusiveMaximum");
            if n > m || (only && n == m) {
                let or = if only { "less than" } else { "less than or equal to" };
                self.invalid(place, value.clone(), &format!("should be {or} {most}"));
            }
        }
    }

    fn items(&mut self, items: &[Value], s: &Value, place: &str) {
        if let Some(schema) = schema_at(s, "items") {
            for (i, item) in items.iter().enumerate() {
                self.value(item, schema, &format!("{place}[{i}]"));
            }
        }
        if let Some(least) = limit(s, "minItems").filter(|least| items.len() < *least) {
            self.invalid(place, items.len().into(), &format!("should have at least {least} items"));
        }
        if let Some(most) = limit(s, "maxItems").filter(|most| items.len() > *most) {
            self.errors.too_many(&self.at(place), items.len(), most);
        }
    }

    fn fields(&mut self, fields: &serde_json::Map<String, Value>, s: &Value, place: &str) {
        if let Some(least) = limit(s, "minProperties").filter(|least| fields.len() < *least) {
            self.invalid(place, fields.len().into(), &format!("should have at least {least} properties"));
        }
        if let Some(most) = limit(s, "maxProperties").filter(|most| fields.len() > *most) {
            self.errors.too_many(&self.at(place), fields.len(), most);
        }
        let known = |name: &str| s.pointer("/properties").is_some_and(|p| p.get(name).is_some());
        let more = set(s, "additionalProperties");
        for (name, v) in fields.iter().filter(|(name, _)| !known(name)) {
            match more {
                Some(Value::Bool(false)) => {
                    let why = format!("{place}.{name} in body is a forbidden property");
                    self.errors.invalid(&self.at(place), name.as_str(), why);
                }
                Some(schema) if schema.is_object() => self.value(v, schema, &format!("{place}.{name}")),
                _ => {}
            }
        }
        for (name, schema) in entries(s, "properties") {
            if let Some(v) = fields.get(name) {
                let below = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                self.value(v, schema, &below);
            }
        }
        for name in texts(s, "required").into_iter().filter(|name| !fields.contains_key(*name)) {
            self.errors.required(&self.at(&format!("{place}.{name}")), "");
        }
    }
}

fn limit(s: &Value, field: &str) -> Option<usize> {
    s.get(field).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Equal, where 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

#[cfg(test)]
mod tests;
