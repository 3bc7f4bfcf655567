//! Regular expressions of schemas: whether Go would take them, in its words where they are short.

use regex::Regex;

/// Why a pattern is no regular expression.
pub fn problem(pattern: &str) -> Option<String> {
    let error = Regex::new(pattern).err()?;
    // One that is merely large is fine.
    let regex::Error::Syntax(text) = error else { return None };
    // The last line of the parser's text tells the reason, those before it show the place.
    let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
    let (words, shown) = match reason {
        "unclosed group" => ("missing closing )", pattern),
        "unopened group" => ("unexpected )", pattern),
        "unclosed character class" => ("missing closing ]", &pattern[pattern.rfind('[').unwrap_or(0)..]),
        "repetition operator missing expression" => {
            let at = pattern.find(['*', '+', '?']).unwrap_or(0);
            ("missing argument to repetition operator", pattern.get(at..=at).unwrap_or(""))
        }
        r if r.contains("look-around") => ("invalid or unsupported Perl syntax", lookaround(pattern)),
        other => (other, pattern),
    };
    Some(format!("error parsing regexp: {words}: `{shown}`"))
}

/// The beginning of the first group that looks ahead or behind, as Go shows it.
fn lookaround(pattern: &str) -> &str {
    let at = pattern.find("(?").unwrap_or(0);
    let length = if pattern[at..].starts_with("(?<") { 4 } else { 3 };
    pattern.get(at..at + length).unwrap_or(&pattern[at..])
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn gos_words() {
        for (pattern, want) in [
            ("^a{1,3}$", None),
            (r"\d+", None),
            ("(a", Some("missing closing ): `(a`")),
            ("a)", Some("unexpected ): `a)`")),
            ("[a", Some("missing closing ]: `[a`")),
            ("*", Some("missing argument to repetition operator: `*`")),
            ("(?=a)", Some("invalid or unsupported Perl syntax: `(?=`")),
        ] {
            let want = want.map(|w| format!("error parsing regexp: {w}"));
            assert_eq!(problem(pattern), want, "{pattern}");
        }
    }
}
