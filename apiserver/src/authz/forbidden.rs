//! The 403 that upstream would give.

use super::Attributes;

/// What a `Status` of reason `Forbidden` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The message.
    pub message: String,
    /// `details.group`.
    pub group: String,
    /// `details.kind`: the resource.
    pub kind: String,
    /// `details.name`.
    pub name: String,
}

impl Forbidden {
    /// For a request that was not allowed, with the authorizer's reason (may be empty).
    #[must_use]
    pub fn new(attributes: &Attributes<'_>, reason: &str) -> Self {
        let mut cause = sanitize(&cause(attributes));
        if !reason.is_empty() {
            cause = format!("{cause}: {reason}");
        }
        Self::of(attributes.api_group, attributes.resource, attributes.name, &cause)
    }

    /// For an object that may not be written for some other cause.
    #[must_use]
    pub fn of(group: &str, resource: &str, name: &str, cause: &str) -> Self {
        let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {cause}"),
            (false, true) => format!("{qualified} is forbidden: {cause}"),
            (false, false) => format!("{qualified} {} is forbidden: {cause}", quote(name)),
        };
        Self { message, group: group.to_owned(), kind: resource.to_owned(), name: name.to_owned() }
    }
}

fn cause(attributes: &Attributes<'_>) -> String {
    let user = quote(&attributes.user.name);
    let verb = attributes.verb;
    if !attributes.resource_request {
        return format!("User {user} cannot {verb} path {}", quote(attributes.path));
    }
    let resource = match attributes.subresource {
        "" => quote(attributes.resource),
        subresource => quote(&format!("{}/{subresource}", attributes.resource)),
    };
    let what =
        format!("User {user} cannot {verb} resource {resource} in API group {}", quote(attributes.api_group));
    match attributes.namespace {
        "" => format!("{what} at the cluster scope"),
        namespace => format!("{what} in the namespace {}", quote(namespace)),
    }
}

/// Errors must not look like HTML.
fn sanitize(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// As Go's `%q` prints a string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::UserInfo;

    #[test]
    fn says_what_upstream_says() {
        let user = UserInfo { name: "x".into(), ..UserInfo::default() };
        let resource = |group, resource| Attributes::resource(&user, "list", group, "v1", resource);
        let cases = [
            (
                resource("", "pods").in_namespace("default"),
                "",
                r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                resource("apps", "deployments").in_namespace("default").named("web"),
                "",
                r#"deployments.apps "web" is forbidden: User "x" cannot list resource "deployments" in API group "apps" in the namespace "default""#,
            ),
            (
                resource("", "pods").with_subresource("log").named("p").in_namespace("a"),
                "",
                r#"pods "p" is forbidden: User "x" cannot list resource "pods/log" in API group "" in the namespace "a""#,
            ),
            (
                resource("", "nodes"),
                "no reason",
                r#"nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope: no reason"#,
            ),
            (
                Attributes::path(&user, "get", "/metrics"),
                "",
                r#"forbidden: User "x" cannot get path "/metrics""#,
            ),
        ];
        for (attributes, reason, message) in cases {
            assert_eq!(Forbidden::new(&attributes, reason).message, message);
        }
    }

    #[test]
    fn is_not_html() {
        let user = UserInfo { name: "<b>&\"".into(), ..UserInfo::default() };
        let message = Forbidden::new(&Attributes::path(&user, "get", "/"), "").message;
        assert_eq!(message, r#"forbidden: User "&lt;b&gt;&amp;\"" cannot get path "/""#);
    }

    #[test]
    fn details_name_the_object() {
        let user = UserInfo::default();
        let forbidden =
            Forbidden::new(&Attributes::resource(&user, "get", "apps", "v1", "deployments").named("w"), "");
        assert_eq!((&*forbidden.group, &*forbidden.kind, &*forbidden.name), ("apps", "deployments", "w"));
    }
}
