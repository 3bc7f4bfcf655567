//! The name that a write's fields are owned under: `?fieldManager=`, or the program in `User-Agent`.

use api_types::kinds::object_meta::{MAX_MANAGER, is_print};

use crate::request::query::Query;

/// The manager behind a request.
pub fn of(query: &Query, user_agent: &str) -> String {
    query.get("fieldManager").map_or_else(|| program(user_agent), str::to_owned)
}

/// What a `User-Agent` says before its first slash.
fn program(user_agent: &str) -> String {
    let mut out = String::new();
    for c in user_agent.split('/').next().unwrap_or("").chars().filter(|c| is_print(*c)) {
        if out.len() + c.len_utf8() > MAX_MANAGER {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (query, agent, want) in [
            ("fieldManager=me", "kubectl/v1.36.0 (linux/amd64)", "me"),
            ("", "kubectl/v1.36.0 (linux/amd64)", "kubectl"),
            ("fieldManager=", "kube-controller-manager", "kube-controller-manager"),
            ("", "", ""),
            ("", "a\tb/c", "ab"),
        ] {
            assert_eq!(of(&Query::parse(Some(query)), agent), want, "{query} {agent}");
        }
        assert_eq!(of(&Query::default(), &"x".repeat(129)).len(), MAX_MANAGER);
    }
}
