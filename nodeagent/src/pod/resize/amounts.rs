//! CPU and memory in the units of the kernel: of a container, and of a pod as its node counts it.

use api_types::quantity::{Format, Quantity};
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde::{Deserialize, Serialize};

use crate::pod::resources;

/// What a container requests and is limited to: thousandths of a CPU, bytes of memory; 0 is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// Requested CPU.
    pub cpu_request: i64,
    /// Limit of CPU.
    pub cpu_limit: i64,
    /// Requested memory.
    pub memory_request: i64,
    /// Limit of memory.
    pub memory_limit: i64,
}

impl Amounts {
    /// Those of a container.
    pub fn of(container: &Container) -> Amounts {
        let resources = container.resources.as_ref();
        let request = |name| resources::request(resources, name).unwrap_or(0);
        let limit = |name| resources::limit(resources, name).unwrap_or(0);
        Amounts {
            cpu_request: request("cpu"),
            cpu_limit: limit("cpu"),
            memory_request: request("memory"),
            memory_limit: limit("memory"),
        }
    }

    /// These with the memory of others.
    pub fn with_memory(self, other: Amounts) -> Amounts {
        Amounts { memory_request: other.memory_request, memory_limit: other.memory_limit, ..self }
    }

    /// These with the CPU of others.
    pub fn with_cpu(self, other: Amounts) -> Amounts {
        Amounts { cpu_request: other.cpu_request, cpu_limit: other.cpu_limit, ..self }
    }

    /// Writes them into requirements; what is nothing is left out.
    pub fn write(self, resources: &mut ResourceRequirements) {
        let mut write = |requests: bool, name: &str, quantity: Option<Quantity>| {
            let list = if requests { &mut resources.requests } else { &mut resources.limits };
            match quantity {
                Some(quantity) => {
                    let list = list.get_or_insert_default();
                    list.insert(name.to_owned(), ApiQuantity(quantity.to_string()));
                }
                None => {
                    list.as_mut().and_then(|list| list.remove(name));
                }
            }
        };
        write(true, "cpu", cpu(self.cpu_request));
        write(false, "cpu", cpu(self.cpu_limit));
        write(true, "memory", memory(self.memory_request));
        write(false, "memory", memory(self.memory_limit));
    }
}

/// Thousandths of a CPU as a quantity.
pub fn cpu(milli: i64) -> Option<Quantity> {
    (milli > 0).then(|| Quantity::from_milli(milli, Format::DecimalSi))
}

/// Bytes as a quantity.
pub fn memory(bytes: i64) -> Option<Quantity> {
    (bytes > 0).then(|| Quantity::from_value(bytes, Format::BinarySi))
}

/// What a pod takes of its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
}

impl Totals {
    /// The requests of a pod, with its overhead.
    pub fn of(spec: &PodSpec) -> Totals {
        let total = |name: &str| {
            let (sum, _) = resources::sum(spec, &|c| resources::request(c.resources.as_ref(), name));
            let whole = resources::whole_request(spec, name);
            let overhead = resources::amount_in(spec.overhead.as_ref(), name).unwrap_or(0);
            whole.unwrap_or(sum).saturating_add(overhead)
        };
        Totals { cpu: total("cpu"), memory: total("memory") }
    }

    /// The larger of each.
    pub fn max(self, other: Totals) -> Totals {
        Totals { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }

    /// Whether any is more than in `other`.
    pub fn exceeds(self, other: Totals) -> bool {
        self.cpu > other.cpu || self.memory > other.memory
    }
}
