//! The identity of a request, and the names that have a meaning of their own.

use std::collections::BTreeMap;

use api_types::catalog::Requester;

/// Every authenticated request's group.
pub const ALL_AUTHENTICATED: &str = "system:authenticated";
/// Every anonymous request's group.
pub const ALL_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of the anonymous user.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group that may do everything.
pub const SYSTEM_MASTERS: &str = "system:masters";
/// The group of node agents.
pub const NODES: &str = "system:nodes";
/// What a node agent's user name starts with.
pub const NODE_PREFIX: &str = "system:node:";
/// What a service account's user name starts with.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// The group of all service accounts.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// Who makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The unique name.
    pub name: String,
    /// An identifier that is not reused; often empty.
    pub uid: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Whatever else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// As the strategies of kinds see it.
    #[must_use]
    pub fn as_requester(&self) -> Requester<'_> {
        Requester { name: &self.name, uid: &self.uid, groups: &self.groups, extra: &self.extra }
    }

    /// A user with these groups and that of all authenticated users.
    #[must_use]
    pub fn authenticated(name: impl Into<String>, mut groups: Vec<String>) -> Self {
        if !groups.iter().any(|group| group == ALL_AUTHENTICATED) {
            groups.push(ALL_AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// This API server itself, as upstream's is called.
    #[must_use]
    pub fn api_server() -> Self {
        Self::authenticated("system:apiserver", vec![SYSTEM_MASTERS.to_owned()])
    }

    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![ALL_UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// Whether it is in `group`.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node it is the agent of: in the nodes' group and named for a node. The name may be empty.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        let node = self.name.strip_prefix(NODE_PREFIX)?;
        self.is_in(NODES).then_some(node)
    }
}

/// Namespace and name of the service account whose user name this is.
#[must_use]
pub fn split_service_account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let valid = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
    valid.then_some((namespace, name))
}

/// The groups of a service account of `namespace`.
#[must_use]
pub fn service_account_groups(namespace: &str) -> [String; 2] {
    [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_need_name_and_group() {
        let node = |name: &str, group: &str| {
            UserInfo::authenticated(name, vec![group.to_owned()]).node().map(str::to_owned)
        };
        assert_eq!(node("system:node:a", "system:nodes"), Some("a".to_owned()));
        assert_eq!(node("system:node:", "system:nodes"), Some(String::new()));
        assert_eq!(node("system:node:a", "other"), None);
        assert_eq!(node("a", "system:nodes"), None);
    }

    #[test]
    fn service_account_names_are_taken_apart() {
        assert_eq!(split_service_account("system:serviceaccount:ns:a"), Some(("ns", "a")));
        for bad in [
            "system:serviceaccount:ns",
            "system:serviceaccount::a",
            "system:serviceaccount:ns:",
            "x",
            "system:serviceaccount:ns:a:b",
        ] {
            assert_eq!(split_service_account(bad), None, "{bad}");
        }
    }
}
