//! `flowcontrol.apiserver.k8s.io`.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, grouped};

const fn entry(kind: Kind) -> Kind {
    grouped(
        "flowcontrol.apiserver.k8s.io",
        "flowcontrol.apiserver.k8s.io/v1",
        Kind { scope: Scope::Cluster, subresources: &[Status], ..kind },
    )
}

pub(super) const KINDS: &[Kind] = &[
    entry(Kind {
        columns: &[
            NAME,
            text("PriorityLevel"),
            text("MatchingPrecedence"),
            text("DistinguisherMethod"),
            AGE,
            text("MissingPL"),
        ],
        ..core(
            "FlowSchema",
            "flowschemas",
            "flowschema",
            "flowcontrol.v1.FlowSchema",
            &kinds::flowschema::FlowSchema,
        )
    }),
    entry(Kind {
        columns: &[
            NAME,
            text("Type"),
            text("NominalConcurrencyShares"),
            text("Queues"),
            text("HandSize"),
            text("QueueLengthLimit"),
            AGE,
        ],
        ..core(
            "PriorityLevelConfiguration",
            "prioritylevelconfigurations",
            "prioritylevelconfiguration",
            "flowcontrol.v1.PriorityLevelConfiguration",
            &kinds::prioritylevelconfiguration::PriorityLevelConfiguration,
        )
    }),
];
