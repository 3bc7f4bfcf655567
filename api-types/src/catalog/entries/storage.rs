//! `storage.k8s.io`.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, Scope, Strategy};
use crate::kinds;
use crate::table::{AGE, Column, NAME, boolean, integer, text};

use super::{core, grouped};

/// A cluster-scoped kind of this group.
const fn entry(kind: Kind) -> Kind {
    grouped("storage.k8s.io", "storage.k8s.io/v1", Kind { scope: Scope::Cluster, ..kind })
}

const fn plain(
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    strategy: &'static dyn Strategy,
    columns: &'static [Column],
) -> Kind {
    entry(Kind { columns, ..core(kind, plural, singular, type_name, strategy) })
}

pub(super) const KINDS: &[Kind] = &[
    plain(
        "CSIDriver",
        "csidrivers",
        "csidriver",
        "storage.v1.CSIDriver",
        &kinds::csidriver::CsiDriver,
        &[
            NAME,
            boolean("AttachRequired"),
            boolean("PodInfoOnMount"),
            boolean("StorageCapacity"),
            text("TokenRequests"),
            boolean("RequiresRepublish"),
            text("Modes"),
            AGE,
        ],
    ),
    plain(
        "CSINode",
        "csinodes",
        "csinode",
        "storage.v1.CSINode",
        &kinds::csinode::CsiNode,
        &[NAME, integer("Drivers"), AGE],
    ),
    Kind {
        scope: Scope::Namespaced,
        ..plain(
            "CSIStorageCapacity",
            "csistoragecapacities",
            "csistoragecapacity",
            "storage.v1.CSIStorageCapacity",
            &kinds::csistoragecapacity::CsiStorageCapacity,
            &[NAME, text("StorageClassName"), text("Capacity")],
        )
    },
    Kind {
        short_names: &["sc"],
        ..plain(
            "StorageClass",
            "storageclasses",
            "storageclass",
            "storage.v1.StorageClass",
            &kinds::storageclass::StorageClass,
            &[
                NAME,
                text("Provisioner"),
                text("ReclaimPolicy"),
                text("VolumeBindingMode"),
                text("AllowVolumeExpansion"),
                AGE,
            ],
        )
    },
    Kind {
        subresources: &[Status],
        ..plain(
            "VolumeAttachment",
            "volumeattachments",
            "volumeattachment",
            "storage.v1.VolumeAttachment",
            &kinds::volumeattachment::VolumeAttachment,
            &[
                NAME,
                Column { name: "Attacher", kind: "string", format: "name", priority: 0 },
                text("PV"),
                text("Node"),
                boolean("Attached"),
                AGE,
            ],
        )
    },
    Kind {
        short_names: &["vac"],
        ..plain(
            "VolumeAttributesClass",
            "volumeattributesclasses",
            "volumeattributesclass",
            "storage.v1.VolumeAttributesClass",
            &kinds::volumeattributesclass::VolumeAttributesClass,
            &[NAME, text("DriverName"), AGE],
        )
    },
];
