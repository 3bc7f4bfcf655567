//! Nobody becomes one of `system:masters` by a certificate that this cluster signs.

use api_types::meta::str_at;
use api_types::status::Status;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::certificate_signers::is_request;
use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub struct CertificateSubjectRestriction;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, _registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !is_request(a, Operation::Create, "") || str_at(a.object, &["spec", "signerName"]) != SIGNER {
            return Ok(());
        }
        let masters = asks_for_masters(str_at(a.object, &["spec", "request"]));
        match masters.map_err(|why| a.forbidden(&format!("failed to parse CSR: {why}")))? {
            false => Ok(()),
            true => Err(a.forbidden(&format!("use of {SIGNER} signer with {MASTERS} group is not allowed"))),
        }
    }
}

/// Whether an organization of the subject is the group that may do everything.
fn asks_for_masters(request: &str) -> Result<bool, String> {
    let pem = STANDARD.decode(request).map_err(|e| e.to_string())?;
    let (_, block) =
        parse_x509_pem(&pem).map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|e| e.to_string())?;
    let subject = &request.certification_request_info.subject;
    let mut organizations = subject.iter_organization();
    Ok(organizations.any(|o| o.as_str().is_ok_and(|name| name == MASTERS)))
}
