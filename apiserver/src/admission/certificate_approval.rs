//! Requests for certificates are approved by those who may approve for their signer.

use std::sync::Arc;

use api_types::status::Status;
use async_trait::async_trait;

use super::certificate_signers::{is_request, may_act, signer};
use super::{Attributes, Operation, Plugin, Rounds};
use crate::authz::Authorization;
use crate::registry::Registry;

pub struct CertificateApproval(pub Arc<Authorization>);

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, _registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !is_request(a, Operation::Update, "approval") || may_act(&self.0, a.user, "approve", signer(a)) {
            return Ok(());
        }
        Err(a.forbidden(&format!("user not permitted to approve requests with signerName {:?}", signer(a))))
    }
}
