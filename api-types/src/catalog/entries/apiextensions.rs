//! `apiextensions.k8s.io`, as stored kinds.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{NAME, text};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[grouped(
    "apiextensions.k8s.io",
    "apiextensions.k8s.io/v1",
    Kind {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        scope: Scope::Cluster,
        subresources: &[Status],
        storage: "apiextensions.k8s.io/customresourcedefinitions",
        columns: &[NAME, text("Created At")],
        ..core(
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "customresourcedefinition",
            "apiextensions.v1.CustomResourceDefinition",
            &kinds::customresourcedefinition::CustomResourceDefinition,
        )
    },
)];
