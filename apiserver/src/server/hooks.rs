//! What is done once while the server starts, under upstream's names; health asks what is done already.

use std::sync::atomic::{AtomicU32, Ordering};

/// A step of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The system's namespaces are there.
    SystemNamespaces,
    /// The addresses and ports of services are as the services say.
    ServiceIpRepair,
    /// The default roles are in place.
    Roles,
    /// The system's priority classes are in place.
    PriorityClasses,
    /// The default flow schemas and priority levels are in place.
    FlowControl,
    /// The range of services is in place.
    ServiceCidr,
    /// The service `kubernetes` leads here.
    Service,
    /// Every served version has its APIService.
    ApiServices,
}

impl Hook {
    /// All of them, in the order health shows them.
    pub const ALL: [Self; 8] = [
        Self::SystemNamespaces,
        Self::ServiceIpRepair,
        Self::Roles,
        Self::PriorityClasses,
        Self::FlowControl,
        Self::ServiceCidr,
        Self::Service,
        Self::ApiServices,
    ];

    /// The name of its health check.
    #[must_use]
    pub fn check(self) -> &'static str {
        match self {
            Self::SystemNamespaces => "poststarthook/start-system-namespaces-controller",
            Self::ServiceIpRepair => "poststarthook/start-service-ip-repair-controllers",
            Self::Roles => "poststarthook/rbac/bootstrap-roles",
            Self::PriorityClasses => "poststarthook/scheduling/bootstrap-system-priority-classes",
            Self::FlowControl => "poststarthook/priority-and-fairness-config-producer",
            Self::ServiceCidr => "poststarthook/start-kubernetes-service-cidr-controller",
            Self::Service => "poststarthook/bootstrap-controller",
            Self::ApiServices => "autoregister-completion",
        }
    }

    fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// Which steps are done.
#[derive(Debug, Default)]
pub struct Hooks(AtomicU32);

impl Hooks {
    /// A step is done.
    pub fn done(&self, hook: Hook) {
        self.0.fetch_or(hook.bit(), Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_done(&self, hook: Hook) -> bool {
        self.0.load(Ordering::Acquire) & hook.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_done_by_itself() {
        let hooks = Hooks::default();
        for (n, hook) in Hook::ALL.into_iter().enumerate() {
            assert!(!hooks.is_done(hook), "{hook:?}");
            hooks.done(hook);
            assert_eq!(Hook::ALL.iter().filter(|h| hooks.is_done(**h)).count(), n + 1);
        }
    }
}
