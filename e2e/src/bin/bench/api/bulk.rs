//! A large cluster's pods: what they take in memory, how long a list of all takes, and a start on them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::load::{self, rounded};
use super::objects::{pod, service_account};
use super::target::Target;
use super::wire::{Call, Wire};
use super::{Column, Options};
use crate::process;

/// Bytes of one of ten lists at once.
const LIST: usize = 100 << 20;

/// Fills the server and measures.
pub fn measure(target: &mut Target, runtime: &Runtime, options: &Options, column: &mut Column) -> Result<()> {
    let count = if options.quick { 2_000 } else { 150_000 };
    let thousands = format!("{count} pods of 2.7 KB");
    runtime.block_on(fill(&target.wire, count, column))?;
    let pid = target.pid()?;
    column.row(&format!("{thousands}, memory after creating them"), memory(pid, "VmRSS:")?, "< 1,000 MB", "");

    let began = target.restart(runtime)?;
    let pid = target.pid()?;
    let ready = format!("{:.2} s", began.as_secs_f64());
    column.row(&format!("cold start on {thousands}, to ready"), ready, "< 5 s", "");
    column.row(&format!("{thousands}, memory after a start"), memory(pid, "VmRSS:")?, "< 1,000 MB", "");

    let (bytes, took) = runtime.block_on(list(&target.wire, "/api/v1/pods", count))?;
    let figure = format!("{:.2} s; {:.0} MB", took.as_secs_f64(), bytes as f64 / 1e6);
    column.row(&format!("LIST of {thousands}"), figure, "< 3 s", "");

    // Ten at once of a hundred megabytes, or of all where all are less.
    let space = "/api/v1/namespaces/bench-some/pods";
    let before = process::status(pid, "VmRSS:")?;
    // Lets the kernel forget the highest so far.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting the peak of memory")?;
    let sizes = runtime.block_on(async {
        let mut lists = JoinSet::new();
        for _ in 0..10 {
            let wire = target.wire.clone();
            lists.spawn(async move { list(&wire, space, 1).await });
        }
        let mut sizes = Vec::new();
        while let Some(done) = lists.join_next().await {
            sizes.push(done??.0);
        }
        anyhow::Ok(sizes)
    })?;
    let more = (process::status(pid, "VmHWM:")? - before) / 1024.0;
    let each = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64 / 1e6;
    let figure = format!("+{more:.0} MB");
    column.row(&format!("ten LISTs of {each:.0} MB at once, memory"), figure, "< +50 MB", "");
    Ok(())
}

/// Creates the pods, a hundred megabytes of them in a namespace of their own.
async fn fill(wire: &Wire, count: usize, column: &mut Column) -> Result<()> {
    for name in ["bench-some", "bench-rest"] {
        let space = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        wire.once(Call::with("POST", "/api/v1/namespaces", &space)).await?.success()?;
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
        wire.once(Call::with("POST", path, &service_account())).await?.success()?;
    }
    let path = |some: bool| format!("/api/v1/namespaces/bench-{}/pods", if some { "some" } else { "rest" });
    let first = Call::with("POST", path(true), &pod("pod-first", None));
    let size = wire.once(first).await?.success()?.size;
    let some = (LIST / size).min(count);
    let made = load::run(
        wire,
        1..count,
        Duration::ZERO,
        move |n| {
            Call::with(
                "POST",
                path(n < some),
                &pod(&format!("pod-{n:06}"), Some(&format!("node-{}", n % 5000))),
            )
        },
        |_| Ok(()),
    );
    let made = made.await.context("creating many pods")?;
    let figure = format!("{}, {size} bytes each as answered", made.shown());
    column.row(&format!("create of these {count} pods"), figure, "", "");
    Ok(())
}

/// One list, read whole and thrown away.
async fn list(wire: &Wire, path: &str, least: usize) -> Result<(usize, Duration)> {
    let mut conn = wire.connect().await?;
    let began = Instant::now();
    let reply = conn.send(Call::get(path), false).await?.success()?;
    ensure!(reply.size > least * 1_000, "a list of {} bytes", rounded(reply.size as f64));
    Ok((reply.size, began.elapsed()))
}

fn memory(pid: i32, what: &str) -> Result<String> {
    Ok(format!("{:.0} MB", process::status(pid, what)? / 1024.0))
}
