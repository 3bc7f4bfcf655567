//! Where links of proxied pages lead: what stays on the page's own host goes on through the proxy.
//!
//! Rules: upstream's `apimachinery/pkg/util/proxy/transport.go`. Links are changed as text, so that what is not
//! changed stays as it was written.

/// A proxy, as the pages behind it see it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The path that leads to the backend's root.
    pub prefix: String,
    /// Host and port of the backend.
    pub place: String,
    /// Host and port that the client has asked.
    pub asked: Option<String>,
}

/// The parts of a link.
struct Link<'a> {
    /// Scheme and host, as they are written.
    origin: &'a str,
    host: &'a str,
    path: &'a str,
    /// Query and fragment.
    rest: &'a str,
}

impl<'a> Link<'a> {
    /// Of what is a link; `None` for what is not to be touched.
    fn of(text: &'a str) -> Option<Self> {
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return None;
        }
        let (scheme, after) = match text.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => (scheme.len() + 1, after),
            _ => (0, text),
        };
        let (host, after) = match after.strip_prefix("//") {
            Some(after) => after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len())),
            None => ("", after),
        };
        let origin = &text[..text.len() - after.len()];
        // A scheme without a host (`mailto:`, `javascript:`) has no path of ours.
        if scheme > 0 && host.is_empty() {
            return None;
        }
        let (path, rest) = after.split_at(after.find(['?', '#']).unwrap_or(after.len()));
        Some(Self { origin, host, path, rest })
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

impl Proxy {
    /// Where a link must lead instead; `None` when it leads where it should.
    pub fn rewritten(&self, link: &str) -> Option<String> {
        let Link { origin, host, path, rest } = Link::of(link)?;
        let asked = self.asked.as_deref();
        if !host.is_empty() && host != self.place && Some(host) != asked || !path.starts_with('/') {
            return None;
        }
        // The client's own host may stay; the backend's is none the client can reach.
        let origin = if !host.is_empty() && Some(host) == asked { origin } else { "" };
        let path = if path.starts_with(&self.prefix) { path.to_owned() } else { joined(&self.prefix, path) };
        let led = format!("{origin}{path}{rest}");
        (led != link).then_some(led)
    }

    /// The path of a request as it came to the proxy.
    pub fn forwarded(&self, path: &str) -> String {
        joined(&self.prefix, path)
    }
}

/// A path below another, without detours, and with its slash at the end.
fn joined(prefix: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut all = format!("/{}", parts.join("/"));
    if path.ends_with('/') && !all.ends_with('/') {
        all.push('/');
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_behind_the_proxy() {
        let proxy = Proxy {
            prefix: "/p/proxy".into(),
            place: "10.0.0.1:80".into(),
            asked: Some("localhost:8001".into()),
        };
        for (link, led) in [
            ("/a", "/p/proxy/a"),
            ("/", "/p/proxy/"),
            ("/a/", "/p/proxy/a/"),
            ("/a//b/../c?x=/y#/z", "/p/proxy/a/c?x=/y#/z"),
            ("/../../a", "/a"),
            ("/p/proxy/a", "/p/proxy/a"),
            ("http://10.0.0.1:80/b?c", "/p/proxy/b?c"),
            ("https://10.0.0.1:80/b", "/p/proxy/b"),
            ("//10.0.0.1:80/b", "/p/proxy/b"),
            ("http://10.0.0.1:80/p/proxy/b", "/p/proxy/b"),
            ("http://localhost:8001/b", "http://localhost:8001/p/proxy/b"),
            ("http://localhost:8001/p/proxy/b", "http://localhost:8001/p/proxy/b"),
            ("http://elsewhere/b", "http://elsewhere/b"),
            ("//elsewhere/b", "//elsewhere/b"),
            ("http://10.0.0.1:80", "http://10.0.0.1:80"),
            ("b/c", "b/c"),
            ("../b", "../b"),
            ("#top", "#top"),
            ("?q=/a", "?q=/a"),
            ("", ""),
            ("mailto:/a@b", "mailto:/a@b"),
            ("javascript:go('/a')", "javascript:go('/a')"),
            ("/a\nb", "/a\nb"),
        ] {
            assert_eq!(proxy.rewritten(link).as_deref().unwrap_or(link), led, "{link}");
        }
    }
}
