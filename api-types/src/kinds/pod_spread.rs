//! How a pod wants to be spread over topologies.

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;

use crate::field::{ErrorList, Path};

/// Refuses constraints that mean nothing or say the same twice.
pub fn validate(spec: &core::PodSpec, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, c) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.child("topologySpreadConstraints").index(i);
        if c.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), c.max_skew, "must be greater than zero");
        }
        if c.topology_key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&c.when_unsatisfiable.as_str()) {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.not_supported(&path.child("whenUnsatisfiable"), c.when_unsatisfiable.as_str(), &supported);
        }
        if let Some(n) = c.min_domains {
            if n <= 0 {
                errors.invalid(&path.child("minDomains"), n, "must be greater than zero");
            }
            if c.when_unsatisfiable != "DoNotSchedule" {
                let text = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    c.when_unsatisfiable
                );
                errors.invalid(&path.child("minDomains"), n, text);
            }
        }
        if !seen.insert((c.topology_key.as_str(), c.when_unsatisfiable.as_str())) {
            let pair = format!("{{{}, {}}}", c.topology_key, c.when_unsatisfiable);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair);
        }
    }
}
