//! The thin index of an object: uid, labels and selectable fields, packed into two allocations.
//!
//! Extracted by a borrowing visitor that skips everything else, so that the objects of a large cluster
//! cost little beyond their bytes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

pub use api_types::catalog::SelectableField as FieldDef;

/// Reads the index out of an object's JSON; the default is [`extract`].
pub type Extract = fn(&[u8], &'static [FieldDef]) -> Result<ObjectIndex, serde_json::Error>;

#[derive(Debug, Clone, Copy)]
struct Span(u32, u32);

/// Uid, labels and selectable fields of one object.
#[derive(Debug, Clone)]
pub struct ObjectIndex {
    text: Box<str>,
    /// uid, then key and value of each label sorted by key, then the fields in `defs` order.
    spans: Box<[Span]>,
    labels: u32,
    deleting: bool,
    defs: &'static [FieldDef],
}

impl ObjectIndex {
    fn get(&self, span: usize) -> &str {
        let Span(from, to) = self.spans[span];
        &self.text[from as usize..to as usize]
    }

    /// `metadata.uid`, or empty.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.get(0)
    }

    /// Whether `metadata.deletionTimestamp` is set.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Labels sorted by key.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.labels as usize).map(|i| (self.get(1 + 2 * i), self.get(2 + 2 * i)))
    }

    /// One label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// One declared field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let at = self.defs.iter().position(|def| def.name == name)?;
        Some(self.get(1 + 2 * self.labels as usize + at))
    }
}

/// Reads uid, labels, deletion mark and `fields` from an object's JSON. Strings, booleans and integers
/// count as field values (printed as JSON prints them); anything else leaves the default.
pub fn extract(json: &[u8], fields: &'static [FieldDef]) -> Result<ObjectIndex, serde_json::Error> {
    let mut found = Found {
        uid: Cow::Borrowed(""),
        labels: Vec::new(),
        deleting: false,
        values: vec![None; fields.len()],
    };
    let mut de = serde_json::Deserializer::from_slice(json);
    Node { depth: 0, at: At::Root, live: &all(fields), fields, found: &mut found }.deserialize(&mut de)?;
    de.end()?;
    Ok(found.pack(fields))
}

fn all(fields: &[FieldDef]) -> Vec<usize> {
    (0..fields.len()).collect()
}

struct Found<'de> {
    uid: Cow<'de, str>,
    labels: Vec<(Cow<'de, str>, Cow<'de, str>)>,
    deleting: bool,
    values: Vec<Option<Cow<'de, str>>>,
}

impl Found<'_> {
    fn pack(mut self, defs: &'static [FieldDef]) -> ObjectIndex {
        self.labels.sort_by(|a, b| a.0.cmp(&b.0));
        self.labels.dedup_by(|later, earlier| later.0 == earlier.0);
        let mut text = String::new();
        let mut spans = Vec::with_capacity(1 + 2 * self.labels.len() + defs.len());
        let mut push = |part: &str| {
            let from = text.len() as u32;
            text.push_str(part);
            spans.push(Span(from, text.len() as u32));
        };
        push(&self.uid);
        for (key, value) in &self.labels {
            push(key);
            push(value);
        }
        for (def, value) in defs.iter().zip(&self.values) {
            push(value.as_deref().unwrap_or(def.default));
        }
        ObjectIndex {
            text: text.into(),
            spans: spans.into(),
            labels: self.labels.len() as u32,
            deleting: self.deleting,
            defs,
        }
    }
}

/// Where in the object the visitor is, as far as the fixed parts are concerned.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Root,
    Metadata,
    Labels,
    Uid,
    Deletion,
    Other,
}

/// Visits one value; `live` are the fields whose path leads here.
struct Node<'a, 'de> {
    depth: usize,
    at: At,
    live: &'a [usize],
    fields: &'static [FieldDef],
    found: &'a mut Found<'de>,
}

