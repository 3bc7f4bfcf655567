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
            columns: &[NAME, text("Controller"), text("Revision"), AGE],
            ..core(
                "ControllerRevision",
                "controllerrevisions",
                "controllerrevision",
                "apps.v1.ControllerRevision",
                &kinds::controllerrevision::ControllerRevision,
            )
        },
    ),
    grouped(
        "apps",
        "apps/v1",
        Kind {
            short_names: &["ds"],
            categories: &["all"],
            subresources: &[Status],
            columns: &[
                NAME,
                integer("Desired"),
                integer("Current"),
                integer("Ready"),
                integer("Up-to-date"),
                integer("Available"),
                text("Node Selector"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core("DaemonSet", "daemonsets", "daemonset", "apps.v1.DaemonSet", &kinds::daemonset::DaemonSet)
        },
    ),
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
    grouped(
        "apps",
        "apps/v1",
        Kind {
            short_names: &["sts"],
            categories: &["all"],
            subresources: &[Scale, Status],
            columns: &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")],
            ..core(
                "StatefulSet",
                "statefulsets",
                "statefulset",
                "apps.v1.StatefulSet",
                &kinds::statefulset::StatefulSet,
            )
        },
    ),
];
