//! The text format that upstream's server answers in: 0.0.4, where a metric's name is the whole name.
//!
//! The encoder writes OpenMetrics, whose counters lack their suffix in the lines that describe them, and which has no
//! name for the counters that upstream called otherwise.

/// Counters without the suffix, as upstream named them before it was the custom.
const BARE: [&str; 2] = ["authentication_attempts", "authenticated_user_requests"];

/// What a scrape is answered as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of the encoder in upstream's format.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut described: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            described = Some((name, help));
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" && !BARE.contains(&name) { "_total" } else { "" };
            if let Some((_, help)) = described.take().filter(|(of, _)| *of == name) {
                push(&mut out, &["# HELP ", name, suffix, " ", help, "\n"]);
            }
            push(&mut out, &["# TYPE ", name, suffix, " ", kind, "\n"]);
            continue;
        }
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let bare = BARE.iter().find_map(|name| {
            let rest = line.strip_prefix(name)?.strip_prefix("_total")?;
            Some((*name, rest))
        });
        match (bare, bound(line)) {
            (Some((name, rest)), _) => push(&mut out, &[name, rest, "\n"]),
            (_, Some((before, bound, after))) => push(&mut out, &[before, &go_float(bound), after, "\n"]),
            _ => push(&mut out, &[line, "\n"]),
        }
    }
    out
}

/// The upper bound in a line of a histogram, and what is around it.
fn bound(line: &str) -> Option<(&str, f64, &str)> {
    const LE: &str = "_bucket{le=\"";
    let start = line.find(LE)? + LE.len();
    let end = start + line[start..].find('"')?;
    let bound: f64 = line[start..end].parse().ok()?;
    bound.is_finite().then(|| (&line[..start], bound, &line[end..]))
}

/// A positive number as Go writes it, as short as can be.
fn go_float(number: f64) -> String {
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if number >= 1e6 && digits.len() <= 6 => format!("{digits}e+{exponent:0>2}"),
        _ => number.to_string(),
    }
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_go_does() {
        for (bound, text) in [
            (0.005, "0.005"),
            (1.0, "1"),
            (131_072.0, "131072"),
            (1e6, "1e+06"),
            (1e9, "1e+09"),
            (60.0, "60"),
        ] {
            assert_eq!(go_float(bound), text);
        }
        assert_eq!(plain("a_bucket{le=\"1000.0\",x=\"1.0\"} 2"), "a_bucket{le=\"1000\",x=\"1.0\"} 2\n");
        assert_eq!(plain("a_bucket{le=\"+Inf\"} 2"), "a_bucket{le=\"+Inf\"} 2\n");
    }

    #[test]
    fn counters_have_their_whole_name() {
        let open = "# HELP a_requests Requests.\n# TYPE a_requests counter\na_requests_total{x=\"y\"} 1\n\
             # HELP authentication_attempts Tries.\n# TYPE authentication_attempts counter\n\
             authentication_attempts_total{result=\"success\"} 2\n\
             # HELP g Gauge.\n# TYPE g gauge\n# UNIT g bytes\ng 3\n# EOF\n";
        assert_eq!(
            plain(open),
            "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\na_requests_total{x=\"y\"} 1\n\
             # HELP authentication_attempts Tries.\n# TYPE authentication_attempts counter\n\
             authentication_attempts{result=\"success\"} 2\n\
             # HELP g Gauge.\n# TYPE g gauge\ng 3\n"
        );
    }
}
