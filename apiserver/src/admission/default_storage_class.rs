//! A claim that names no storage class gets the default one.

use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;

use super::default_classes::{default_class, set_in_spec};
use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::Registry;

pub struct DefaultStorageClass;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation != Operation::Create || !a.is_core("persistentvolumeclaims") {
            return Ok(());
        }
        // An empty name is a choice too: of a volume without a class.
        let named = [&["spec", "storageClassName"][..], &["metadata", "annotations", CLASS]];
        if named.iter().any(|path| meta::at(a.object, path).is_some_and(|v| !v.is_null())) {
            return Ok(());
        }
        if let Some(class) = default_class(registry, "storage.k8s.io", "storageclasses", &MARKS)? {
            set_in_spec(a.object, "storageClassName", class);
        }
        Ok(())
    }
}
