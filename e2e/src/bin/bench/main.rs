//! `make bench`: the figures of a build, as a table with the machine's description.
//!
//! Starts servers of its own, measures them, takes them down. `SKIFF_BIN` is what is measured.

mod api;
mod pods;
mod process;
mod stalls;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
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

const USAGE: &str = "bench [cluster|api] [--quick] [--datastore embedded|etcd|both] [--part requests|fanout|nodes|bulk]... [--upstream]
  cluster     starts, idle cost and pods of a whole cluster (root, containerd)
  api         the API server alone; nothing but etcd for its datastore
  --upstream  measures the kube-apiserver that UPSTREAM_APISERVER names in the same run
Without a word both are measured.";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let done = match arguments(&args) {
        Ok(wanted) => run(&wanted),
        Err(e) => Err(e.context(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Wanted {
    cluster: bool,
    api: bool,
    options: api::Options,
}

fn arguments(args: &[String]) -> Result<Wanted> {
    let (mut cluster, mut api) = (false, false);
    let mut options = api::Options { quick: false, kinds: Vec::new(), parts: Vec::new() };
    let (mut store, mut beside) = ("both", false);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "cluster" => cluster = true,
            "api" => api = true,
            "--quick" => options.quick = true,
            "--upstream" => beside = true,
            "--datastore" => store = args.next().context("--datastore needs a value")?,
            "--part" => options.parts.push(args.next().context("--part needs a value")?.to_owned()),
            other => bail!("{other} is not known"),
        }
    }
    let etcd = needs::program("etcd").is_some();
    match store {
        "embedded" => options.kinds.push(api::Kind::Embedded),
        "etcd" => options.kinds.push(api::Kind::Etcd),
        "both" if etcd => options.kinds.extend([api::Kind::Embedded, api::Kind::Etcd]),
        "both" => {
            println!("SKIPPED etcd: it is not installed");
            options.kinds.push(api::Kind::Embedded);
        }
        "none" => {}
        other => bail!("{other} is no datastore"),
    }
    if beside {
        api::upstream().context("--upstream needs UPSTREAM_APISERVER, the path of a kube-apiserver")?;
        options.kinds.push(api::Kind::Upstream);
    }
    let both = !cluster && !api;
    Ok(Wanted { cluster: cluster || both, api: api || both, options })
}

fn run(wanted: &Wanted) -> Result<()> {
    // What the machine does by itself, before anything else runs on it.
    let seconds = if wanted.options.quick { 2 } else { 20 };
    let stalls = stalls::Stalls::measure(Duration::from_secs(seconds));
    println!("{}; {stalls}\n", process::machine());
    if wanted.cluster {
        match needs::containers() {
            Ok(()) => whole(wanted.options.quick)?,
            Err(reason) => println!("SKIPPED the cluster's figures: {reason}"),
        }
    }
    if wanted.api { api::measure(&wanted.options) } else { Ok(()) }
}

/// A whole cluster: how fast it starts, what it costs idle, how fast its pods run.
fn whole(quick: bool) -> Result<()> {
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
    cluster.take_down()?;

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
