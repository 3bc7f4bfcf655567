//! URLs as Go reads them (`net/url`): a text that its parser refuses is refused here, in its words.

/// The parts of a URL that rules look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case; empty where there is none.
    pub scheme: String,
    /// What stands before the `@`.
    pub user: Option<String>,
    /// With its port.
    pub host: String,
    /// What follows `?`.
    pub query: String,
    /// What follows `#`.
    pub fragment: String,
}

const FORBIDDEN: &str = "net/url: invalid control character in URL";

impl Url {
    /// Reads a URL; a failure is Go's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = read(address, false).map_err(|why| format!("parse {address:?}: {why}"))?;
        escapes(fragment).map_err(|why| format!("parse {text:?}: {why}"))?;
        url.fragment = fragment.to_owned();
        Ok(url)
    }

    /// Reads what a request would name: a path, or a whole URL. Fragments are part of the path.
    pub fn parse_request(text: &str) -> Result<Self, String> {
        read(text, true).map_err(|why| format!("parse {text:?}: {why}"))
    }
}

fn read(text: &str, request: bool) -> Result<Url, String> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(FORBIDDEN.into());
    }
    if text.is_empty() && request {
        return Err("empty url".into());
    }
    let mut url = Url::default();
    if text == "*" {
        return Ok(url);
    }
    let (scheme, rest) = scheme(text)?;
    url.scheme = scheme.to_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_owned();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            // Nothing more is read of `mailto:a@b`.
            return Ok(url);
        }
        if request {
            return Err("invalid URI for request".into());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let mut path = rest;
    let has_authority = !scheme.is_empty() || (!request && !rest.starts_with("///"));
    if let Some(authority) = rest.strip_prefix("//").filter(|_| has_authority) {
        let end = authority.find('/').unwrap_or(authority.len());
        path = &authority[end..];
        (url.user, url.host) = read_authority(&authority[..end])?;
    }
    escapes(path)?;
    Ok(url)
}

/// The scheme and what follows it; no scheme where the first colon does not end one.
fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..i], &text[i + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn read_authority(authority: &str) -> Result<(Option<String>, String), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let port = match host.strip_prefix('[') {
        Some(_) => {
            let end = host.rfind(']').ok_or("missing ']' in host")?;
            &host[end + 1..]
        }
        None => host.rfind(':').map_or("", |i| &host[i..]),
    };
    let digits = port.strip_prefix(':').unwrap_or("");
    if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {port:?} after host"));
    }
    host_characters(host)?;
    if let Some(user) = user {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(allowed) {
            return Err("net/url: invalid userinfo".into());
        }
        escapes(user)?;
    }
    Ok((user.map(str::to_owned), host.to_owned()))
}

/// Only bytes beyond ASCII may be escaped in a host, and the `%` before a zone.
fn host_characters(host: &str) -> Result<(), String> {
    escapes(host)?;
    for (i, _) in host.match_indices('%') {
        let escape = &host[i..i + 3];
        if escape != "%25" && escape.as_bytes()[1] < b'8' {
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    let allowed =
        |c: &char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!$&'()*+,;=:[]<>\"-_.~%".contains(*c);
    match host.chars().find(|c| !allowed(c)) {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(()),
    }
}

/// Every `%` must be followed by two hexadecimal digits.
fn escapes(text: &str) -> Result<(), String> {
    for (i, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(i + 1..i + 3);
        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            let escape: String = text[i..].chars().take(3).collect();
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_urls() {
        for (text, why) in [
            (":a", "missing protocol scheme"),
            ("a\tb", FORBIDDEN),
            ("1:b", "first path segment in URL cannot contain colon"),
            ("https://a:b", "invalid port \":b\" after host"),
            ("https://[::1", "missing ']' in host"),
            ("https://a b", "invalid character \" \" in host name"),
            ("https://a%41", "invalid URL escape \"%41\""),
            ("https://a/%zz", "invalid URL escape \"%zz\""),
            ("https://u ser@a", "net/url: invalid userinfo"),
        ] {
            assert_eq!(Url::parse(text), Err(format!("parse {text:?}: {why}")), "{text}");
        }
        let refused = |text| Url::parse_request(text).unwrap_err();
        assert_eq!(refused(""), "parse \"\": empty url");
        assert_eq!(refused("a"), "parse \"a\": invalid URI for request");
    }

    #[test]
    fn parts() {
        let url = Url::parse("HTTPS://u:p@[::1]:8443/a%20b?c=d#e").unwrap();
        assert_eq!(url.scheme, "https");
        assert_eq!(url.user.as_deref(), Some("u:p"));
        assert_eq!(url.host, "[::1]:8443");
        assert_eq!((url.query.as_str(), url.fragment.as_str()), ("c=d", "e"));
        assert_eq!(Url::parse("mailto:a@b").unwrap().host, "");
        assert_eq!(Url::parse("https://ü%C3%BC/?").unwrap().query, "");
        assert!(Url::parse_request("/a#b").is_ok());
    }
}