impl<'de> Node<'_, 'de> {
    fn scalar(self, text: Cow<'de, str>) {
        for &i in self.live {
            if self.fields[i].path.len() == self.depth {
                self.found.values[i] = Some(text.clone());
            }
        }
        match self.at {
            At::Uid => self.found.uid = text,
            At::Deletion => self.found.deleting = true,
            _ => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<(), D::Error> {
        de.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<(), E> {
        self.scalar(Cow::Borrowed(v));
        Ok(())
    }
    fn visit_str<E>(self, v: &str) -> Result<(), E> {
        self.scalar(Cow::Owned(v.to_owned()));
        Ok(())
    }
    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.scalar(Cow::Borrowed(if v { "true" } else { "false" }));
        Ok(())
    }
    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        self.scalar(Cow::Owned(v.to_string()));
        Ok(())
    }
    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        self.scalar(Cow::Owned(v.to_string()));
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.at == At::Labels {
            while let Some((key, value)) = map.next_entry::<Text<'de>, Option<Text<'de>>>()? {
                self.found.labels.push((key.0, value.map_or(Cow::Borrowed(""), |v| v.0)));
            }
            return Ok(());
        }
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let at = match (self.at, &*key) {
                (At::Root, "metadata") => At::Metadata,
                (At::Metadata, "labels") => At::Labels,
                (At::Metadata, "uid") => At::Uid,
                (At::Metadata, "deletionTimestamp") => At::Deletion,
                _ => At::Other,
            };
            let on_path = |&i: &usize| self.fields[i].path.get(self.depth).is_some_and(|part| *part == key);
            let live: Vec<usize> = self.live.iter().copied().filter(on_path).collect();
            if at == At::Other && live.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Node {
                    depth: self.depth + 1,
                    at,
                    live: &live,
                    fields: self.fields,
                    found: self.found,
                })?;
            }
        }
        Ok(())
    }
}

/// A string, borrowed where JSON escapes allow.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &[FieldDef] = &[
        FieldDef { name: "spec.nodeName", path: &["spec", "nodeName"], default: "" },
        FieldDef { name: "spec.hostNetwork", path: &["spec", "hostNetwork"], default: "false" },
        FieldDef { name: "status.phase", path: &["status", "phase"], default: "" },
        FieldDef { name: "spec.n", path: &["spec", "n"], default: "" },
        FieldDef { name: "reason", path: &["reason"], default: "" },
    ];

    #[test]
    fn reads_uid_labels_and_fields() {
        let json = br#"{"kind":"Pod","reason":"why","metadata":{"name":"a","labels":{"z":"1","a\"b":"q\u0041","m":""},
            "uid":"u-1","deletionTimestamp":"2026"},"spec":{"metadata":{"uid":"no"},"nodeName":"n1","hostNetwork":true,
            "n":-3,"containers":[{"nodeName":"no"}]},"status":{"phase":null,"spec":{"nodeName":"no"}}}"#;
        let index = extract(json, POD).unwrap();
        assert_eq!(index.uid(), "u-1");
        assert!(index.is_deleting());
        assert_eq!(index.labels().collect::<Vec<_>>(), [("a\"b", "qA"), ("m", ""), ("z", "1")]);
        assert_eq!(index.label("z"), Some("1"));
        assert_eq!(index.label("y"), None);
        let field = |name| index.field(name);
        assert_eq!(field("spec.nodeName"), Some("n1"));
        assert_eq!(field("spec.hostNetwork"), Some("true"));
        assert_eq!(field("spec.n"), Some("-3"));
        assert_eq!(field("status.phase"), Some(""));
        assert_eq!(field("reason"), Some("why"));
        assert_eq!(field("spec.other"), None);
    }

    #[test]
    fn absent_parts_have_defaults() {
        let index = extract(br#"{"metadata":null,"spec":[1]}"#, POD).unwrap();
        assert_eq!((index.uid(), index.is_deleting(), index.labels().count()), ("", false, 0));
        assert_eq!(index.field("spec.hostNetwork"), Some("false"));
    }

    #[test]
    fn broken_json_is_an_error() {
        assert!(extract(br#"{"metadata":{"#, POD).is_err());
        assert!(extract(br#"{} x"#, POD).is_err());
    }
}
