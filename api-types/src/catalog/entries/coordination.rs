//! `coordination.k8s.io`.

use crate::catalog::Kind;
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "coordination.k8s.io",
    "coordination.k8s.io/v1",
    Kind {
        columns: &[NAME, text("Holder"), AGE],
        ..core("Lease", "leases", "lease", "coordination.v1.Lease", &kinds::lease::Lease)
    },
)];
