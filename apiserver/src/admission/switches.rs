//! Which plugins are in force: `--enable-admission-plugins` and `--disable-admission-plugins`.
//!
//! Names, order and what is on by default are upstream's, with two exceptions that are on here:
//! DenyServiceExternalIPs (CVE-2020-8554) and NodeRestriction, without which a node may write what it likes.

use std::collections::BTreeSet;

/// Every plugin upstream knows, in the order they run, with whether it is part of this server.
const KNOWN: [(&str, bool); 41] = [
    ("AlwaysAdmit", false),
    ("NamespaceAutoProvision", false),
    ("NamespaceLifecycle", true),
    ("NamespaceExists", false),
    ("LimitPodHardAntiAffinityTopology", false),
    ("LimitRanger", true),
    ("ServiceAccount", true),
    ("NodeRestriction", true),
    ("TaintNodesByCondition", true),
    ("AlwaysPullImages", false),
    ("ImagePolicyWebhook", false),
    ("PodSecurity", false),
    ("PodNodeSelector", false),
    ("Priority", true),
    ("DefaultTolerationSeconds", true),
    ("PodTolerationRestriction", false),
    ("EventRateLimit", false),
    ("ExtendedResourceToleration", false),
    ("DefaultStorageClass", true),
    ("StorageObjectInUseProtection", true),
    ("PodGroupProtection", false),
    ("OwnerReferencesPermissionEnforcement", false),
    ("PersistentVolumeClaimResize", true),
    ("RuntimeClass", true),
    ("CertificateApproval", true),
    ("CertificateSigning", true),
    ("ClusterTrustBundleAttest", false),
    ("CertificateSubjectRestriction", true),
    ("DefaultIngressClass", true),
    ("DenyServiceExternalIPs", true),
    ("PodTopologyLabels", false),
    ("PodGroupWorkloadExists", false),
    ("NodeDeclaredFeatureValidator", true),
    ("JobValidation", false),
    ("PodResizeValidator", true),
    ("MutatingAdmissionPolicy", false),
    ("MutatingAdmissionWebhook", false),
    ("ValidatingAdmissionPolicy", false),
    ("ValidatingAdmissionWebhook", false),
    ("ResourceQuota", true),
    ("AlwaysDeny", false),
];

/// What was asked for on the command line. Nothing: the plugins that are on by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Plugins to be on in addition.
    pub enable: Vec<String>,
    /// Plugins to be off although they are on by default.
    pub disable: Vec<String>,
}

impl Switches {
    /// What is wrong with the names, in upstream's words.
    pub fn validate(&self) -> Result<(), String> {
        let mut errors = Vec::new();
        let unknown = |flag: &str, name: &str| format!("{flag} plugin {name:?} is unknown");
        for name in &self.enable {
            match find(name) {
                None => errors.push(unknown("enable-admission-plugins", name)),
                Some(false) => errors.push(format!(
                    "enable-admission-plugins plugin {name:?} is not part of this server; it has {}",
                    all().join(", ")
                )),
                Some(true) => {}
            }
        }
        // What is not part of this server is off already.
        let strange = self.disable.iter().filter(|name| find(name).is_none());
        errors.extend(strange.map(|name| unknown("disable-admission-plugins", name)));
        let disabled: BTreeSet<_> = self.disable.iter().collect();
        let both: BTreeSet<_> = self.enable.iter().filter(|name| disabled.contains(name)).collect();
        if !both.is_empty() {
            let names: Vec<&str> = both.into_iter().map(String::as_str).collect();
            errors.push(format!(
                "[{}] in enable-admission-plugins and disable-admission-plugins overlapped",
                names.join(" ")
            ));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    /// Whether a plugin of this server is in force: all are on by default.
    pub(super) fn is_on(&self, name: &str) -> bool {
        !self.disable.iter().any(|off| off == name)
    }
}

fn find(name: &str) -> Option<bool> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, ours)| *ours)
}

/// The plugins of this server.
fn all() -> Vec<&'static str> {
    KNOWN.iter().filter(|(_, ours)| *ours).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches(enable: &[&str], disable: &[&str]) -> Switches {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Switches { enable: owned(enable), disable: owned(disable) }
    }

    #[test]
    fn names_are_checked_in_upstreams_words() {
        for (enable, disable, told) in [
            (&["NodeRestriction", "ResourceQuota"][..], &["DenyServiceExternalIPs", "PodSecurity"][..], ""),
            (&["Nonsense"], &[], "enable-admission-plugins plugin \"Nonsense\" is unknown"),
            (&[], &["Nonsense"], "disable-admission-plugins plugin \"Nonsense\" is unknown"),
            (&[], &[""], "disable-admission-plugins plugin \"\" is unknown"),
            (
                &["Priority", "LimitRanger"],
                &["LimitRanger", "Priority"],
                "[LimitRanger Priority] in enable-admission-plugins and disable-admission-plugins overlapped",
            ),
        ] {
            let result = switches(enable, disable).validate();
            assert_eq!(result.err().unwrap_or_default(), told, "{enable:?} {disable:?}");
        }
        let told = switches(&["AlwaysPullImages"], &[]).validate().unwrap_err();
        assert!(
            told.contains("\"AlwaysPullImages\" is not part of this server; it has NamespaceLifecycle, ")
        );
    }

    #[test]
    fn plugins_are_on_unless_they_are_disabled() {
        assert!(switches(&[], &[]).is_on("DenyServiceExternalIPs"));
        assert!(!switches(&[], &["DenyServiceExternalIPs"]).is_on("DenyServiceExternalIPs"));
    }
}
