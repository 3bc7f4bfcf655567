//! Who makes an admission policy, or binds one, can read its parameters. Upstream checks this at the end of the
//! validation of policies and bindings; it is the same moment.

use std::sync::Arc;

use api_types::catalog;
use api_types::field::{ErrorList, Path};
use api_types::meta::{self, str_at};
use api_types::status::Status;
use serde_json::Value;

use super::{Attributes, Operation};
use crate::authn::UserInfo;
use crate::authn::user::SYSTEM_MASTERS;
use crate::authz::{self, Authorization, Authorizer};
use crate::registry::{Registry, parse_stored};

pub struct PolicyParams(pub Arc<Authorization>);

const GROUP: &str = "admissionregistration.k8s.io";

/// The resources that parameters are, as a role names them; `*` is any.
struct Parameters {
    group: String,
    version: String,
    resource: String,
    /// Why it is not known which they are.
    unknown: Option<String>,
}

impl PolicyParams {
    /// Refuses a policy or a binding whose parameters its writer cannot read.
    pub fn check(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if a.kind.group != GROUP || a.operation == Operation::Delete || !a.subresource.is_empty() {
            return Ok(());
        }
        let (field, refusal) = match a.kind.plural {
            "validatingadmissionpolicies" | "mutatingadmissionpolicies" => ("paramKind", self.policy(a)),
            "validatingadmissionpolicybindings" => {
                ("paramRef", self.binding(registry, a, "validatingadmissionpolicies"))
            }
            "mutatingadmissionpolicybindings" => {
                ("paramRef", self.binding(registry, a, "mutatingadmissionpolicies"))
            }
            _ => return Ok(()),
        };
        let Some(refusal) = refusal.filter(|_| !a.user.is_in(SYSTEM_MASTERS)) else { return Ok(()) };
        let mut errors = ErrorList::new();
        errors.forbidden(&Path::new("spec").child(field), refusal);
        Err(Status::invalid(a.kind.group, a.kind.kind, &a.name, &errors))
    }

    fn policy(&self, a: &Attributes<'_>) -> Option<String> {
        let kind = param_kind(a.object)?;
        if a.old.and_then(param_kind) == Some(kind) {
            return None;
        }
        let all = Parameters::of(Some(kind));
        if self.may(a.user, "get", &all, "*", "*") {
            return None;
        }
        Some(format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
            shown(a.user),
            str_at(kind, &["kind"]),
            str_at(kind, &["apiVersion"])
        ))
    }

    /// Upstream compares references as Go does pointers: every update counts as a change.
    fn binding(&self, registry: &Registry, a: &Attributes<'_>, policies: &str) -> Option<String> {
        let reference = meta::at(a.object, &["spec", "paramRef"]).filter(|r| r.is_object())?;
        let name = str_at(reference, &["name"]);
        let verb = if name.is_empty() { "list" } else { "get" };
        let policy_name = str_at(a.object, &["spec", "policyName"]);
        let policy = catalog::by_resource(GROUP, "v1", policies)
            .and_then(|kind| registry.peek(kind, "", policy_name))
            .and_then(|stored| parse_stored(&stored.bytes).ok());
        let kind = policy.as_ref().and_then(param_kind);
        let parameters = Parameters::of(kind);
        if self.may(a.user, verb, &parameters, str_at(reference, &["namespace"]), name) {
            return None;
        }
        let user = shown(a.user);
        let any = format!(
            "to determine minimum required permissions and user {user} does not have \"{verb}\" permission for all groups, versions and resources"
        );
        Some(match (&policy, parameters.unknown, a.kind.kind) {
            (None, _, _) => format!("unable to get policy {policy_name} {any}"),
            (Some(_), Some(why), _) => format!("{why} {any}"),
            // Upstream says the two words in the wrong order here.
            (_, None, "MutatingAdmissionPolicyBinding") => format!(
                "user {verb} does not have \"{user}\" permission on the object referenced by paramRef"
            ),
            _ => format!(
                "user {user} does not have \"{verb}\" permission on the object referenced by paramRef"
            ),
        })
    }

    fn may(&self, user: &UserInfo, verb: &str, what: &Parameters, namespace: &str, name: &str) -> bool {
        let attributes = authz::Attributes::resource(user, verb, &what.group, &what.version, &what.resource);
        self.0.authorize(&attributes.in_namespace(namespace).named(name)).is_allowed()
    }
}

impl Parameters {
    /// Those of a kind; any where that is not known.
    fn of(kind: Option<&Value>) -> Self {
        let any = || "*".to_owned();
        let mut all = Self { group: any(), version: any(), resource: any(), unknown: None };
        let Some(param_kind) = kind else { return all };
        let (api_version, kind) = (str_at(param_kind, &["apiVersion"]), str_at(param_kind, &["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        all.group = group.to_owned();
        all.version = version.to_owned();
        match catalog::by_kind(group, version, kind) {
            Some(known) => all.resource = known.plural.to_owned(),
            None => all.unknown = Some(format!("unable to resolve paramKind &{{{api_version} {kind}}}")),
        }
        all
    }
}

fn param_kind(policy: &Value) -> Option<&Value> {
    meta::at(policy, &["spec", "paramKind"]).filter(|k| k.is_object())
}

/// A user as Go prints one.
fn shown(user: &UserInfo) -> String {
    let extra: Vec<String> = user.extra.iter().map(|(k, v)| format!("{k}:[{}]", v.join(" "))).collect();
    let groups = user.groups.join(" ");
    format!("&{{{} {} [{groups}] map[{}]}}", user.name, user.uid, extra.join(" "))
}
