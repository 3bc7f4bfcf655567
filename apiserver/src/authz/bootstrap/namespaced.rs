//! Default roles and bindings inside `kube-system` and `kube-public`.

/// Namespace, name, rules.
pub(super) const ROLES: &[(&str, &str, &[&str])] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        &[
            "get,list,watch core configmaps",
            "update core configmaps cluster-info",
            "create,patch,update core,events.k8s.io events",
        ],
    ),
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        &["get,list,watch core configmaps extension-apiserver-authentication"],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        &[
            "create,get,list,update,watch coordination.k8s.io leases",
            "create,get,list,update,watch coordination.k8s.io leasecandidates",
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        &[
            "create,get,list,update,watch coordination.k8s.io leases",
            "create,get,list,update,watch coordination.k8s.io leasecandidates",
        ],
    ),
    ("kube-system", "system:controller:bootstrap-signer", &["get,list,watch core secrets"]),
    ("kube-system", "system:controller:cloud-provider", &["create,get,list,watch core configmaps"]),
    (
        "kube-system",
        "system:controller:token-cleaner",
        &["delete,get,list,watch core secrets", "create,patch,update core,events.k8s.io events"],
    ),
];

/// Namespace, name, role, subjects.
pub(super) const BINDINGS: &[(&str, &str, &str, &[&str])] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &["sa:kube-system/bootstrap-signer"],
    ),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &["user:system:kube-controller-manager", "user:system:kube-scheduler"],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &[
            "user:system:kube-controller-manager",
            "sa:kube-system/kube-controller-manager",
            "sa:kube-system/leader-election-controller",
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &["user:system:kube-scheduler", "sa:kube-system/kube-scheduler"],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &["sa:kube-system/bootstrap-signer"],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &["sa:kube-system/cloud-provider"],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        &["sa:kube-system/token-cleaner"],
    ),
];
