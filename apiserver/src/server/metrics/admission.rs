//! How long admission takes, by plugin and in all.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::{self, Histogram};
use super::labels;

/// A round of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// That may change the object.
    Admit,
    /// That only judges.
    Validate,
}

/// Operations of admission.
const OPERATIONS: [&str; 3] = ["CREATE", "UPDATE", "DELETE"];

#[derive(Clone)]
enum Of {
    Plugin(Family<labels::Admission, Histogram, fn() -> Histogram>, &'static str),
    Step(Family<labels::AdmissionStep, Histogram, fn() -> Histogram>),
}

/// The durations of one plugin, or of all together.
pub struct Durations {
    of: Of,
    /// By operation, round and outcome.
    cells: [OnceLock<Histogram>; OPERATIONS.len() * 4],
}

impl Durations {
    /// Counts one.
    pub fn took(&self, operation: &'static str, round: Round, rejected: bool, took: Duration) {
        let Some(at) = OPERATIONS.iter().position(|o| *o == operation) else { return };
        let cell = &self.cells[at * 4 + usize::from(round == Round::Validate) * 2 + usize::from(rejected)];
        cell.get_or_init(|| {
            let r#type = if round == Round::Admit { "admit" } else { "validate" };
            let rejected = if rejected { "true" } else { "false" };
            match &self.of {
                Of::Plugin(family, name) => {
                    family.get_or_create(&labels::Admission { name, operation, rejected, r#type }).clone()
                }
                Of::Step(family) => {
                    family.get_or_create(&labels::AdmissionStep { operation, rejected, r#type }).clone()
                }
            }
        })
        .took(took);
    }
}

/// The durations of admission.
#[derive(Clone)]
pub struct Admission {
    plugins: Family<labels::Admission, Histogram, fn() -> Histogram>,
    steps: Family<labels::AdmissionStep, Histogram, fn() -> Histogram>,
}

impl Admission {
    /// With its families in the registry.
    pub fn register(r: &mut Registry) -> Arc<Self> {
        let m = Self {
            plugins: Family::new_with_constructor(|| Histogram::of_durations(histogram::ADMISSION)),
            steps: Family::new_with_constructor(|| Histogram::of_durations(histogram::ADMISSION)),
        };
        r.register(
            "apiserver_admission_controller_admission_duration_seconds",
            "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit)",
            m.plugins.clone(),
        );
        r.register(
            "apiserver_admission_step_admission_duration_seconds",
            "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit)",
            m.steps.clone(),
        );
        Arc::new(m)
    }

    /// Those of a plugin.
    pub fn of_plugin(&self, name: &'static str) -> Durations {
        Durations { of: Of::Plugin(self.plugins.clone(), name), cells: Default::default() }
    }

    /// Those of all plugins together.
    pub fn of_steps(&self) -> Durations {
        Durations { of: Of::Step(self.steps.clone()), cells: Default::default() }
    }
}
