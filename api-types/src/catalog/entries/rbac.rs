//! `rbac.authorization.k8s.io`.

use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, Column, NAME, text, wide};

use super::{core, grouped};

const ROLE: &[Column] = &[NAME, text("Created At")];
const BINDING: &[Column] = &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")];

pub(super) const KINDS: &[Kind] = &[
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            scope: Scope::Cluster,
            columns: BINDING,
            ..core(
                "ClusterRoleBinding",
                "clusterrolebindings",
                "clusterrolebinding",
                "rbac.v1.ClusterRoleBinding",
                &kinds::rbac::RoleBinding { cluster: true },
            )
        },
    ),
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            scope: Scope::Cluster,
            columns: ROLE,
            ..core(
                "ClusterRole",
                "clusterroles",
                "clusterrole",
                "rbac.v1.ClusterRole",
                &kinds::rbac::Role { cluster: true },
            )
        },
    ),
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            columns: BINDING,
            ..core(
                "RoleBinding",
                "rolebindings",
                "rolebinding",
                "rbac.v1.RoleBinding",
                &kinds::rbac::RoleBinding { cluster: false },
            )
        },
    ),
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            columns: ROLE,
            ..core("Role", "roles", "role", "rbac.v1.Role", &kinds::rbac::Role { cluster: false })
        },
    ),
];
