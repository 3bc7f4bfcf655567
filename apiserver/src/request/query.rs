//! Query parameters, read as upstream reads its `ListOptions`, `DeleteOptions` and friends.

use std::collections::BTreeMap;

use api_types::selector::{FieldSelector, Selector};
use api_types::status::Status;

/// The parameters of a query; of one given more than once, all values are kept.
#[derive(Clone, Debug, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads a query string.
    pub fn parse(text: Option<&str>) -> Self {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (k, v) in form_urlencoded::parse(text.unwrap_or("").as_bytes()) {
            map.entry(k.into_owned()).or_default().push(v.into_owned());
        }
        Self(map)
    }

    /// The first value of a parameter; empty values count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|v| v.first()).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// A truth value; absent is false, and a bare `?watch` is true as upstream reads it.
    pub fn flag(&self, name: &str) -> bool {
        match self.0.get(name).and_then(|v| v.first()).map(String::as_str) {
            None | Some("false" | "0" | "False" | "FALSE" | "f" | "F") => false,
            Some(_) => true,
        }
    }

    /// A truth value that may be absent.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.0.contains_key(name).then(|| self.flag(name))
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|e: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why = match e.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
        })
    }

    /// `?labelSelector=`.
    pub fn label_selector(&self) -> Result<Selector, Status> {
        Selector::parse(self.get("labelSelector").unwrap_or("")).map_err(|e| Status::bad_request(e.0))
    }

    /// `?fieldSelector=`.
    pub fn field_selector(&self) -> Result<FieldSelector, Status> {
        FieldSelector::parse(self.get("fieldSelector").unwrap_or("")).map_err(|e| Status::bad_request(e.0))
    }

    /// A resource version: digits, or absent.
    pub fn resource_version(&self) -> Result<Option<u64>, Status> {
        let Some(text) = self.get("resourceVersion") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"))
        })
    }

    /// `?dryRun=All`.
    pub fn dry_run(&self) -> bool {
        self.all("dryRun").iter().any(|v| v == "All")
    }
}

/// What to do with unknown and repeated fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    Warn,
    /// Refuse them.
    Strict,
}

impl FieldValidation {
    /// `?fieldValidation=`; warns when it is absent.
    pub fn of(query: &Query) -> Self {
        query.get("fieldValidation").and_then(Self::named).unwrap_or(Self::Warn)
    }

    /// The level with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Ignore" => Some(Self::Ignore),
            "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_numbers() {
        let q = Query::parse(Some("watch=1&limit=5&labelSelector=a%3Db&x=&dryRun=All"));
        assert!(q.flag("watch"));
        assert!(!q.flag("missing"));
        assert_eq!(q.number("limit").unwrap(), Some(5));
        assert_eq!(q.label_selector().unwrap().to_string(), "a=b");
        assert_eq!(q.get("x"), None);
        assert!(q.dry_run());
        assert!(!Query::parse(Some("dryRun=")).dry_run());
        for (text, why) in [("x", "invalid syntax"), ("99999999999999999999", "value out of range")] {
            let refused = Query::parse(Some(&format!("limit={text}"))).number("limit").unwrap_err();
            assert_eq!(refused.message, format!("strconv.ParseInt: parsing {text:?}: {why}"));
        }
    }
}
