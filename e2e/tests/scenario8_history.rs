//! Scenario 8: a snapshot of a running server is restored; concurrent writers and watchers over `kill -9` of the
//! server, and a checker of what each was told.

mod history;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use e2e::Plane;
use e2e::kubectl::Run;
use e2e::needs;
use e2e::suite::{self, alone};
use serde_json::json;

use history::MAPS;

const KILLS: usize = 3;
/// Writes that are acknowledged between two kills.
const BETWEEN: u64 = 400;

fn main() -> ExitCode {
    suite::run(vec![
        alone("no_update_is_lost_and_no_event_missed", killed),
        alone("a_snapshot_of_a_running_server_is_restored_once_it_has_stopped", snapshot),
    ])
}

fn killed(plane: &Plane) -> Result<()> {
    history::check(plane, KILLS, |progress| {
        for _ in 0..KILLS {
            progress.wait_for(BETWEEN)?;
            plane.kill();
            plane.start()?;
        }
        progress.wait_for(BETWEEN)
    })
}

fn snapshot(plane: &Plane) -> Result<()> {
    let (data, file) = (plane.dir().join("data"), plane.dir().join("snapshot"));
    let skiff = |args: &[&str]| -> Result<Run> {
        let run = Run::new(&needs::skiff()?, ["snapshot"].iter().chain(args));
        Ok(run.arg(&file).arg("--data-dir").arg(&data))
    };
    let api = plane.api()?;
    let map = |name: &str| json!({"metadata": {"name": name}});
    let kept = api.post(MAPS, &map("kept"))?.success()?;
    let said = skiff(&["save"])?.ok()?;
    ensure!(said.contains("objects at revision") && said.contains("pki"), "{said}");
    let lost = api.post(MAPS, &map("lost"))?.success()?;
    let refused = skiff(&["restore", "--force"])?.fails()?;
    ensure!(refused.contains("in use by process"), "{refused}");
    plane.kill();
    let refused = skiff(&["restore"])?.fails()?;
    ensure!(refused.contains("--force"), "{refused}");
    let said = skiff(&["restore", "--force"])?.ok()?;
    ensure!(said.contains("revisions go on from"), "{said}");
    plane.start()?;
    // The certificates are those from before.
    let now = plane.api()?.get(&format!("{MAPS}/kept"))?.success()?;
    ensure!(now.text("/metadata/uid") == kept.text("/metadata/uid"), "{now:?}");
    ensure!(now.resource_version() > lost.resource_version() + 1_000_000, "{now:?}");
    let gone = plane.api()?.get(&format!("{MAPS}/lost"))?;
    ensure!(gone.status == 404, "{gone:?}");
    std::fs::write(&file, &std::fs::read(&file)?[..5_000])?;
    plane.kill();
    let refused = skiff(&["restore", "--force"])?.fails()?;
    ensure!(refused.contains("no whole snapshot"), "{refused}");
    plane.start()
}
