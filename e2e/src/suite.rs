//! Runs the tests of one scenario on one shared fixture and speaks like cargo's own harness.
//!
//! Tests are functions; several run at the same time, each in a namespace of its own. A panic fails its test only.
//! The fixture is taken down at the end, after a panic and after a signal, and that the machine is as it was found
//! is the last test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};
use nix::sys::signal::{SigSet, Signal};

use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::needs::{self, Skip};
use crate::plane::Plane;
use crate::slot::{self, Slot};

/// One test: its name, and whether it may share the machine with others.
pub struct Test<F> {
    name: &'static str,
    alone: bool,
    run: fn(&F) -> Result<()>,
}

/// A test that runs beside others.
pub const fn test<F>(name: &'static str, run: fn(&F) -> Result<()>) -> Test<F> {
    Test { name, alone: false, run }
}

/// A test that runs by itself, after the others.
pub const fn alone<F>(name: &'static str, run: fn(&F) -> Result<()>) -> Test<F> {
    Test { name, alone: true, run }
}

/// What tests share.
pub trait Fixture: Send + Sync + Sized + 'static {
    /// Why the machine cannot run it.
    fn possible() -> Result<(), Skip>;
    /// Makes it.
    fn make(slot: Slot) -> Result<Self>;
    /// Takes it down.
    fn end(&self) -> Result<()>;
    /// Where it is on the machine.
    fn slot(&self) -> &Slot;
    /// Worth knowing after a failure.
    fn log(&self) -> String {
        String::new()
    }
}

impl Fixture for Cluster {
    fn possible() -> Result<(), Skip> {
        needs::containers()
    }
    fn make(slot: Slot) -> Result<Self> {
        let cluster = Self::up(slot, &[])?;
        println!("cluster up after {:.2} s", cluster.took.as_secs_f64());
        cluster.import_images()?;
        Ok(cluster)
    }
    fn end(&self) -> Result<()> {
        self.take_down()
    }
    fn slot(&self) -> &Slot {
        Self::slot(self)
    }
    fn log(&self) -> String {
        Cluster::log(self)
    }
}

impl Fixture for Plane {
    fn possible() -> Result<(), Skip> {
        Ok(())
    }
    fn make(slot: Slot) -> Result<Self> {
        Self::up(slot, &[])
    }
    fn end(&self) -> Result<()> {
        self.stop()
    }
    fn slot(&self) -> &Slot {
        Self::slot(self)
    }
    fn log(&self) -> String {
        self.said()
    }
}

#[derive(Default)]
struct Counts {
    passed: AtomicUsize,
    failed: AtomicUsize,
    skipped: AtomicUsize,
    filtered: usize,
}

struct Options {
    filters: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

impl Options {
    fn from_args() -> Self {
        let mut options = Self { filters: Vec::new(), exact: false, list: false, threads: 4 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => options.list = true,
                "--exact" => options.exact = true,
                "--test-threads" => {
                    options.threads = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
                }
                other if other.starts_with("--test-threads=") => {
                    options.threads = other[15..].parse().unwrap_or(1);
                }
                other if other.starts_with('-') => {}
                other => options.filters.push(other.to_owned()),
            }
        }
        options
    }
    fn wants(&self, name: &str) -> bool {
        let matches = |f: &String| if self.exact { name == f } else { name.contains(f.as_str()) };
        self.filters.is_empty() || self.filters.iter().any(matches)
    }
}

/// Runs a scenario.
pub fn run<F: Fixture>(tests: Vec<Test<F>>) -> ExitCode {
    let options = Options::from_args();
    let all = tests.len();
    let tests: Vec<_> = tests.into_iter().filter(|t| options.wants(t.name)).collect();
    if options.list {
        tests.iter().for_each(|t| println!("{}: test", t.name));
        return ExitCode::SUCCESS;
    }
    let counts = Counts { filtered: all - tests.len(), ..Counts::default() };
    println!("\nrunning {} tests", tests.len());
    let started = Instant::now();
    if let Err(reason) = F::possible() {
        tests.iter().for_each(|t| skipped(&counts, t.name, &reason));
        return finish(&counts, started);
    }
    if tests.is_empty() {
        return finish(&counts, started);
    }
    let ended = on_fixture(&tests, &options, &counts);
    if let Err(e) = ended {
        report(&counts, "fixture", Err(e));
    }
    finish(&counts, started)
}

