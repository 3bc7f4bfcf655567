//! `apps`: workloads.

use crate::catalog::Subresource::{Scale, Status};
use crate::catalog::{Kind, SelectableField};
use crate::kinds;
use crate::table::{AGE, NAME, integer, text, wide};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[
    grouped(
        "apps",
        "apps/v1",
        Kind {
            short_names: &["deploy"],
            categories: &["all"],
            subresources: &[Scale, Status],
            columns: &[
                NAME,
                text("Ready"),
                integer("Up-to-date"),
                integer("Available"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core(
                "Deployment",
                "deployments",
                "deployment",
                "apps.v1.Deployment",
                &kinds::deployment::Deployment,
            )
        },
    ),
    grouped(
        "apps",
        "apps/v1",
        Kind {
            short_names: &["rs"],
            categories: &["all"],
            subresources: &[Scale, Status],
            fields: &[SelectableField {
                name: "status.replicas",
                path: &["status", "replicas"],
                default: "0",
            }],
            columns: &[
                NAME,
                integer("Desired"),
                integer("Current"),
                integer("Ready"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core(
                "ReplicaSet",
                "replicasets",
                "replicaset",
                "apps.v1.ReplicaSet",
                &kinds::replicaset::ReplicaSet,
            )
        },
    ),
];
