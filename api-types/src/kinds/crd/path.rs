//! Paths of fields within a schema: `.spec.ports['http']`.

use serde_json::Value;

use super::structural::schema_at;
use crate::kinds::fields::{below, entries, set};

/// What a path leads to.
#[derive(Debug, PartialEq)]
pub struct Found<'s> {
    /// The first field.
    pub root: String,
    /// The path in one form, whatever notation it was given in.
    pub path: String,
    /// Its schema; none below `additionalProperties: true`.
    pub schema: Option<&'s Value>,
}

const NOT_THERE: &str = "does not refer to a valid field";
const ENDS: &str = "unexpected end of JSON path";

/// Follows a path; `brackets` tells whether it may have steps in brackets. A failure is the reason why it leads nowhere.
pub fn find<'s>(path: &str, schema: &'s Value, brackets: bool) -> Result<Found<'s>, String> {
    let mut found = Found { root: String::new(), path: String::new(), schema: Some(schema) };
    let mut tokens = Tokens(path);
    while let Some(token) = tokens.next() {
        match token {
            "[" if !brackets => return Err("array notation is not allowed".into()),
            "[" => {
                let quoted = tokens.next().ok_or(ENDS)?;
                let name = quoted
                    .strip_prefix('\'')
                    .and_then(|q| q.strip_suffix('\''))
                    .ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                found.step(&unescape(name).map_err(|e| format!("invalid string literal: {e}"))?)?;
                match tokens.next().ok_or(ENDS)? {
                    "]" => {}
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            "." => found.step(tokens.next().ok_or(ENDS)?)?,
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

impl Found<'_> {
    fn step(&mut self, name: &str) -> Result<(), String> {
        let schema = self.schema.ok_or(NOT_THERE)?;
        if entries(schema, "properties").next().is_some() {
            self.schema = Some(set(below(schema, "properties"), name).ok_or(NOT_THERE)?);
            self.path.push('.');
            self.path.push_str(name);
        } else if set(schema, "additionalProperties").is_some() {
            self.schema = schema_at(schema, "additionalProperties");
            self.path.push_str(&format!("[{name}]"));
        } else {
            return Err(NOT_THERE.into());
        }
        if self.root.is_empty() {
            self.root = name.to_owned();
        }
        Ok(())
    }
}

/// Dots, brackets and what stands between them; a quoted name is one token.
struct Tokens<'p>(&'p str);

impl<'p> Iterator for Tokens<'p> {
    type Item = &'p str;

    fn next(&mut self) -> Option<&'p str> {
        let rest = self.0;
        let end = if rest.starts_with('\'') {
            let b = rest.as_bytes();
            (1..b.len()).find(|i| b[*i] == b'\'' && b[i - 1] != b'\\').map_or(rest.len(), |i| i + 1)
        } else {
            rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1)
        };
        let (token, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        Some(token)
    }
}

fn unescape(quoted: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), quoted.chars());
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match rest.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some(same @ ('\'' | '\\')) => same,
            Some(other) => return Err(format!("invalid escape char \\{other}")),
            None => '\\',
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let schema = json!({"properties": {"spec": {"properties": {"a.b": {"type": "string"},
            "labels": {"additionalProperties": {"type": "integer"}}, "any": {"additionalProperties": true}}}}});
        for (path, want) in [
            (".spec['a.b']", Ok("string")),
            (".spec.labels.x", Ok("integer")),
            (".spec.labels['x']", Ok("integer")),
            (".spec.any.x", Ok("")),
            (".spec.any.x.y", Err(NOT_THERE)),
            (".spec.c", Err(NOT_THERE)),
            ("spec", Err("expected [ or . but got: spec")),
            (".", Err(ENDS)),
            (".spec[0]", Err("expected single quoted string but got 0")),
            (".spec['a.b'", Err(ENDS)),
            (r".spec['\q']", Err(r"invalid string literal: invalid escape char \q")),
        ] {
            let got = find(path, &schema, true);
            let kind = |f: Found<'_>| f.schema.map_or("", |s| s["type"].as_str().unwrap_or("")).to_owned();
            assert_eq!(got.map(kind), want.map(str::to_owned).map_err(str::to_owned), "{path}");
        }
        assert_eq!(find(".spec['a.b']", &schema, false), Err("array notation is not allowed".into()));
        assert_eq!(find(".spec.labels.x", &schema, false).unwrap().path, ".spec.labels[x]");
    }
}
