//! One line of a CRI log: `TIMESTAMP STREAM TAGS MESSAGE`.

use jiff::Timestamp;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A parsed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Time as written.
    pub time: &'a str,
    /// Stream.
    pub stream: Stream,
    /// Whether the line goes on in the next record.
    pub partial: bool,
    /// Text without the line end.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Parses a record without its newline; `None` for what is no record.
    pub fn parse(record: &'a [u8]) -> Option<Line<'a>> {
        let mut parts = record.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = match parts.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let tags = parts.next()?;
        let partial = tags.split(|byte| *byte == b':').any(|tag| tag == b"P");
        Some(Line { time, stream, partial, text: parts.next().unwrap_or_default() })
    }

    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let line = Line::parse(b"2016-10-06T00:17:09.669794202Z stdout P a b").unwrap();
        assert_eq!((line.stream, line.partial, line.text), (Stream::Stdout, true, b"a b".as_slice()));
        assert!(line.timestamp().is_some());
        assert_eq!(Line::parse(b"2016-10-06T00:17:09Z stderr F ").unwrap().text, b"");
        assert_eq!(Line::parse(b"2016-10-06T00:17:09Z stderr F").unwrap().text, b"");
        assert!(Line::parse(b"junk").is_none());
    }
}
