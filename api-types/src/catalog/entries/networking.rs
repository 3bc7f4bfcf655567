//! `networking.k8s.io`.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, Scope};
use crate::kinds;
use crate::table::{AGE, NAME, text};

use super::{core, grouped};

const fn entry(kind: Kind) -> Kind {
    grouped("networking.k8s.io", "networking.k8s.io/v1", kind)
}

pub(super) const KINDS: &[Kind] = &[
    entry(Kind {
        scope: Scope::Cluster,
        columns: &[NAME, text("Controller"), text("Parameters"), AGE],
        ..core(
            "IngressClass",
            "ingressclasses",
            "ingressclass",
            "networking.v1.IngressClass",
            &kinds::ingressclass::IngressClass,
        )
    }),
    entry(Kind {
        short_names: &["ing"],
        subresources: &[Status],
        storage: "ingress",
        columns: &[NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE],
        ..core("Ingress", "ingresses", "ingress", "networking.v1.Ingress", &kinds::ingress::Ingress)
    }),
    entry(Kind {
        short_names: &["ip"],
        scope: Scope::Cluster,
        columns: &[NAME, text("ParentRef")],
        ..core(
            "IPAddress",
            "ipaddresses",
            "ipaddress",
            "networking.v1.IPAddress",
            &kinds::ipaddress::IpAddress,
        )
    }),
    entry(Kind {
        short_names: &["netpol"],
        columns: &[NAME, text("Pod-Selector"), AGE],
        ..core(
            "NetworkPolicy",
            "networkpolicies",
            "networkpolicy",
            "networking.v1.NetworkPolicy",
            &kinds::networkpolicy::NetworkPolicy,
        )
    }),
    entry(Kind {
        scope: Scope::Cluster,
        subresources: &[Status],
        columns: &[NAME, text("CIDRs"), AGE],
        ..core(
            "ServiceCIDR",
            "servicecidrs",
            "servicecidr",
            "networking.v1.ServiceCIDR",
            &kinds::servicecidr::ServiceCidr,
        )
    }),
];
