//! Go's words for malformed JSON. Clients show them to people, and scripts have been seen to look for them.
//!
//! Only asked once a document is known to be malformed; a small scanner with a stack of its own finds the place.

use serde_json::Value;

const BEGIN: &str = "looking for beginning of value";
const KEY: &str = "looking for beginning of object key string";

enum Bad {
    End,
    At(u8, String),
}

/// What Go's decoder says about a document; `None` when it would accept the syntax.
pub fn complaint(document: &[u8]) -> Option<String> {
    match (Scanner { bytes: document, at: 0 }).document() {
        Ok(()) => None,
        Err(Bad::End) => Some("unexpected end of JSON input".into()),
        Err(Bad::At(c, context)) => Some(format!("invalid character {} {context}", quoted(c))),
    }
}

/// What Go's decoder calls a value that does not fit where it is.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go's decoder of base64 says of `text`, which ours has refused.
pub fn illegal_base64(text: &str, error: &base64::DecodeError) -> String {
    let byte = match error {
        base64::DecodeError::InvalidByte(i, _) | base64::DecodeError::InvalidLastSymbol(i, _) => *i,
        _ => text.len() / 4 * 4,
    };
    format!("illegal base64 data at input byte {byte}")
}

/// A character as Go quotes it in these messages.
fn quoted(c: u8) -> String {
    match c {
        b'\'' => "'\\''".into(),
        b'"' => "'\"'".into(),
        c if c < 0x20 || c == 0x7f => match c {
            b'\n' => "'\\n'".into(),
            b'\r' => "'\\r'".into(),
            b'\t' => "'\\t'".into(),
            0x07 => "'\\a'".into(),
            0x08 => "'\\b'".into(),
            0x0b => "'\\v'".into(),
            0x0c => "'\\f'".into(),
            c => format!("'\\x{c:02x}'"),
        },
        b'\\' => "'\\\\'".into(),
        // A byte is a character of Latin-1 to Go, and these are not printable.
        0x80..=0xa0 | 0xad => format!("'\\u{c:04x}'"),
        c => format!("'{}'", char::from(c)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Object,
    Array,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek()
    }

    /// Takes the next character if `wanted` accepts it.
    fn take(&mut self, context: &str, wanted: impl Fn(u8) -> bool) -> Result<u8, Bad> {
        match self.peek() {
            None => Err(Bad::End),
            Some(c) if wanted(c) => {
                self.at += 1;
                Ok(c)
            }
            Some(c) => Err(Bad::At(c, context.to_owned())),
        }
    }

    fn document(&mut self) -> Result<(), Bad> {
        let mut stack: Vec<Inside> = Vec::new();
        loop {
            if let Some(inside) = self.begin()? {
                stack.push(inside);
                continue;
            }
            if self.end(&mut stack)? {
                return Ok(());
            }
        }
    }

    /// A whole scalar or empty container, or the beginning of a container up to its first value.
    fn begin(&mut self) -> Result<Option<Inside>, Bad> {
        match self.space().ok_or(Bad::End)? {
            b'{' => {
                self.at += 1;
                if self.space() == Some(b'}') {
                    self.at += 1;
                    return Ok(None);
                }
                self.key()?;
                Ok(Some(Inside::Object))
            }
            b'[' => {
                self.at += 1;
                if self.space() == Some(b']') {
                    self.at += 1;
                    return Ok(None);
                }
                Ok(Some(Inside::Array))
            }
            b'"' => self.string().map(|()| None),
            b'-' | b'0'..=b'9' => self.number().map(|()| None),
            b't' => self.literal("true").map(|()| None),
            b'f' => self.literal("false").map(|()| None),
            b'n' => self.literal("null").map(|()| None),
            c => Err(Bad::At(c, BEGIN.to_owned())),
        }
    }

    /// What follows a value: the next one, or the end of containers. True at the end of the document.
    fn end(&mut self, stack: &mut Vec<Inside>) -> Result<bool, Bad> {
        loop {
            let next = self.space();
            match (stack.last(), next) {
                (None, None) => return Ok(true),
                (None, Some(c)) => return Err(Bad::At(c, "after top-level value".to_owned())),
                (Some(_), None) => return Err(Bad::End),
                (Some(Inside::Object), Some(b',')) => {
                    self.at += 1;
                    self.space();
                    self.key()?;
                    return Ok(false);
                }
                (Some(Inside::Array), Some(b',')) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Some(Inside::Object), Some(b'}')) | (Some(Inside::Array), Some(b']')) => {
                    self.at += 1;
                    stack.pop();
                }
                (Some(Inside::Object), Some(c)) => {
                    return Err(Bad::At(c, "after object key:value pair".to_owned()));
                }
                (Some(Inside::Array), Some(c)) => return Err(Bad::At(c, "after array element".to_owned())),
            }
        }
    }

    fn key(&mut self) -> Result<(), Bad> {
        match self.peek() {
            None => return Err(Bad::End),
            Some(b'"') => self.string()?,
            Some(c) => return Err(Bad::At(c, KEY.to_owned())),
        }
        self.space();
        self.take("after object key", |c| c == b':').map(|_| ())
    }

    fn literal(&mut self, word: &str) -> Result<(), Bad> {
        for expected in word.bytes() {
            let context = format!("in literal {word} (expecting {})", quoted(expected));
            self.take(&context, |c| c == expected)?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<(), Bad> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.take("in numeric literal", |c| c.is_ascii_digit())?;
        if first != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.take("after decimal point in numeric literal", |c| c.is_ascii_digit())?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.take("in exponent of numeric literal", |c| c.is_ascii_digit())?;
            self.digits();
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Bad> {
        if self.take("in string escape code", |c| b"bfnrtu\\/\"".contains(&c))? == b'u' {
            for _ in 0..4 {
                self.take("in \\u hexadecimal character escape", |c| c.is_ascii_hexdigit())?;
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Bad> {
        self.at += 1;
        loop {
            match self.take("in string literal", |c| c >= 0x20)? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn reads_like_go() {
        for (document, want) in [
            ("not json", "invalid character 'o' in literal null (expecting 'u')"),
            ("", "unexpected end of JSON input"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{\"a\":tru}", "invalid character '}' in literal true (expecting 'e')"),
            ("{\"a\":01}", "invalid character '1' after object key:value pair"),
            ("{\"a\":-}", "invalid character '}' in numeric literal"),
            ("{\"a\":1.x}", "invalid character 'x' after decimal point in numeric literal"),
            ("{\"a\":\"\\q\"}", "invalid character 'q' in string escape code"),
            ("{\"a\":\"\n\"}", "invalid character '\\n' in string literal"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\":", "unexpected end of JSON input"),
        ] {
            assert_eq!(complaint(document.as_bytes()).as_deref(), Some(want), "{document}");
        }
        assert_eq!(complaint(b" {\"a\": [1, {\"b\": []}, \"\\u00e9\"]} "), None);
    }
}
