//! `policy`.

use crate::catalog::Kind;
use crate::catalog::Subresource::Status;
use crate::kinds;
use crate::table::{AGE, NAME, integer, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "policy",
    "policy/v1",
    Kind {
        short_names: &["pdb"],
        subresources: &[Status],
        columns: &[NAME, text("Min Available"), text("Max Unavailable"), integer("Allowed Disruptions"), AGE],
        ..core(
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            "poddisruptionbudget",
            "policy.v1.PodDisruptionBudget",
            &kinds::poddisruptionbudget::PodDisruptionBudget,
        )
    },
)];
