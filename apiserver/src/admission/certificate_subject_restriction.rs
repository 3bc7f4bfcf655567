//! Nobody becomes one of `system:masters` by a certificate that this cluster signs.

use api_types::meta::str_at;
use api_types::status::Status;
use async_trait::async_trait;

use super::certificate_signers::{is_request, subject};
use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::Registry;

pub struct CertificateSubjectRestriction;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, _registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !is_request(a, Operation::Create, "") || str_at(a.object, &["spec", "signerName"]) != SIGNER {
            return Ok(());
        }
        let subject = subject(str_at(a.object, &["spec", "request"]))
            .map_err(|why| a.forbidden(&format!("failed to parse CSR: {why}")))?;
        if subject.organizations.iter().any(|o| o == MASTERS) {
            return Err(a.forbidden(&format!("use of {SIGNER} signer with {MASTERS} group is not allowed")));
        }
        Ok(())
    }
}
