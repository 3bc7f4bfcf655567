//! No service takes over an address that is not its own (CVE-2020-8554). Addresses a service has it may keep.

use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Plugin, Rounds};
use crate::registry::Registry;

pub struct DenyServiceExternalIps;

#[async_trait]
impl Plugin for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, _registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !a.is_core("services") {
            return Ok(());
        }
        let external = |service| {
            meta::at(service, &["spec", "externalIPs"])
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice)
        };
        let before = a.old.map_or(&[][..], external);
        if external(a.object).iter().all(|ip| before.contains(ip)) {
            return Ok(());
        }
        Err(a.forbidden("Use of external IPs is denied by admission control"))
    }
}
