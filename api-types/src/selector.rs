//! Label selectors and field selectors.
//!
//! [`Selector`] is the set-based language of `?labelSelector=` and of `LabelSelector` objects;
//! [`FieldSelector`] is the equality language of `?fieldSelector=`.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::names;

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub op: Op,
}

/// How a label is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The value is one of these, sorted.
    In(Vec<String>),
    /// The label is absent, or its value is none of these, sorted.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The value is a whole number above this.
    Gt(i64),
    /// The value is a whole number below this.
    Lt(i64),
}

/// All of its requirements must hold; with none, everything is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// The selector cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// Labels as something that can be looked up in: maps, sorted slices, JSON objects.
pub trait Labels {
    /// The value of a label.
    fn get(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn get(&self, key: &str) -> Option<&str> {
        BTreeMap::get(self, key).map(String::as_str)
    }
}

impl Labels for serde_json::Map<String, serde_json::Value> {
    fn get(&self, key: &str) -> Option<&str> {
        serde_json::Map::get(self, key).and_then(|v| v.as_str())
    }
}

impl Selector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Whether nothing at all is asked of an object.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Its requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Selects the objects that carry all of these labels.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirements = labels
            .into_iter()
            .map(|(k, v)| Requirement { key: k.clone(), op: Op::In(vec![v.clone()]) })
            .collect();
        Self { requirements, nothing: false }
    }

    /// The selector of an object's `selector` field.
    pub fn from_label_selector(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let mut out = Self::from_map(selector.match_labels.iter().flatten());
        for e in selector.match_expressions.iter().flatten() {
            let mut values = e.values.clone().unwrap_or_default();
            values.sort();
            values.dedup();
            let op = match e.operator.as_str() {
                "In" if !values.is_empty() => Op::In(values),
                "NotIn" if !values.is_empty() => Op::NotIn(values),
                "In" | "NotIn" => {
                    return Err(SelectorError(
                        "for 'in', 'notin' operators, values set can't be empty".into(),
                    ));
                }
                "Exists" => Op::Exists,
                "DoesNotExist" => Op::DoesNotExist,
                other => {
                    return Err(SelectorError(format!("{other:?} is not a valid label selector operator")));
                }
            };
            out.requirements.push(Requirement { key: e.key.clone(), op });
        }
        Ok(out)
    }

    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut p = Parser { rest: text };
        let mut requirements = Vec::new();
        p.skip_space();
        if p.rest.starts_with(['=', '>', '<', '(', ')', ',']) {
            let found = p.peek_word();
            return Err(SelectorError(format!(
                "found '{found}', expected: !, identifier, or 'end of string'"
            )));
        }
        while !p.rest.is_empty() {
            let requirement = p.requirement();
            requirements.push(
                requirement.map_err(|e| SelectorError(format!("unable to parse requirement: {}", e.0)))?,
            );
            p.skip_space();
            if p.rest.is_empty() {
                break;
            }
            if !p.eat(",") {
                return Err(SelectorError(format!(
                    "found '{}', expected: ',' or 'end of string'",
                    p.peek_word()
                )));
            }
            p.skip_space();
            if p.rest.is_empty() {
                return Err(SelectorError("found '', expected: identifier after ','".into()));
            }
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Whether these labels satisfy every requirement.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }
}

impl Requirement {
    /// Whether these labels satisfy it.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let value = labels.get(&self.key);
        match &self.op {
            Op::In(values) => value.is_some_and(|v| values.iter().any(|x| x == v)),
            Op::NotIn(values) => value.is_none_or(|v| !values.iter().any(|x| x == v)),
            Op::Exists => value.is_some(),
            Op::DoesNotExist => value.is_none(),
            Op::Gt(n) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *n),
            Op::Lt(n) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *n),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let key = &r.key;
            match &r.op {
                Op::In(v) if v.len() == 1 => write!(f, "{key}={}", v[0])?,
                Op::NotIn(v) if v.len() == 1 => write!(f, "{key}!={}", v[0])?,
                Op::In(v) => write!(f, "{key} in ({})", v.join(","))?,
                Op::NotIn(v) => write!(f, "{key} notin ({})", v.join(","))?,
                Op::Exists => f.write_str(key)?,
                Op::DoesNotExist => write!(f, "!{key}")?,
                Op::Gt(n) => write!(f, "{key}>{n}")?,
                Op::Lt(n) => write!(f, "{key}<{n}")?,
            }
        }
        Ok(())
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.rest.strip_prefix(token).is_some_and(|r| {
            self.rest = r;
            true
        })
    }

    fn peek_word(&self) -> &'a str {
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(self.rest.len());
        if end == 0 {
            &self.rest[..self.rest.chars().next().map_or(0, char::len_utf8)]
        } else {
            &self.rest[..end]
        }
    }

    fn word(&mut self) -> &'a str {
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        self.skip_space();
        let key = self.word();
        if key.is_empty() {
            return Err(SelectorError(format!("found '{}', expected: identifier", self.peek_word())));
        }
        let errors = names::qualified_name(key);
        if !errors.is_empty() {
            return Err(SelectorError(format!("key: Invalid value: {key:?}: {}", errors.join("; "))));
        }
        Ok(key.to_owned())
    }

    fn value(&mut self, key: &str) -> Result<String, SelectorError> {
        self.skip_space();
        let value = self.word();
        let errors = names::label_value(value);
        if !errors.is_empty() {
            return Err(SelectorError(format!(
                "values[0][{key}]: Invalid value: {value:?}: {}",
                errors.join("; ")
            )));
        }
        Ok(value.to_owned())
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.eat("!") {
            return Ok(Requirement { key: self.key()?, op: Op::DoesNotExist });
        }
        let key = self.key()?;
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Requirement { key, op: Op::Exists });
        }
        let op = if self.eat("!=") {
            Op::NotIn(vec![self.value(&key)?])
        } else if self.eat("==") || self.eat("=") {
            Op::In(vec![self.value(&key)?])
        } else if self.eat(">") {
            Op::Gt(self.number()?)
        } else if self.eat("<") {
            Op::Lt(self.number()?)
        } else {
            let word = self.word();
            match word {
                "in" => Op::In(self.set(&key)?),
                "notin" => Op::NotIn(self.set(&key)?),
                _ => {
                    let found = if word.is_empty() { self.peek_word() } else { word };
                    return Err(SelectorError(format!(
                        "found '{found}', expected: in, notin, =, ==, !=, gt, lt"
                    )));
                }
            }
        };
        Ok(Requirement { key, op })
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        self.skip_space();
        let word = self.word();
        word.parse()
            .map_err(|_| SelectorError("for 'Gt', 'Lt' operators, the value must be an integer".into()))
    }

    fn set(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        self.skip_space();
        if !self.eat("(") {
            return Err(SelectorError(format!("found '{}' expected: '('", self.peek_word())));
        }
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(['=', '!', '>', '<', '(']) {
            let found = self.peek_word();
            return Err(SelectorError(format!("found '{found}', expected: ',', ')' or identifier")));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(key)?);
            self.skip_space();
            if self.eat(")") {
                values.sort();
                values.dedup();
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(SelectorError(format!("found '{}', expected: ',' or ')'", self.peek_word())));
            }
        }
    }
}

