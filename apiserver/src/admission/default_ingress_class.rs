//! An ingress that names no class gets the default one.

use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;

use super::default_classes::{default_class, set_in_spec};
use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::Registry;

pub struct DefaultIngressClass;

const GROUP: &str = "networking.k8s.io";
const CLASS: &str = "kubernetes.io/ingress.class";
const MARK: &str = "ingressclass.kubernetes.io/is-default-class";

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let ingress = a.kind.group == GROUP && a.kind.plural == "ingresses" && a.subresource.is_empty();
        if a.operation != Operation::Create || !ingress {
            return Ok(());
        }
        let named = [&["spec", "ingressClassName"][..], &["metadata", "annotations", CLASS]];
        if named.iter().any(|path| meta::at(a.object, path).is_some_and(|v| !v.is_null())) {
            return Ok(());
        }
        if let Some(class) = default_class(registry, GROUP, "ingressclasses", &[MARK])? {
            set_in_spec(a.object, "ingressClassName", class);
        }
        Ok(())
    }
}
