//! `apiregistration.k8s.io`, as stored kinds.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "apiregistration.k8s.io",
    "apiregistration.k8s.io/v1",
    Kind {
        categories: &["api-extensions"],
        scope: Scope::Cluster,
        subresources: &[Status],
        storage: "apiregistration.k8s.io/apiservices",
        columns: &[NAME, text("Service"), text("Available"), AGE],
        ..core(
            "APIService",
            "apiservices",
            "apiservice",
            "apiregistration.v1.APIService",
            &kinds::apiservice::ApiService,
        )
    },
)];
