//! Acting as somebody else: the `Impersonate-*` headers, each part of which must be allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;

use super::user::{
    ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, UserInfo, service_account_groups,
    split_service_account,
};
use crate::authz::{Attributes, Authorizer, Decision, Forbidden};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Why a request may not act as somebody else.
#[derive(Debug, thiserror::Error)]
pub enum ImpersonationError {
    /// The headers make no sense: answer 500 with this text, as upstream does.
    #[error("{0}")]
    Invalid(String),
    /// A part is not allowed: answer 403.
    #[error("impersonation is forbidden")]
    Forbidden(Forbidden),
}

/// The headers of impersonation, to be removed before the request is handled.
#[must_use]
pub fn is_impersonation_header(name: &str) -> bool {
    matches!(name, USER | GROUP | UID) || name.starts_with(EXTRA_PREFIX)
}

/// Who the request is to be made as; `None` if it does not impersonate.
pub fn impersonate(
    user: &Arc<UserInfo>,
    headers: &HeaderMap,
    authorizer: &dyn Authorizer,
) -> Result<Option<Arc<UserInfo>>, ImpersonationError> {
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let (name, mut groups, uid) = (one(USER), all(GROUP), one(UID));
    let extra = extra(headers);
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(ImpersonationError::Invalid(format!(
            "requested {} without impersonating a user",
            if groups.is_empty() { if uid.is_empty() { "extra" } else { "uid" } } else { "groups" }
        )));
    }
    let ask = |attributes: Attributes<'_>| allowed(authorizer, &attributes);
    let base = |group, resource| Attributes::resource(user, "impersonate", group, "v1", resource);
    let service_account = split_service_account(&name);
    match service_account {
        Some((namespace, name)) => ask(base("", "serviceaccounts").in_namespace(namespace).named(name))?,
        None => ask(base("", "users").named(&name))?,
    }
    for group in &groups {
        ask(base("", "groups").named(group))?;
    }
    for (key, values) in &extra {
        for value in values {
            ask(base(AUTHENTICATION, "userextras").with_subresource(key).named(value))?;
        }
    }
    if !uid.is_empty() {
        ask(base(AUTHENTICATION, "uids").named(&uid))?;
    }
    if let (Some((namespace, _)), true) = (service_account, groups.is_empty()) {
        groups.extend(service_account_groups(namespace));
    }
    let everybody = if name == ANONYMOUS { ALL_UNAUTHENTICATED } else { ALL_AUTHENTICATED };
    if !groups.iter().any(|group| group == ALL_AUTHENTICATED || group == ALL_UNAUTHENTICATED) {
        groups.push(everybody.to_owned());
    }
    Ok(Some(Arc::new(UserInfo { name, uid, groups, extra })))
}

fn allowed(authorizer: &dyn Authorizer, attributes: &Attributes<'_>) -> Result<(), ImpersonationError> {
    match authorizer.authorize(attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => {
            Err(ImpersonationError::Forbidden(Forbidden::new(attributes, &reason)))
        }
    }
}

/// Keys are lower case and percent-encoded.
fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            extra.entry(unescape(key)).or_default().push(value);
        }
    }
    extra
}

/// Percent-decoding; a key that cannot be decoded is taken as it is.
fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    after
                }
                _ => return key.to_owned(),
            },
            (b'%', _) => return key.to_owned(),
            _ => {
                bytes.push(first);
                after
            }
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows what is listed as `group/resource[/subresource] namespace/name`.
    struct Listed(Vec<&'static str>);

    impl Authorizer for Listed {
        fn authorize(&self, a: &Attributes<'_>) -> Decision {
            assert_eq!(a.verb, "impersonate");
            let subresource =
                if a.subresource.is_empty() { String::new() } else { format!("/{}", a.subresource) };
            let asked = format!("{}/{}{subresource} {}/{}", a.api_group, a.resource, a.namespace, a.name);
            if self.0.contains(&asked.as_str()) {
                Decision::ALLOW
            } else {
                Decision::NoOpinion(String::new())
            }
        }
    }

    fn run(
        headers: &[(&'static str, &str)],
        allowed: &[&'static str],
    ) -> Result<Option<Arc<UserInfo>>, ImpersonationError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let admin = Arc::new(UserInfo::authenticated("admin", Vec::new()));
        impersonate(&admin, &map, &Listed(allowed.to_vec()))
    }

    #[test]
    fn without_headers_nothing_happens() {
        assert!(run(&[], &[]).unwrap().is_none());
    }

    #[test]
    fn every_part_is_authorized() {
        let headers = [
            ("impersonate-user", "jane"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "u1"),
            ("impersonate-extra-acme.com%2fproject", "p1"),
        ];
        let rights = [
            "/users /jane",
            "/groups /dev",
            "/groups /ops",
            "authentication.k8s.io/uids /u1",
            "authentication.k8s.io/userextras/acme.com/project /p1",
        ];
        let user = run(&headers, &rights).unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "u1"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["acme.com/project"], ["p1"]);
        for missing in 0..rights.len() {
            let some: Vec<_> =
                rights.iter().copied().enumerate().filter(|(i, _)| *i != missing).map(|(_, r)| r).collect();
            assert!(
                matches!(run(&headers, &some), Err(ImpersonationError::Forbidden(_))),
                "without {}",
                rights[missing]
            );
        }
    }

    #[test]
    fn service_accounts_get_their_groups() {
        let user = run(&[("impersonate-user", "system:serviceaccount:ns:sa")], &["/serviceaccounts ns/sa"]);
        let groups = user.unwrap().unwrap().groups.clone();
        assert_eq!(groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    }

    #[test]
    fn anonymous_stays_unauthenticated() {
        let user =
            run(&[("impersonate-user", "system:anonymous")], &["/users /system:anonymous"]).unwrap().unwrap();
        assert_eq!(user.groups, ["system:unauthenticated"]);
    }

    #[test]
    fn parts_without_a_user_are_invalid() {
        for header in ["impersonate-group", "impersonate-uid", "impersonate-extra-x"] {
            assert!(matches!(run(&[(header, "x")], &[]), Err(ImpersonationError::Invalid(_))), "{header}");
        }
    }

    #[test]
    fn keys_are_unescaped() {
        assert_eq!(unescape("a%2fb"), "a/b");
        for odd in ["a%2", "a%zz", "%", "plain"] {
            assert_eq!(unescape(odd), odd);
        }
    }
}
