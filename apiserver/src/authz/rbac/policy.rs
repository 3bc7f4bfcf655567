//! Who has which rules: roles by name, and grants by subject.
//!
//! Made of persistent maps: a copy is cheap and shares what a change does not touch.

use std::fmt;
use std::sync::Arc;

use imbl::HashMap;
use serde::Deserialize;

use super::rules::Rule;
use crate::authn::UserInfo;
use crate::authn::user::SERVICE_ACCOUNT_PREFIX;
use crate::authz::forbidden::quote;

/// The role a binding names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A role that a binding names and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRole<'a>(&'a RoleRef);

impl fmt::Display for MissingRole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = if self.0.kind == "ClusterRole" { "clusterrole" } else { "role" };
        write!(f, "{resource}.rbac.authorization.k8s.io {:?} not found", self.0.name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

/// The part of a role or cluster role that matters here.
#[derive(Debug, Deserialize)]
pub struct Role {
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

/// The part of a binding that matters here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
    role_ref: RoleRef,
}

/// One role granted to one subject. Displayed as upstream explains itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The binding's key, so that the grant can be taken back.
    key: Arc<str>,
    /// Shared by all the binding's grants.
    binding: Arc<Binding>,
    subject: usize,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.key.split_once('/').unwrap_or_default();
        match namespace {
            "" => write!(f, "ClusterRoleBinding {}", quote(name))?,
            _ => write!(f, "RoleBinding {}", quote(&format!("{name}/{namespace}")))?,
        }
        let role = &self.binding.role_ref;
        write!(f, " of {} {} to ", role.kind, quote(&role.name))?;
        let Some(subject) = self.binding.subjects.as_ref().and_then(|all| all.get(self.subject)) else {
            return Ok(());
        };
        let of = subject.namespace.as_deref().filter(|of| !of.is_empty()).unwrap_or(namespace);
        match subject.kind.as_str() {
            "ServiceAccount" => write!(f, "ServiceAccount {}", quote(&format!("{}/{of}", subject.name))),
            kind => write!(f, "{kind} {}", quote(&subject.name)),
        }
    }
}

/// What a subject was granted, by the namespace of the binding (empty: everywhere).
type Grants = HashMap<Box<str>, Arc<Vec<Grant>>>;

/// Rules by the name of the role.
type Roles = HashMap<Box<str>, Arc<Vec<Rule>>>;

/// All roles and grants.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    cluster_roles: Roles,
    /// By namespace.
    roles: HashMap<Box<str>, Roles>,
    users: HashMap<Box<str>, Grants>,
    groups: HashMap<Box<str>, Grants>,
    /// Bindings as they were indexed, by `namespace/name`.
    bindings: HashMap<Arc<str>, Arc<Binding>>,
}

impl Policy {
    /// Sets or removes a role; an empty namespace makes it a cluster role.
    pub fn set_role(&mut self, namespace: &str, name: &str, role: Option<Role>) {
        let rules = role.map(|role| Arc::new(role.rules.unwrap_or_default()));
        let map = if namespace.is_empty() {
            &mut self.cluster_roles
        } else {
            self.roles.entry(namespace.into()).or_default()
        };
        match rules {
            Some(rules) => drop(map.insert(name.into(), rules)),
            None => drop(map.remove(name)),
        }
        if !namespace.is_empty() && self.roles.get(namespace).is_some_and(HashMap::is_empty) {
            self.roles.remove(namespace);
        }
    }

    /// Sets or removes a binding; an empty namespace makes it a cluster role binding.
    pub fn set_binding(&mut self, namespace: &str, name: &str, binding: Option<Binding>) {
        let key: Arc<str> = format!("{namespace}/{name}").into();
        if let Some(old) = self.bindings.remove(&key) {
            for subject in old.subjects.iter().flatten() {
                self.grant(namespace, subject, |list| list.retain(|grant| grant.key != key));
            }
        }
        let Some(binding) = binding.map(Arc::new) else { return };
        for (subject, named) in binding.subjects.iter().flatten().enumerate() {
            let grant = Grant { key: key.clone(), binding: binding.clone(), subject };
            self.grant(namespace, named, |list| list.push(grant));
        }
        self.bindings.insert(key, binding);
    }

    /// Forgets all roles or bindings of a kind: namespaced ones, or cluster-wide ones.
    pub fn clear_roles(&mut self, namespaced: bool) {
        if namespaced { self.roles.clear() } else { self.cluster_roles.clear() }
    }

    /// See [`Policy::clear_roles`].
    pub fn clear_bindings(&mut self, namespaced: bool) {
        let of_kind = |key: &&Arc<str>| key.starts_with('/') != namespaced;
        let keys: Vec<Arc<str>> = self.bindings.keys().filter(of_kind).cloned().collect();
        for key in keys {
            if let Some((namespace, name)) = key.split_once('/') {
                self.set_binding(namespace, name, None);
            }
        }
    }

    fn grant(&mut self, namespace: &str, subject: &Subject, change: impl FnOnce(&mut Vec<Grant>)) {
        let (map, name): (_, Box<str>) = match subject.kind.as_str() {
            "User" => (&mut self.users, subject.name.as_str().into()),
            "Group" => (&mut self.groups, subject.name.as_str().into()),
            "ServiceAccount" => {
                let of = subject.namespace.as_deref().filter(|of| !of.is_empty()).unwrap_or(namespace);
                // Without a namespace it is nobody.
                if of.is_empty() {
                    return;
                }
                (&mut self.users, format!("{SERVICE_ACCOUNT_PREFIX}{of}:{}", subject.name).into())
            }
            _ => return,
        };
        let grants = map.entry(name.clone()).or_default();
        let list = Arc::make_mut(grants.entry(namespace.into()).or_default());
        change(list);
        if list.is_empty() {
            grants.remove(namespace);
        }
        if grants.is_empty() {
            map.remove(&name);
        }
    }

    /// The rules of the role that a binding in `namespace` names.
    pub fn resolve<'a>(
        &'a self,
        role: &'a RoleRef,
        namespace: &str,
    ) -> Result<&'a Arc<Vec<Rule>>, MissingRole<'a>> {
        let found = match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(role.name.as_str()),
            _ => self.roles.get(namespace).and_then(|roles| roles.get(role.name.as_str())),
        };
        found.ok_or(MissingRole(role))
    }

    /// Shows every rule that applies to `user` in `namespace`, and every role that is missing, until
    /// `visitor` returns false. Cluster-wide grants come first.
    pub fn visit<'a>(
        &'a self,
        user: &UserInfo,
        namespace: &str,
        mut visitor: impl FnMut(&Grant, Result<&'a Rule, MissingRole<'a>>) -> bool,
    ) {
        let scopes: &[&str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for scope in scopes {
            let own = self.users.get(user.name.as_str());
            let of_groups = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
            for grants in own.into_iter().chain(of_groups) {
                for grant in grants.get(*scope).into_iter().flat_map(|list| list.iter()) {
                    let more = match self.resolve(&grant.binding.role_ref, scope) {
                        Ok(rules) => rules.iter().all(|rule| visitor(grant, Ok(rule))),
                        Err(missing) => visitor(grant, Err(missing)),
                    };
                    if !more {
                        return;
                    }
                }
            }
        }
    }
}
