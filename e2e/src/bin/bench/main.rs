//! `make bench`: the figures of a build, as a table with the machine's description.
//!
//! Starts a cluster of its own, measures it, takes it down. `SKIFF_BIN` is what is measured.

mod api;
mod pods;
mod process;

use std::process::ExitCode;

use anyhow::{Context, Result};
use e2e::slot::Slot;
use e2e::{Cluster, needs};

/// Rows of the table: what, figure, goal.
#[derive(Default)]
pub struct Table(Vec<[String; 3]>);

impl Table {
    /// Adds and shows a row.
    pub fn row(&mut self, what: &str, figure: String, goal: &str) {
        eprintln!("{what}: {figure}");
        self.0.push([what.to_owned(), figure, goal.to_owned()]);
    }

    fn print(&self) {
        println!("| what | measured | goal |\n|---|---|---|");
        for [what, figure, goal] in &self.0 {
            println!("| {what} | {figure} | {goal} |");
        }
    }
}

fn main() -> ExitCode {
    if let Err(reason) = needs::containers() {
        println!("SKIPPED bench: {reason}");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let quick = std::env::args().any(|a| a == "--quick");
    let mut table = Table::default();
    let skiff = needs::skiff()?;
    let size = std::fs::metadata(&skiff).with_context(|| format!("{}", skiff.display()))?.len();
    table.row("size of the program", format!("{:.1} MB", size as f64 / 1e6), "< 40 MB");

    // The first start makes everything; the fastest of the next two cold ones shows less of the disk's mood.
    let (mut api_ready, mut node_ready) = (Vec::new(), Vec::new());
    for _ in 0..if quick { 1 } else { 3 } {
        let cluster = Cluster::up(Slot::take()?, &[])?;
        api_ready.extend(cluster.step("API server answers"));
        node_ready.extend(cluster.step("node Ready"));
        cluster.take_down()?;
    }
    table.row("`skiff up`, cold, to API ready", format!("{} s", of(&api_ready)), "< 0.3 s");
    table.row("`skiff up`, cold, to node Ready", format!("{} s", of(&node_ready)), "< 1.5 s");

    let cluster = Cluster::up(Slot::take()?, &[])?;
    process::idle(&cluster, if quick { 5 } else { 60 }, &mut table)?;
    cluster.import_images()?;
    pods::measure(&cluster, if quick { 5 } else { 20 }, &mut table)?;
    api::measure(&cluster, if quick { 500 } else { 5000 }, &mut table)?;
    cluster.take_down()?;

    println!("{}\n", process::machine());
    table.print();
    Ok(())
}

/// All values and the middle one.
fn of(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let all: Vec<_> = values.iter().map(|v| format!("{v:.2}")).collect();
    format!("{:.2} (of {})", sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN), all.join(", "))
}

/// The value that `share` of all are below.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get(((last as f64) * share).round() as usize).copied().unwrap_or(f64::NAN)
}
