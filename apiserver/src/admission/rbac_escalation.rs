//! Nobody grants what they do not have. Upstream checks this beside its RBAC storage; it is the same moment.

use std::sync::Arc;

use api_types::meta::str_at;
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, Rounds};
use crate::authz::Authorization;
use crate::authz::rbac::escalation::{EscalationError, RoleWrite, check_binding, check_role};
use crate::authz::rbac::{RoleRef, Rule};
use crate::registry::Registry;

pub struct RbacEscalation(pub Arc<Authorization>);

const GROUP: &str = "rbac.authorization.k8s.io";

#[async_trait]
impl Plugin for RbacEscalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, _registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.kind.group != GROUP || a.operation == Operation::Delete {
            return Ok(());
        }
        // A change that touches neither rules nor subjects grants nothing.
        let same = |f: &str| a.old.is_some_and(|old| old.get(f) == a.object.get(f));
        let checked = match a.kind.plural {
            "roles" | "clusterroles" => {
                if same("rules") && same("aggregationRule") {
                    return Ok(());
                }
                let rules = rules(a.object)?;
                let aggregates = [Some(&*a.object), a.old]
                    .into_iter()
                    .flatten()
                    .any(|o| o.get("aggregationRule").is_some());
                let write = RoleWrite {
                    resource: a.kind.plural,
                    namespace: &a.namespace,
                    name: if a.operation == Operation::Create { "" } else { &a.name },
                    rules: &rules,
                    aggregates,
                };
                check_role(self.0.rbac(), &*self.0, a.user, write)
            }
            _ => {
                if same("roleRef") && same("subjects") {
                    return Ok(());
                }
                let role = RoleRef {
                    kind: str_at(a.object, &["roleRef", "kind"]).to_owned(),
                    name: str_at(a.object, &["roleRef", "name"]).to_owned(),
                };
                check_binding(self.0.rbac(), &*self.0, a.user, &a.namespace, &role)
            }
        };
        checked.map_err(|e| match e {
            EscalationError::Forbidden(text) => a.forbidden(&text),
            EscalationError::RoleNotFound(text) => Status::new(404, "NotFound", text),
        })
    }
}

fn rules(role: &Value) -> Result<Vec<Rule>, Status> {
    match role.get("rules") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(list) => {
            serde_json::from_value(list.clone()).map_err(|e| Status::bad_request(format!("rules: {e}")))
        }
    }
}
