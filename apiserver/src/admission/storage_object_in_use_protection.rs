//! Volumes and claims stay until nobody uses them: a finalizer that the protection controllers take away.

use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;

use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::Registry;

pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, _registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let finalizer = match a.kind.plural {
            _ if a.operation != Operation::Create => return Ok(()),
            "persistentvolumes" if a.is_core("persistentvolumes") => "kubernetes.io/pv-protection",
            "persistentvolumeclaims" if a.is_core("persistentvolumeclaims") => "kubernetes.io/pvc-protection",
            _ => return Ok(()),
        };
        let mut all = meta::finalizers(a.object);
        if !all.iter().any(|f| f == finalizer) {
            all.push(finalizer.to_owned());
            meta::set_finalizers(a.object, all);
        }
        Ok(())
    }
}