fn on_fixture<F: Fixture>(tests: &[Test<F>], options: &Options, counts: &Counts) -> Result<()> {
    // Blocked here, so that no thread but the one that waits sees them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block()?;
    let slot = Slot::take()?;
    let before = if slot.dir().exists() { None } else { Some(Machine::look(&slot)) };
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            eprintln!("got {signal}: cleaning");
            clean();
            std::process::exit(130);
        }
    });
    let fixture = F::make(slot)?;
    let (lonely, social): (Vec<_>, Vec<_>) = tests.iter().partition(|t| t.alone);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, social.len().max(1)) {
            scope.spawn(|| {
                while let Some(test) = social.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(test, &fixture, counts);
                }
            });
        }
    });
    lonely.into_iter().for_each(|test| one(test, &fixture, counts));
    if counts.failed.load(Ordering::Relaxed) > 0 {
        let log = fixture.log();
        let tail: Vec<_> = log.lines().rev().take(60).collect();
        println!(
            "---- the end of the cluster's log\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    let ending = Instant::now();
    let ended = fixture.end();
    println!("taken_down took {:.1} s", ending.elapsed().as_secs_f64());
    report(counts, "taken_down", ended);
    if let Some(before) = before {
        report(counts, "machine_as_it_was_found", before.check(fixture.slot()));
    }
    Ok(())
}

/// Takes down whatever this process has started, wherever its owners are.
fn clean() {
    crate::kubectl::end_all();
    for slot in slot::all_owned() {
        let dir = slot.dir();
        let cleaned = if dir.join("data/skiff.log").exists() || dir.join("run").exists() {
            Cluster::abandon(slot)
        } else if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(Into::into)
        } else {
            Ok(())
        };
        if let Err(e) = cleaned {
            eprintln!("cleaning {}: {e:#}", dir.display());
        }
    }
}

fn one<F>(test: &Test<F>, fixture: &F, counts: &Counts) {
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (test.run)(fixture))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
        Err(anyhow!("panicked: {}", text.unwrap_or_default()))
    });
    println!("{} took {:.1} s", test.name, started.elapsed().as_secs_f64());
    report(counts, test.name, result);
}

// Lines of tests that run at the same time must not mix.
static OUTPUT: Mutex<()> = Mutex::new(());

fn report(counts: &Counts, name: &str, result: Result<()>) {
    match result {
        Ok(()) => {
            counts.passed.fetch_add(1, Ordering::Relaxed);
            println!("test {name} ... ok");
        }
        Err(e) if e.downcast_ref::<Skip>().is_some() => skipped(counts, name, &Skip(e.to_string())),
        Err(e) => {
            counts.failed.fetch_add(1, Ordering::Relaxed);
            let guard = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
            println!("test {name} ... FAILED\n---- {name}\n{e:#}\n----");
            drop(guard);
        }
    }
}

fn skipped(counts: &Counts, name: &str, reason: &Skip) {
    counts.skipped.fetch_add(1, Ordering::Relaxed);
    println!("test {name} ... ignored\nSKIPPED {name}: {reason}");
}

fn finish(counts: &Counts, started: Instant) -> ExitCode {
    let failed = counts.failed.load(Ordering::Relaxed);
    println!(
        "\ntest result: {}. {} passed; {failed} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        counts.passed.load(Ordering::Relaxed),
        counts.skipped.load(Ordering::Relaxed),
        counts.filtered,
        started.elapsed().as_secs_f64(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
