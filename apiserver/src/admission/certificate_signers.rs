//! Whether somebody may act for a signer of certificates.

use std::sync::Arc;

use api_types::meta::str_at;

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

/// Whether the user has the verb for this signer, or for all of its domain.
pub(super) fn may_act(authorization: &Arc<Authorization>, user: &UserInfo, verb: &str, signer: &str) -> bool {
    let may = |name: &str| {
        let asked = authz::Attributes::resource(user, verb, GROUP, "*", "signers").named(name);
        authorization.authorize(&asked).is_allowed()
    };
    may(signer) || signer.split_once('/').is_some_and(|(domain, _)| may(&format!("{domain}/*")))
}
