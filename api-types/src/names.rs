//! The name formats of upstream's `apimachinery/pkg/util/validation`, with its messages.
//!
//! Each function gives the reasons why a text is refused; an empty list accepts it.

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// The shape of a DNS label, lengths aside: alphanumerics at the ends, `-` allowed between.
fn label_shape(s: &str) -> bool {
    let b = s.as_bytes();
    let (Some(first), Some(last)) = (b.first(), b.last()) else { return false };
    lower_alnum(*first) && lower_alnum(*last) && b.iter().all(|c| lower_alnum(*c) || *c == b'-')
}

/// A label's key or value is longer than allowed: newer functions of upstream's count bytes.
fn max_bytes_error(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

/// A text is longer than allowed.
pub fn max_len_error(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn regex_error(message: &str, format: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}'")).collect();
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{format}')");
    }
    let joined = examples.join(" or ").replace(" or ", ",  or ");
    format!("{message} (e.g. {joined}, regex used for validation is '{format}')")
}

/// RFC 1123 label, at most 63 characters: names of namespaces, containers, ports.
pub fn dns1123_label(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 63 {
        errors.push(max_len_error(63));
    }
    if !label_shape(s) {
        if subdomain_shape(s) {
            errors.push("must not contain dots".into());
        } else {
            errors.push(regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FMT,
                &["my-name", "123-abc"],
            ));
        }
    }
    errors
}

fn subdomain_shape(s: &str) -> bool {
    !s.is_empty() && s.split('.').all(label_shape)
}

/// RFC 1123 subdomain, at most 253 characters: names of most objects.
pub fn dns1123_subdomain(s: &str) -> Vec<String> {
    subdomain(s, max_len_error)
}

fn subdomain(s: &str, too_long: fn(usize) -> String) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 253 {
        errors.push(too_long(253));
    }
    if !subdomain_shape(s) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FMT,
            &["example.com"],
        ));
    }
    errors
}

/// RFC 1123 subdomain with underscores: search paths of resolvers.
pub fn dns1123_subdomain_with_underscore(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 253 {
        errors.push(max_len_error(253));
    }
    // One may come first, and the others anywhere but last.
    let label = |l: &str| {
        let b = l.strip_prefix('_').unwrap_or(l).as_bytes();
        b.first().is_some_and(|c| lower_alnum(*c))
            && b.last().is_some_and(|c| lower_alnum(*c))
            && b.iter().all(|c| lower_alnum(*c) || matches!(c, b'-' | b'_'))
    };
    if !s.split('.').all(label) {
        let format = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            format,
            &["example.com"],
        ));
    }
    errors
}

/// RFC 1035 label, at most 63 characters: names of services.
pub fn dns1035_label(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 63 {
        errors.push(max_len_error(63));
    }
    if !label_shape(s) || !s.as_bytes()[0].is_ascii_lowercase() {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

fn qualified_shape(s: &str) -> bool {
    let b = s.as_bytes();
    let (Some(first), Some(last)) = (b.first(), b.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// A key of labels and annotations: an optional DNS prefix, a slash, and a name of at most 63 characters.
pub fn qualified_name(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = s.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".into());
            } else {
                errors.extend(
                    subdomain(prefix, max_bytes_error).into_iter().map(|e| format!("prefix part {e}")),
                );
            }
            *name
        }
        _ => {
            let shape = regex_error(
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_FMT,
                &["MyName", "my.name", "123-abc"],
            );
            errors.push(format!(
                "{shape} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", max_bytes_error(63)));
    }
    if !qualified_shape(name) {
        errors.push(format!(
            "name part {}",
            regex_error(
                "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_FMT,
                &["MyName", "my.name", "123-abc"],
            )
        ));
    }
    errors
}

/// The value of a label: empty, or alphanumeric at its ends, at most 63 characters.
pub fn label_value(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 63 {
        errors.push(max_bytes_error(63));
    }
    if !s.is_empty() && !qualified_shape(s) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 253 {
        errors.push(max_len_error(253));
    }
    if s.is_empty() || !s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        errors.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if s == "." {
        errors.push("must not be '.'".into());
    } else if s == ".." {
        errors.push("must not be '..'".into());
    } else if s.starts_with("..") {
        errors.push("must not start with '..'".into());
    }
    errors
}

/// The name of an environment variable, in the relaxed form that 1.34 made the default: printable ASCII but `=`.
pub fn env_var_name(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.is_empty() {
        errors.push("environment variable name must be non-empty".into());
    } else if !s.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        errors.push(regex_error(
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
            "^[ -<>-~]+$",
            &[],
        ));
    }
    errors
}

/// The name of a port: a lower-case IANA service name.
pub fn port_name(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 15 {
        errors.push("must be no more than 15 characters".into());
    }
    if s.is_empty() || !s.bytes().all(|b| lower_alnum(b) || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !s.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".into());
    }
    if s.contains("--") {
        errors.push("must not contain consecutive hyphens".into());
    }
    if s.starts_with('-') || s.ends_with('-') {
        errors.push("must not begin or end with a hyphen".into());
    }
    errors
}

/// A number a port can have.
pub fn port_number(n: i64) -> Vec<String> {
    if (1..=65535).contains(&n) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

/// A name usable as one element of a URL path: RBAC objects.
pub fn path_segment(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s == "." || s == ".." {
        return vec![format!("may not be '{s}'")];
    }
    for c in ["/", "%"] {
        if s.contains(c) {
            errors.push(format!("may not contain '{c}'"));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            dns1123_subdomain("Bad_Name"),
            vec![
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), vec!["must not contain dots"]);
        assert!(
            label_value("no spaces")[0]
                .contains("(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is")
        );
        assert!(qualified_name("example.com/name").is_empty());
        assert_eq!(qualified_name("/name"), vec!["prefix part must be non-empty"]);
        assert_eq!(label_value(&"x".repeat(64)), vec!["must be no more than 63 bytes"]);
        assert_eq!(qualified_name(&"x".repeat(64)), vec!["name part must be no more than 63 bytes"]);
        let prefix = format!("{}/n", "x".repeat(254));
        assert_eq!(qualified_name(&prefix), vec!["prefix part must be no more than 253 bytes"]);
        assert!(dns1123_subdomain_with_underscore("_tcp.a_b").is_empty());
        assert_eq!(
            dns1123_subdomain_with_underscore("a_"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert!(dns1035_label("1abc").len() == 1);
        assert!(config_map_key("a.b_c-D").is_empty());
        assert_eq!(config_map_key("..a"), vec!["must not start with '..'"]);
        assert_eq!(port_name("80"), vec!["must contain at least one letter (a-z)"]);
    }
}
