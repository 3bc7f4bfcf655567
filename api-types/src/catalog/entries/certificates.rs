//! `certificates.k8s.io`.

use crate::catalog::Subresource::{Approval, Status};
use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, field, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "certificates.k8s.io",
    "certificates.k8s.io/v1",
    Kind {
        short_names: &["csr"],
        scope: Scope::Cluster,
        subresources: &[Approval, Status],
        fields: &[field("spec.signerName", &["spec", "signerName"])],
        columns: &[
            NAME,
            AGE,
            text("SignerName"),
            text("Requestor"),
            text("RequestedDuration"),
            text("Condition"),
        ],
        ..core(
            "CertificateSigningRequest",
            "certificatesigningrequests",
            "certificatesigningrequest",
            "certificates.v1.CertificateSigningRequest",
            &kinds::certificatesigningrequest::CertificateSigningRequest,
        )
    },
)];
