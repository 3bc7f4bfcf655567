//! What is counted of each request to the store, by operation and resource. The names are etcd's whatever the store is,
//! as those who look at them expect.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api_types::catalog;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histogram::{self, Histogram};
use super::labels;

type Count = Counter<u64, AtomicU64>;

/// An operation of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One key is read.
    Get,
    /// Many are.
    List,
    /// One is made.
    Create,
    /// One is replaced.
    Update,
    /// One is removed.
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

struct Counters {
    duration: Histogram,
    requests: Count,
    errors: Count,
}

struct Resource {
    prefix: String,
    labels: labels::Resource,
    operations: [OnceLock<Counters>; 5],
}

/// The counters of the store.
pub struct Store {
    durations: Family<labels::StoreRequest, Histogram, fn() -> Histogram>,
    requests: Family<labels::StoreRequest, Count>,
    errors: Family<labels::StoreRequest, Count>,
    /// Sorted by prefix; none is a prefix of another.
    resources: Vec<Resource>,
}

impl Store {
    /// With its families in the registry.
    pub fn register(r: &mut Registry) -> Self {
        let stored = catalog::all().iter().filter(|k| k.conversion.is_none() && !k.computed);
        let mut resources: Vec<Resource> = stored
            .map(|kind| Resource {
                prefix: kind.prefix(),
                labels: labels::Resource::of(kind),
                operations: Default::default(),
            })
            .collect();
        resources.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let m = Self {
            durations: Family::new_with_constructor(|| Histogram::of_durations(histogram::REQUEST)),
            requests: Family::default(),
            errors: Family::default(),
            resources,
        };
        r.register(
            "etcd_request_duration_seconds",
            "[ALPHA] Etcd request latency in seconds for each operation and object type",
            m.durations.clone(),
        );
        r.register(
            "etcd_requests",
            "[ALPHA] Etcd request counts for each operation and object type",
            m.requests.clone(),
        );
        r.register(
            "etcd_request_errors",
            "[ALPHA] Etcd failed request counts for each operation and object type",
            m.errors.clone(),
        );
        m
    }

    /// Counts a request. Keys that are no kind's (of what is allocated, of all at once) are nobody's.
    pub fn asked(&self, operation: Operation, key: &str, took: Duration, failed: bool) {
        let Some(resource) = self.resource(key) else { return };
        let counters = resource.operations[operation as usize].get_or_init(|| {
            let labels = resource.labels.store_request(operation.name());
            Counters {
                duration: self.durations.get_or_create(&labels).clone(),
                requests: self.requests.get_or_create(&labels).clone(),
                errors: self.errors.get_or_create(&labels).clone(),
            }
        });
        counters.duration.took(took);
        counters.requests.inc();
        if failed {
            counters.errors.inc();
        }
    }

    fn resource(&self, key: &str) -> Option<&Resource> {
        let after = self.resources.partition_point(|r| r.prefix.as_str() <= key);
        self.resources[..after].last().filter(|r| key.starts_with(&r.prefix))
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn keys_belong_to_the_resource_of_their_prefix() {
        let store = Store::register(&mut Registry::default());
        for kind in catalog::all().iter().filter(|k| k.conversion.is_none() && !k.computed) {
            let found = store.resource(&kind.key("a", "b")).map(|r| r.labels);
            assert_eq!(found, Some(labels::Resource::of(kind)), "{kind:?}");
            assert!(store.resource(&kind.prefix()).is_some(), "{kind:?}");
        }
        for key in ["/registry/", "/registry/nosuch/a", "/other/pods/a/b", ""] {
            assert!(store.resource(key).is_none(), "{key}");
        }
    }

    #[test]
    fn operations_are_counted_apart() {
        let mut registry = Registry::default();
        let store = Store::register(&mut registry);
        store.asked(Operation::Create, "/registry/pods/a/b", Duration::from_millis(6), false);
        store.asked(Operation::Create, "/registry/pods/a/c", Duration::from_millis(1), true);
        store.asked(Operation::Get, "/registry/pods/a/b", Duration::from_millis(1), false);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let pods = "group=\"\",operation=\"create\",resource=\"pods\"";
        for line in [
            format!("etcd_requests_total{{{pods}}} 2"),
            format!("etcd_request_errors_total{{{pods}}} 1"),
            format!("etcd_request_duration_seconds_bucket{{le=\"0.005\",{pods}}} 1"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
