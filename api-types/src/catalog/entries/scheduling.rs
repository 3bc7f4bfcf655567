//! `scheduling.k8s.io`.

use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, boolean, integer, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "scheduling.k8s.io",
    "scheduling.k8s.io/v1",
    Kind {
        short_names: &["pc"],
        scope: Scope::Cluster,
        columns: &[NAME, integer("Value"), boolean("Global-Default"), AGE, text("PreemptionPolicy")],
        ..core(
            "PriorityClass",
            "priorityclasses",
            "priorityclass",
            "scheduling.v1.PriorityClass",
            &kinds::priorityclass::PriorityClass,
        )
    },
)];
