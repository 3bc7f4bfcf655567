//! The plugins that are in force, in their order: the two rounds they are asked in, and how long each takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api_types::status::Status;

use super::{
    Attributes, Charges, Plugin, Rounds, Switches, certificate_approval, certificate_signing,
    certificate_subject_restriction, default_ingress_class, default_storage_class,
    default_toleration_seconds, deny_service_external_ips, limit_ranger, namespace_lifecycle,
    node_restriction, persistent_volume_claim_resize, pod_resize, policy_params, priority, rbac_escalation,
    resource_quota, runtime_class, service_account, storage_object_in_use_protection,
    taint_nodes_by_condition,
};
use crate::authz::Authorization;
use crate::registry::Registry;
use crate::server::metrics::admission::{Admission, Durations, Round};

/// Laps of a round: one look at the clock between two plugins.
struct Clock {
    start: Instant,
    last: Instant,
}

impl Clock {
    fn start() -> Self {
        let start = Instant::now();
        Self { start, last: start }
    }

    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.last, Instant::now());
        self.last - before
    }

    fn all(&self) -> Duration {
        self.last - self.start
    }
}

/// A plugin that is in force, and how long it takes.
struct Link {
    plugin: Box<dyn Plugin>,
    durations: Durations,
}

/// The plugins in their order, with the checks of rights that are granted and of parameters that are referred to, and
/// the quota after all of them.
pub struct Chain {
    plugins: Vec<Link>,
    escalation: rbac_escalation::RbacEscalation,
    params: policy_params::PolicyParams,
    quota: Option<(resource_quota::ResourceQuota, Durations)>,
    steps: Durations,
}

impl Chain {
    /// The plugins that are switched on, and the check of rights that are granted, which always is.
    pub fn new(authorization: Arc<Authorization>, switches: &Switches, metrics: &Admission) -> Self {
        let plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction(authorization.clone())),
            Box::new(taint_nodes_by_condition::TaintNodesByCondition),
            Box::new(priority::Priority),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(default_storage_class::DefaultStorageClass),
            Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
            Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
            Box::new(runtime_class::RuntimeClass),
            Box::new(certificate_approval::CertificateApproval(authorization.clone())),
            Box::new(certificate_signing::CertificateSigning(authorization.clone())),
            Box::new(certificate_subject_restriction::CertificateSubjectRestriction),
            Box::new(default_ingress_class::DefaultIngressClass),
            Box::new(deny_service_external_ips::DenyServiceExternalIps),
            Box::new(pod_resize::NodeDeclaredFeatureValidator),
            Box::new(pod_resize::PodResizeValidator),
        ];
        let link = |plugin: Box<dyn Plugin>| {
            let name = plugin.name();
            switches.is_on(name).then(|| Link { plugin, durations: metrics.of_plugin(name) })
        };
        let quota = resource_quota::ResourceQuota::NAME;
        Self {
            plugins: plugins.into_iter().filter_map(link).collect(),
            params: policy_params::PolicyParams(authorization.clone()),
            escalation: rbac_escalation::RbacEscalation(authorization),
            quota: (switches.is_on(quota))
                .then(|| (resource_quota::ResourceQuota::new(), metrics.of_plugin(quota))),
            steps: metrics.of_steps(),
        }
    }

    /// The first round; the first refusal ends the write.
    pub async fn admit(&self, registry: &Registry, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let (operation, mut clock) = (attributes.operation.name(), Clock::start());
        let mut admitted = Ok(());
        for Link { plugin, durations } in &self.plugins {
            if plugin.rounds() == Rounds::Validate {
                continue;
            }
            admitted = plugin.admit(registry, attributes).await;
            durations.took(operation, Round::Admit, admitted.is_err(), clock.lap());
            if admitted.is_err() {
                break;
            }
        }
        self.steps.took(operation, Round::Admit, admitted.is_err(), clock.all());
        admitted?;
        self.escalation.admit(registry, attributes).await
    }

    /// The second round; the first refusal ends the write. Gives what quotas were charged, to be given back by
    /// [`Self::refund`] when nothing is written.
    pub async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
    ) -> Result<Charges, Status> {
        self.params.check(registry, attributes)?;
        let (operation, mut clock) = (attributes.operation.name(), Clock::start());
        let judged = self.judge(registry, attributes, &mut clock).await;
        self.steps.took(operation, Round::Validate, judged.is_err(), clock.all());
        judged
    }

    async fn judge(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        clock: &mut Clock,
    ) -> Result<Charges, Status> {
        let operation = attributes.operation.name();
        for Link { plugin, durations } in &self.plugins {
            if plugin.rounds() == Rounds::Admit {
                continue;
            }
            let judged = plugin.validate(registry, attributes).await;
            durations.took(operation, Round::Validate, judged.is_err(), clock.lap());
            judged?;
        }
        let Some((quota, durations)) = &self.quota else { return Ok(Charges::default()) };
        let charged = quota.charge(registry, attributes).await;
        durations.took(operation, Round::Validate, charged.is_err(), clock.lap());
        charged
    }

    /// Gives back what was charged for a write that failed.
    pub async fn refund(&self, registry: &Registry, charges: Charges) {
        if let Some((quota, _)) = &self.quota {
            quota.refund(registry, charges).await;
        }
    }

    /// The names of the plugins in force.
    pub fn names(&self) -> Vec<&'static str> {
        let plugins = self.plugins.iter().map(|link| link.plugin.name());
        plugins.chain(self.quota.as_ref().map(|_| resource_quota::ResourceQuota::NAME)).collect()
    }
}
