//! Scenario 3: `kill -9` of the whole process while 16 clients create 1,000 objects, three times; the same on
//! etcd, with etcd killed and started again; containers keep running; watches resume or are told 410.

mod crash {
    pub mod containers;
    pub mod etcd;
    pub mod history;
}

use std::process::ExitCode;

use anyhow::Result;
use e2e::Plane;
use e2e::needs;
use e2e::slot::Slot;
use e2e::suite::{self, Fixture, alone};

fn main() -> ExitCode {
    suite::run(vec![
        alone("embedded_store_survives_kill_9_three_times", |_: &Place| crash::history::embedded()),
        alone("etcd_store_survives_kill_9_of_skiff_and_etcd", |_| crash::etcd::killed()),
        alone("containers_survive_kill_9", |_| crash::containers::survive()),
    ])
}

/// Every test starts its own servers; this only holds the place of the check of the machine.
struct Place(Slot);

impl Fixture for Place {
    fn possible() -> Result<(), needs::Skip> {
        Ok(())
    }
    fn make(slot: Slot) -> Result<Self> {
        Ok(Self(slot))
    }
    fn end(&self) -> Result<()> {
        Ok(())
    }
    fn slot(&self) -> &Slot {
        &self.0
    }
}

/// A control plane of a test's own.
fn plane(extra: &[String]) -> Result<Plane> {
    Plane::up(Slot::take()?, extra)
}
