//! Whether somebody may act for a signer of certificates.

use std::sync::Arc;

use api_types::meta::str_at;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::{Attributes, Operation};
use crate::authn::UserInfo;
use crate::authz::{self, Authorization, Authorizer};

const GROUP: &str = "certificates.k8s.io";

/// Whether the write is about certificate signing requests, through this subresource.
pub(super) fn is_request(a: &Attributes<'_>, operation: Operation, subresource: &str) -> bool {
    a.kind.group == GROUP
        && a.kind.plural == "certificatesigningrequests"
        && a.operation == operation
        && a.subresource == subresource
}

/// The signer that the request as it is names: the new one may try to name another.
pub(super) fn signer<'a>(a: &Attributes<'a>) -> &'a str {
    a.old.map_or("", |old| str_at(old, &["spec", "signerName"]))
}

/// Whom a certificate is asked for.
pub(super) struct Subject {
    /// The last of its common names, as Go has it.
    pub common_name: String,
    /// Its groups.
    pub organizations: Vec<String>,
}

/// The subject of a request as the API has it: PEM in base64.
pub(super) fn subject(request: &str) -> Result<Subject, String> {
    let pem = STANDARD.decode(request).map_err(|e| e.to_string())?;
    let (_, block) =
        parse_x509_pem(&pem).map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|e| e.to_string())?;
    let subject = &request.certification_request_info.subject;
    let texts = |all: Vec<Option<&str>>| all.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    let mut names = texts(subject.iter_common_name().map(|n| n.as_str().ok()).collect());
    let organizations = texts(subject.iter_organization().map(|o| o.as_str().ok()).collect());
    Ok(Subject { common_name: names.pop().unwrap_or_default(), organizations })
}

/// Whether the user has the verb for this signer, or for all of its domain.
pub(super) fn may_act(authorization: &Arc<Authorization>, user: &UserInfo, verb: &str, signer: &str) -> bool {
    let may = |name: &str| {
        let asked = authz::Attributes::resource(user, verb, GROUP, "*", "signers").named(name);
        authorization.authorize(&asked).is_allowed()
    };
    may(signer) || signer.split_once('/').is_some_and(|(domain, _)| may(&format!("{domain}/*")))
}
