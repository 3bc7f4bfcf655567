//! Descriptions of types and fields, as `k8s-openapi` carries them.

use std::collections::HashMap;

use api_types::catalog::Kind;
use k8s_openapi::api::{apps, authentication, authorization, coordination, core, discovery, events, rbac};
use schemars::SchemaGenerator;
use serde_json::Value;

/// Descriptions by full type name.
pub struct Descriptions(HashMap<String, Value>);

impl Descriptions {
    /// Those of these kinds and of all they refer to.
    pub fn of(kinds: &[&'static Kind]) -> Self {
        let mut generator = SchemaGenerator::default();
        for k in kinds {
            add(k.type_name, &mut generator);
        }
        let definitions = generator.take_definitions(true);
        Self(definitions.into_iter().collect())
    }

    /// The description of a type.
    pub fn of_type(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.get("description")?.as_str()
    }

    /// The description of a field.
    pub fn field(&self, name: &str, field: &str) -> Option<&str> {
        self.0.get(name)?.get("properties")?.get(field)?.get("description")?.as_str()
    }
}

/// Adds the schema of a type; one line a kind, as `k8s-openapi` has one Rust type each.
fn add(type_name: &str, g: &mut SchemaGenerator) {
    macro_rules! kinds {
        ($($name:literal => $type:ty),* $(,)?) => {
            match type_name {
                $($name => { g.subschema_for::<$type>(); })*
                _ => {}
            }
        };
    }
    kinds! {
        "core.v1.ConfigMap" => core::v1::ConfigMap,
        "core.v1.Endpoints" => core::v1::Endpoints,
        "core.v1.Event" => core::v1::Event,
        "core.v1.Namespace" => core::v1::Namespace,
        "core.v1.Node" => core::v1::Node,
        "core.v1.Pod" => core::v1::Pod,
        "core.v1.Secret" => core::v1::Secret,
        "core.v1.Service" => core::v1::Service,
        "core.v1.ServiceAccount" => core::v1::ServiceAccount,
        "apps.v1.Deployment" => apps::v1::Deployment,
        "apps.v1.ReplicaSet" => apps::v1::ReplicaSet,
        "authentication.v1.SelfSubjectReview" => authentication::v1::SelfSubjectReview,
        "authorization.v1.SubjectAccessReview" => authorization::v1::SubjectAccessReview,
        "coordination.v1.Lease" => coordination::v1::Lease,
        "discovery.v1.EndpointSlice" => discovery::v1::EndpointSlice,
        "events.v1.Event" => events::v1::Event,
        "rbac.v1.ClusterRole" => rbac::v1::ClusterRole,
        "rbac.v1.ClusterRoleBinding" => rbac::v1::ClusterRoleBinding,
        "rbac.v1.Role" => rbac::v1::Role,
        "rbac.v1.RoleBinding" => rbac::v1::RoleBinding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_types::catalog;

    #[test]
    fn every_kind_is_described() {
        for k in catalog::all() {
            let d = Descriptions::of(&[k]);
            assert!(!d.0.is_empty(), "{k:?} needs a line in `add`");
        }
    }
}
