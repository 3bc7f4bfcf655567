//! `discovery.k8s.io`.

use crate::catalog::Kind;
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "discovery.k8s.io",
    "discovery.k8s.io/v1",
    Kind {
        columns: &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE],
        ..core(
            "EndpointSlice",
            "endpointslices",
            "endpointslice",
            "discovery.v1.EndpointSlice",
            &kinds::endpointslice::EndpointSlice,
        )
    },
)];
