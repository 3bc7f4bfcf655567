//! `node.k8s.io`.

use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "node.k8s.io",
    "node.k8s.io/v1",
    Kind {
        scope: Scope::Cluster,
        columns: &[NAME, text("Handler"), AGE],
        ..core(
            "RuntimeClass",
            "runtimeclasses",
            "runtimeclass",
            "node.v1.RuntimeClass",
            &kinds::runtimeclass::RuntimeClass,
        )
    },
)];