/// A conjunction of `field=value` and `field!=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// (field, value, whether it must be equal).
    pub terms: Vec<(String, String, bool)>,
}

impl FieldSelector {
    /// Reads `a=b,c!=d`; `\,`, `\=` and `\\` stand for themselves.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_escaped(text, ',') {
            if part.is_empty() {
                continue;
            }
            let bad = || SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let at = find_operator(&part).ok_or_else(bad)?;
            let (field, rest) = part.split_at(at);
            let (value, equal) = if let Some(v) = rest.strip_prefix("!=") {
                (v, false)
            } else if let Some(v) = rest.strip_prefix("==") {
                (v, true)
            } else {
                (rest.strip_prefix('=').ok_or_else(bad)?, true)
            };
            terms.push((field.to_owned(), unescape(value)?, equal));
        }
        Ok(Self { terms })
    }

    /// The value a field must have, when the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|(f, _, equal)| *equal && f == field).map(|(_, v, _)| v.as_str())
    }

    /// Whether nothing is asked.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an object, whose fields `get` looks up, is selected.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|(f, v, equal)| (get(f).unwrap_or("") == v) == *equal)
    }
}

fn split_escaped(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == separator && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn find_operator(part: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in part.char_indices() {
        if !escaped && (c == '=' || part[i..].starts_with("!=")) {
            return Some(i);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let refused = |why: String| SelectorError(format!("invalid field selector: {why}"));
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(e @ (',' | '=' | '\\')) => out.push(e),
                Some(other) => return Err(refused(format!("invalid escape sequence: \\{other}"))),
                None => return Err(refused("invalid escape sequence: \\".into())),
            },
            // Go prints the number of the character.
            '=' => return Err(refused(format!("unescaped character in value: {}", u32::from(c)))),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn parses_and_matches() {
        let l = labels(&[("app", "web"), ("tier", "front"), ("n", "5")]);
        for (text, want) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web, api),tier notin (back)", true),
            ("app", true),
            ("!gone", true),
            ("gone!=x", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("app in (api)", false),
            ("!app", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&l), want, "{text}");
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["app in web", "=a", "a=b c", "a=b,", "a in (b", "a~b", "a=b@c", "a in ()x"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_read() {
        for text in ["a=b", "a in (b,c),d", "!x", "a!=b", "n>3"] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn field_selectors() {
        let s = FieldSelector::parse("metadata.name=a,spec.nodeName!=").unwrap();
        assert_eq!(s.exact("metadata.name"), Some("a"));
        assert!(s.matches(|f| if f == "metadata.name" { Some("a") } else { Some("n1") }));
        assert!(!s.matches(|f| if f == "metadata.name" { Some("a") } else { None }));
        assert_eq!(FieldSelector::parse(r"a=x\,y").unwrap().exact("a"), Some("x,y"));
        assert!(FieldSelector::parse("nonsense").is_err());
    }

    #[test]
    fn refusals_are_upstreams() {
        for (text, why) in [
            ("=", "found '=', expected: !, identifier, or 'end of string'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a in", "unable to parse requirement: found '' expected: '('"),
            ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err().0, why, "{text}");
        }
        for (text, why) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
            ("a=b\\c", "invalid field selector: invalid escape sequence: \\c"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().0, why, "{text}");
        }
    }
}
