//! Parses a body and notices fields given twice, which `serde_json` alone would silently merge.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep a body may nest. `serde_json` refuses at 128 on its own; this bounds every other format.
const MAX_DEPTH: usize = 128;

/// How many repeated fields are told, as upstream bounds its reports.
const MAX_DUPLICATES: usize = 100;

/// A body and the paths of the fields it gives more than once (the last one counts).
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// The body.
    pub value: Value,
    /// The repeated fields.
    pub duplicates: Vec<String>,
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parse(d)
    }
}

/// Reads one value from any deserializer.
pub fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parsed, D::Error> {
    let mut duplicates = Vec::new();
    let value = Seed { duplicates: &mut duplicates, depth: 0 }.deserialize(deserializer)?;
    let duplicates =
        duplicates.into_iter().map(|d| d.strip_prefix('.').map(str::to_owned).unwrap_or(d)).collect();
    Ok(Parsed { value, duplicates })
}

/// Reads a JSON document.
pub fn from_slice(bytes: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut d = serde_json::Deserializer::from_slice(bytes);
    let parsed = parse(&mut d)?;
    d.end()?;
    Ok(parsed)
}

struct Seed<'a> {
    duplicates: &'a mut Vec<String>,
    depth: usize,
}

impl Seed<'_> {
    /// Puts a parent's step before the paths that its child has reported.
    fn prefix(&mut self, since: usize, step: impl Fn() -> String) {
        for d in &mut self.duplicates[since..] {
            d.insert_str(0, &step());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom("exceeded max depth"));
        }
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let since = self.duplicates.len();
            let seed = Seed { duplicates: self.duplicates, depth: self.depth + 1 };
            let Some(v) = seq.next_element_seed(seed)? else { return Ok(Value::Array(out)) };
            let i = out.len();
            self.prefix(since, || format!("[{i}]"));
            out.push(v);
        }
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let since = self.duplicates.len();
            let seed = Seed { duplicates: self.duplicates, depth: self.depth + 1 };
            let v = map.next_value_seed(seed)?;
            self.prefix(since, || format!(".{key}"));
            if out.contains_key(&key) && self.duplicates.len() < MAX_DUPLICATES {
                self.duplicates.push(format!(".{key}"));
            }
            out.insert(key, v);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_fields_are_named_with_their_path() {
        let p = from_slice(br#"{"a":1,"b":{"c":1,"c":2},"d":[{"e":1,"e":1}],"a":2}"#).unwrap();
        assert_eq!(p.duplicates, vec!["b.c", "d[0].e", "a"]);
        assert_eq!(p.value["a"], 2);
        assert_eq!(p.value["b"]["c"], 2);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(5000);
        assert!(from_slice(deep.as_bytes()).is_err());
    }
}
