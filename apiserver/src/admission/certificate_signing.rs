//! Certificates are put into requests by those who may sign for their signer.

use std::sync::Arc;

use api_types::meta;
use api_types::status::Status;
use async_trait::async_trait;

use super::certificate_signers::{is_request, may_act, signer};
use super::{Attributes, Operation, Plugin, Rounds};
use crate::authz::Authorization;
use crate::registry::Registry;

pub struct CertificateSigning(pub Arc<Authorization>);

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, _registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !is_request(a, Operation::Update, "status") {
            return Ok(());
        }
        let same = |field: &str| {
            let of = |object| meta::at(object, &["status", field]);
            a.old.is_some_and(|old| of(old) == of(a.object))
        };
        if (same("certificate") && same("conditions")) || may_act(&self.0, a.user, "sign", signer(a)) {
            return Ok(());
        }
        Err(a.forbidden(&format!("user not permitted to sign requests with signerName {:?}", signer(a))))
    }
}
