//! What the kernel tells about the process and the machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::Cluster;
use e2e::kubectl::Run;
use e2e::needs;

use crate::Table;

/// Memory and processor time of an idle cluster.
pub fn idle(cluster: &Cluster, seconds: u64, table: &mut Table) -> Result<()> {
    let pid = cluster.pid()?;
    let (began, before) = (Instant::now(), ticks(pid)?);
    // The time itself is what is measured here.
    std::thread::sleep(Duration::from_secs(seconds));
    let used = (ticks(pid)? - before) as f64 / 100.0 / began.elapsed().as_secs_f64();
    let memory = status(pid, "VmRSS:")?;
    table.row(
        &format!("idle memory after {seconds} s, containerd aside"),
        format!("{:.1} MB", memory / 1024.0),
        "< 60 MB",
    );
    table.row(&format!("idle CPU over {seconds} s"), format!("{:.2}% of a core", used * 100.0), "< 0.5%");
    Ok(())
}

/// Processor time of a process, in hundredths of a second.
fn ticks(pid: i32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the process's times")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(field(11) + field(12))
}

/// A figure of /proc/PID/status, in kB.
pub fn status(pid: i32, name: &str) -> Result<f64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading the process's status")?;
    let line = status.lines().find_map(|l| l.strip_prefix(name)).context("no such figure")?;
    line.trim().trim_end_matches(" kB").parse().context("no number")
}

/// The machine in one line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("");
    let cores = cpuinfo.lines().filter(|l| l.starts_with("processor")).count();
    let memory =
        read("/proc/meminfo").split_whitespace().nth(1).and_then(|k| k.parse::<u64>().ok()).unwrap_or(0);
    let os = read("/etc/os-release");
    let os =
        os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("").trim_matches('"').to_owned();
    let containerd = needs::program("containerd").and_then(|p| Run::new(&p, ["--version"]).ok().ok());
    let containerd = containerd.unwrap_or_default();
    format!(
        "{cores} × {}, {} GB, {os}, kernel {}, containerd {}",
        model.trim_start_matches([' ', '\t', ':']),
        memory / 1024 / 1024,
        read("/proc/sys/kernel/osrelease").trim(),
        containerd.split_whitespace().nth(2).unwrap_or("?"),
    )
}
