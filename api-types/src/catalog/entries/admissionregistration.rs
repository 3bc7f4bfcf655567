//! `admissionregistration.k8s.io`.

use crate::catalog::Subresource::{self, Status};
use crate::catalog::{Kind, Scope, Strategy};
use crate::kinds::admissionpolicy::AdmissionPolicy;
use crate::kinds::admissionpolicybinding::AdmissionPolicyBinding;
use crate::kinds::webhookconfiguration::WebhookConfiguration;
use crate::table::{AGE, Column, NAME, integer, text};

use super::{core, grouped};

const fn entry(
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    strategy: &'static dyn Strategy,
    columns: &'static [Column],
    subresources: &'static [Subresource],
) -> Kind {
    grouped(
        "admissionregistration.k8s.io",
        "admissionregistration.k8s.io/v1",
        Kind {
            scope: Scope::Cluster,
            categories: &["api-extensions"],
            columns,
            subresources,
            ..core(kind, plural, singular, type_name, strategy)
        },
    )
}

const WEBHOOKS: &[Column] = &[NAME, integer("Webhooks"), AGE];
const BINDING: &[Column] = &[NAME, text("PolicyName"), text("ParamRef"), AGE];

pub(super) const KINDS: &[Kind] = &[
    entry(
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicy",
        "admissionregistration.v1.MutatingAdmissionPolicy",
        &AdmissionPolicy { mutating: true },
        &[NAME, integer("Mutations"), text("ParamKind"), AGE],
        &[],
    ),
    entry(
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        "mutatingadmissionpolicybinding",
        "admissionregistration.v1.MutatingAdmissionPolicyBinding",
        &AdmissionPolicyBinding { mutating: true },
        BINDING,
        &[],
    ),
    entry(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        "admissionregistration.v1.MutatingWebhookConfiguration",
        &WebhookConfiguration { mutating: true },
        WEBHOOKS,
        &[],
    ),
    entry(
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
        "admissionregistration.v1.ValidatingAdmissionPolicy",
        &AdmissionPolicy { mutating: false },
        &[NAME, integer("Validations"), text("ParamKind"), AGE],
        &[Status],
    ),
    entry(
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
        "admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        &AdmissionPolicyBinding { mutating: false },
        BINDING,
        &[],
    ),
    entry(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        "admissionregistration.v1.ValidatingWebhookConfiguration",
        &WebhookConfiguration { mutating: false },
        WEBHOOKS,
        &[],
    ),
];
