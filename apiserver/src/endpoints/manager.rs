//! The name that a write's fields are owned under: `?fieldManager=`, or the program in `User-Agent`.

use api_types::field::{ErrorList, Path};
use api_types::kinds::object_meta::{MAX_MANAGER, is_print, manager};
use api_types::status::Status;

use crate::request::query::{Query, invalid_options};

/// The manager behind a request with these `options`.
pub fn of(query: &Query, options: &str, user_agent: &str) -> Result<String, Status> {
    let Some(name) = query.get("fieldManager") else { return Ok(program(user_agent)) };
    let mut errors = ErrorList::new();
    manager(name, &Path::new("fieldManager"), &mut errors);
    if errors.is_empty() {
        return Ok(name.to_owned());
    }
    Err(invalid_options(options, |e| *e = errors))
}

/// Only an apply may force.
pub fn no_force(query: &Query) -> Result<(), Status> {
    if query.optional_flag("force").is_none() {
        return Ok(());
    }
    Err(invalid_options("PatchOptions", |e| {
        e.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
    }))
}

/// An apply must name its manager.
pub fn required(query: &Query) -> Result<(), Status> {
    if query.get("fieldManager").is_some() {
        return Ok(());
    }
    Err(invalid_options("PatchOptions", |e| {
        e.required(&Path::new("fieldManager"), "is required for apply patch");
    }))
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
        let long = "x".repeat(129);
        for (query, agent, want) in [
            ("fieldManager=me", "kubectl/v1.36.0 (linux/amd64)", Ok("me")),
            ("", "kubectl/v1.36.0 (linux/amd64)", Ok("kubectl")),
            ("fieldManager=", "kube-controller-manager", Ok("kube-controller-manager")),
            ("", "", Ok("")),
            ("", "a\tb/c", Ok("ab")),
            (
                "fieldManager=a%09b",
                "",
                Err(
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\tb\": invalid character U+0009 (at position 1)",
                ),
            ),
        ] {
            let got = of(&Query::parse(Some(query)), "PatchOptions", agent);
            assert_eq!(got.as_deref().map_err(|e| e.message.as_str()), want, "{query} {agent}");
        }
        let e = of(&Query::parse(Some(&format!("fieldManager={long}"))), "UpdateOptions", "").unwrap_err();
        assert!(e.message.ends_with("fieldManager: Too long: may not be more than 128 bytes"), "{e}");
        assert_eq!(of(&Query::default(), "", &long).unwrap().len(), MAX_MANAGER);
    }

    #[test]
    fn options_of_patches() {
        assert!(no_force(&Query::parse(Some("fieldManager=a"))).is_ok());
        assert_eq!(
            no_force(&Query::parse(Some("force=false"))).unwrap_err().message,
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
        );
        assert_eq!(
            required(&Query::default()).unwrap_err().message,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
    }
}
