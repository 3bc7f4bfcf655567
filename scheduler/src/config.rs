//! Configuration, and putting the scheduler together.

use kube::Client;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{driver::Driver, framework::Profile, metrics::Metrics};

/// Configuration of the scheduler.
#[derive(Clone)]
pub struct Config {
    /// Acts as `system:kube-scheduler`.
    pub client: Client,
    /// The pods that name this scheduler are scheduled.
    pub scheduler_name: String,
    /// Bindings in flight at a time.
    pub bindings: usize,
}

impl Config {
    /// Upstream's defaults.
    pub fn new(client: Client) -> Self {
        Config { client, scheduler_name: "default-scheduler".to_owned(), bindings: 64 }
    }
}

/// The scheduler, ready to run.
pub struct Scheduler {
    config: Config,
    metrics: Metrics,
}

/// Registers the metrics; nothing runs yet.
pub fn build(config: Config, registry: &mut Registry) -> Scheduler {
    Scheduler { config, metrics: Metrics::register(registry) }
}

impl Scheduler {
    /// Schedules until `token` is cancelled and every task has ended.
    pub async fn run(self, token: CancellationToken) {
        Driver::new(self.config, Profile::default_profile(), self.metrics).run(token).await;
    }
}
