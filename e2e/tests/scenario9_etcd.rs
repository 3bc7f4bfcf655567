//! Scenario 9: etcd of three members under the server, which stays up: its leader is killed, hands over, and comes back;
//! a disk stalls, of the leader and of the only member. Nobody is told anything wrong in the meantime.

mod history;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use e2e::Plane;
use e2e::etcd::{self, Etcd};
use e2e::needs::Skip;
use e2e::slot::Slot;
use e2e::suite::{self, Fixture, alone};
use e2e::wait::seconds;
use serde_json::json;

use history::{MAPS, Progress};

/// Writes that are acknowledged between two disturbances.
const BETWEEN: u64 = 300;
/// How often a leader is killed and another takes over.
const ROUNDS: usize = 1;

fn main() -> ExitCode {
    suite::run(vec![
        alone("leader_changes_of_etcd_3_4", |_: &Place| leaders(None)),
        alone("leader_changes_of_etcd_3_5", |_| leaders(Some("3.5"))),
        alone("the_disk_of_the_leader_stalls", |_| stalled_leader()),
        alone("the_disk_of_the_only_member_stalls", |_| stalled_alone()),
    ])
}

/// Every test starts its own servers; this only holds the place of the check of the machine.
struct Place(Slot);

impl Fixture for Place {
    fn possible() -> Result<(), Skip> {
        etcd::program(None).map(drop)
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

fn plane(etcd: &Etcd) -> Result<Plane> {
    Plane::up(Slot::take()?, &["--etcd-endpoints".into(), etcd.endpoints()])
}

fn leaders(version: Option<&str>) -> Result<()> {
    let mut etcd = Etcd::up(version, 3)?;
    let plane = plane(&etcd)?;
    history::check(&plane, 0, |progress| {
        progress.wait_for(BETWEEN)?;
        for _ in 0..ROUNDS {
            let leader = etcd.leader(None)?;
            etcd.kill(leader);
            progress.wait_for(BETWEEN)?;
            etcd.start(leader)?;
            progress.wait_for(BETWEEN)?;
            etcd.move_leader()?;
            progress.wait_for(BETWEEN)?;
        }
        Ok(())
    })
}

fn stalled_leader() -> Result<()> {
    let etcd = Etcd::with_disks(None, 3, true)?;
    let plane = plane(&etcd)?;
    history::check(&plane, 0, |progress: &Progress| {
        progress.wait_for(BETWEEN)?;
        let leader = etcd.leader(None)?;
        etcd.freeze(leader)?;
        // The others elect one of their own, and writes go on while the disk stalls.
        let went_on = progress.wait_for(BETWEEN);
        etcd.thaw(leader)?;
        went_on?;
        progress.wait_for(BETWEEN)
    })
}

fn stalled_alone() -> Result<()> {
    let etcd = Etcd::with_disks(None, 1, true)?;
    let plane = plane(&etcd)?;
    let api = plane.api()?;
    history::check(&plane, 0, |progress: &Progress| {
        progress.wait_for(BETWEEN)?;
        etcd.freeze(0)?;
        let refused = probe(&api);
        etcd.thaw(0)?;
        refused?;
        progress.wait_for(BETWEEN)
    })?;
    // What was not acknowledged may be there or not, and the name can be used either way.
    let answer = api.post(MAPS, &json!({"metadata": {"name": "while-stalled"}}))?;
    ensure!(answer.status == 201 || answer.status == 409, "{answer:?}");
    Ok(())
}

/// A write to a disk that stalls is not acknowledged, and whoever waits for it is told.
fn probe(api: &e2e::client::Api) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "while-stalled"}});
    let json = [("content-type", "application/json")];
    let write = e2e::client::send(&api.client, "POST", MAPS, &json, body.to_string().into_bytes());
    let answer = api.wait(async { tokio::time::timeout(seconds(30), write).await });
    let answer = answer.context("a write without a disk gets no answer")??;
    ensure!(answer.status >= 500, "a write to a frozen disk: {answer:?}");
    Ok(())
}
