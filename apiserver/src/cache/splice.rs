//! Puts `metadata.resourceVersion` into an object's JSON without parsing it.
//!
//! Stored objects carry no resource version, for it is the revision of the write that stores them. It is
//! spliced in once, when the cache takes the object. The scan looks at the object's own keys and at
//! those of its `metadata`, and steps over everything else. An object that is stored as we and upstream
//! do, with its metadata near the front and no resource version, needs no more than a search for that
//! word.

use bytes::Bytes;
use memchr::memmem;

use crate::storage::Revision;

/// The bytes are not a JSON object the scan can follow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a JSON object (at byte {at})")]
pub struct SpliceError {
    at: usize,
}

/// A copy of `json` whose `metadata.resourceVersion` is `revision`.
pub fn with_resource_version(json: &[u8], revision: Revision) -> Result<Bytes, SpliceError> {
    let mut number = itoa::Buffer::new();
    let number = number.format(revision);
    let mut scan = Scan { json, at: 0 };
    let body = scan.open_object()?;
    let mentioned = memmem::find(json, br#""resourceVersion""#).is_some();
    // Replaces json[from..to] by the parts of `insert`.
    let splice = |from: usize, to: usize, insert: &[&str]| {
        let added: usize = insert.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(json.len() - (to - from) + added);
        out.extend_from_slice(&json[..from]);
        for part in insert {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&json[to..]);
        Ok(Bytes::from(out))
    };
    let metadata =
        if mentioned { scan.find(b"metadata")? } else { scan.find_start(b"metadata")?.map(|at| (at, at)) };
    let Some((from, to)) = metadata else {
        let comma = if scan.is_empty_object(body)? { "" } else { "," };
        return splice(body, body, &[r#""metadata":{"resourceVersion":""#, number, r#""}"#, comma]);
    };
    let mut inner = Scan { json, at: from };
    if json.get(from) != Some(&b'{') {
        inner.skip_value()?;
        return splice(from, inner.at, &[r#"{"resourceVersion":""#, number, r#""}"#]);
    }
    let inside = inner.open_object()?;
    if mentioned {
        inner.json = &json[..to];
        if let Some((from, to)) = inner.find(b"resourceVersion")? {
            return splice(from, to, &["\"", number, "\""]);
        }
    }
    let comma = if inner.is_empty_object(inside)? { "" } else { "," };
    splice(inside, inside, &[r#""resourceVersion":""#, number, "\"", comma])
}

struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn error(&self) -> SpliceError {
        SpliceError { at: self.at }
    }

    fn peek(&mut self) -> Result<u8, SpliceError> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.json.get(self.at) {
            self.at += 1;
        }
        self.json.get(self.at).copied().ok_or_else(|| self.error())
    }

    fn take(&mut self, byte: u8) -> Result<(), SpliceError> {
        if self.peek()? != byte {
            return Err(self.error());
        }
        self.at += 1;
        Ok(())
    }

    /// Steps behind the opening brace and returns that place.
    fn open_object(&mut self) -> Result<usize, SpliceError> {
        self.take(b'{')?;
        Ok(self.at)
    }

    fn is_empty_object(&self, body: usize) -> Result<bool, SpliceError> {
        Ok(Scan { json: self.json, at: body }.peek()? == b'}')
    }

    /// From inside an object, the range of the value of `key` (written without escapes); `None` after
    /// its closing brace.
    fn find(&mut self, key: &[u8]) -> Result<Option<(usize, usize)>, SpliceError> {
        let Some(start) = self.find_start(key)? else { return Ok(None) };
        self.skip_value()?;
        Ok(Some((start, self.at)))
    }

    /// The same, only where the value begins, and no look at what follows.
    fn find_start(&mut self, key: &[u8]) -> Result<Option<usize>, SpliceError> {
        if self.peek()? == b'}' {
            return Ok(None);
        }
        loop {
            self.peek()?;
            let (from, to) = self.string()?;
            self.take(b':')?;
            self.peek()?;
            if &self.json[from + 1..to - 1] == key {
                return Ok(Some(self.at));
            }
            self.skip_value()?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => return Ok(None),
                _ => return Err(self.error()),
            }
        }
    }

    /// The range of the string here, with its quotes.
    fn string(&mut self) -> Result<(usize, usize), SpliceError> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            let rest = self.json.get(self.at..).unwrap_or_default();
            let next = rest.iter().position(|b| matches!(b, b'"' | b'\\')).ok_or_else(|| self.error())?;
            self.at += next;
            if self.json[self.at] == b'"' {
                self.at += 1;
                return Ok((start, self.at));
            }
            self.at += 2;
        }
    }

    fn skip_value(&mut self) -> Result<(), SpliceError> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                let rest = &self.json[self.at..];
                let end =
                    rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
                match end {
                    Some(0) => Err(self.error()),
                    end => {
                        self.at += end.unwrap_or(rest.len());
                        Ok(())
                    }
                }
            }
        }
    }

    fn skip_nested(&mut self) -> Result<(), SpliceError> {
        let mut depth = 0usize;
        loop {
            let rest = self.json.get(self.at..).unwrap_or_default();
            let next = rest.iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'));
            self.at += next.ok_or_else(|| self.error())?;
            match self.json[self.at] {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => depth -= 1,
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str) {
        let spliced = with_resource_version(before.as_bytes(), 42).unwrap();
        assert_eq!(std::str::from_utf8(&spliced).unwrap(), after);
    }

    #[test]
    fn goes_into_metadata_wherever_it_is() {
        check(r#"{"metadata":{"name":"a"}}"#, r#"{"metadata":{"resourceVersion":"42","name":"a"}}"#);
        check(r#"{"kind":"Pod","metadata":{}}"#, r#"{"kind":"Pod","metadata":{"resourceVersion":"42"}}"#);
        check(r#"{ "metadata" : { } , "a":1}"#, r#"{ "metadata" : {"resourceVersion":"42" } , "a":1}"#);
        check("{}", r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(r#"{"a":[]}"#, r#"{"metadata":{"resourceVersion":"42"},"a":[]}"#);
        check(r#"{"metadata":null,"a":1}"#, r#"{"metadata":{"resourceVersion":"42"},"a":1}"#);
    }

    #[test]
    fn replaces_what_is_there() {
        check(
            r#"{"metadata":{"resourceVersion":"7","a":1}}"#,
            r#"{"metadata":{"resourceVersion":"42","a":1}}"#,
        );
        check(
            r#"{"metadata":{"a":1,"resourceVersion": 7 }}"#,
            r#"{"metadata":{"a":1,"resourceVersion": "42" }}"#,
        );
    }

    #[test]
    fn is_not_misled() {
        check(
            r#"{"spec":{"metadata":{"x":1}},"s":"\"metadata\":{","metadata":{"l":{"resourceVersion":"1"}}}"#,
            r#"{"spec":{"metadata":{"x":1}},"s":"\"metadata\":{","metadata":{"resourceVersion":"42","l":{"resourceVersion":"1"}}}"#,
        );
        check(r#"{"a\\":"}","metadata":{}}"#, r#"{"a\\":"}","metadata":{"resourceVersion":"42"}}"#);
        check(r#"{"n":-1.5e3,"metadata":{}}"#, r#"{"n":-1.5e3,"metadata":{"resourceVersion":"42"}}"#);
    }

    #[test]
    fn broken_bytes_are_errors() {
        for broken in [
            "",
            "[]",
            "{",
            r#"{"a"#,
            r#"{"a":"#,
            r#"{"a":[}"#,
            r#"{"a":"\"#,
            r#"{"metadata":{"a" 1}}"#,
            r#"{"a":,}"#,
        ] {
            // An unbalanced nesting may pass: what matters is that nothing panics.
            let _ = with_resource_version(broken.as_bytes(), 1);
        }
        assert!(with_resource_version(b"[]", 1).is_err());
        assert!(with_resource_version(b"{", 1).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[a-z"\\{}\[\],:é ]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof![
                Just("metadata".to_owned()),
                Just("resourceVersion".to_owned()),
                r#"[a-z"\\}]{0,3}"#
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equals_a_parse(mut object in prop::collection::hash_map("[a-z]{1,3}|metadata", any_json(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect())), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.unwrap();
            let spliced: Value = serde_json::from_slice(&with_resource_version(&text, 9).unwrap()).unwrap();
            let metadata = &mut object["metadata"];
            if !metadata.is_object() {
                *metadata = json!({});
            }
            metadata["resourceVersion"] = "9".into();
            prop_assert_eq!(spliced, object);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\am 1".to_vec()), 0..40)) {
            let _ = with_resource_version(&bytes, 1);
        }
    }
}
