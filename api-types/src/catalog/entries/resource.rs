//! `resource.k8s.io`.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, field, grouped};

const fn entry(kind: Kind) -> Kind {
    grouped("resource.k8s.io", "resource.k8s.io/v1", kind)
}

pub(super) const KINDS: &[Kind] = &[
    entry(Kind {
        scope: Scope::Cluster,
        ..core(
            "DeviceClass",
            "deviceclasses",
            "deviceclass",
            "resource.v1.DeviceClass",
            &kinds::resourceclaim::DeviceClass,
        )
    }),
    entry(Kind {
        subresources: &[Status],
        columns: &[NAME, text("State"), AGE],
        ..core(
            "ResourceClaim",
            "resourceclaims",
            "resourceclaim",
            "resource.v1.ResourceClaim",
            &kinds::resourceclaim::ResourceClaim,
        )
    }),
    entry(core(
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        "resourceclaimtemplate",
        "resource.v1.ResourceClaimTemplate",
        &kinds::resourceclaim::ResourceClaimTemplate,
    )),
    entry(Kind {
        scope: Scope::Cluster,
        fields: &[field("spec.driver", &["spec", "driver"]), field("spec.nodeName", &["spec", "nodeName"])],
        columns: &[NAME, text("Node"), text("Driver"), text("Pool"), AGE],
        ..core(
            "ResourceSlice",
            "resourceslices",
            "resourceslice",
            "resource.v1.ResourceSlice",
            &kinds::resourceslice::ResourceSlice,
        )
    }),
];
