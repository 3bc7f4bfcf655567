//! The API server alone under the loads that upstream's figures were taken with: JSON, TLS, real sockets,
//! 64 requests in flight. Each server (ours on each store, upstream's on etcd) is a column.

mod bulk;
mod load;
mod objects;
mod requests;
mod target;
mod watches;
mod wire;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::process;
use target::Target;
pub use target::{Kind, upstream};

/// What is measured, and how much of it.
pub struct Options {
    /// Small numbers, to try the benchmark itself.
    pub quick: bool,
    /// The servers.
    pub kinds: Vec<Kind>,
    /// The parts: `requests`, `fanout`, `nodes`, `bulk`; all when empty.
    pub parts: Vec<String>,
}

impl Options {
    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| p == part)
    }
}

/// Figures of one server.
struct Column {
    kind: Kind,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    figure: String,
    goal: &'static str,
    upstream: &'static str,
}

impl Column {
    fn row(&mut self, what: &str, figure: String, goal: &'static str, upstream: &'static str) {
        eprintln!("{}: {what}: {figure}", self.kind.name());
        self.rows.push(Row { what: what.to_owned(), figure, goal, upstream });
    }
}

/// Measures each server after the other and prints one table.
pub fn measure(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("a runtime")?;
    let mut columns = Vec::new();
    for &kind in &options.kinds {
        let mut column = Column { kind, rows: Vec::new() };
        one(kind, &runtime, options, &mut column).with_context(|| format!("measuring {}", kind.name()))?;
        columns.push(column);
    }
    print(&columns);
    Ok(())
}

/// Parts that leave much behind get a server of their own.
fn one(kind: Kind, runtime: &Runtime, options: &Options, column: &mut Column) -> Result<()> {
    if options.has("requests") || options.has("fanout") || options.has("nodes") {
        let target = Target::start(kind, runtime)?;
        column.row(
            "memory at start",
            format!("{:.0} MB", process::status(target.pid()?, "VmRSS:")? / 1024.0),
            "",
            "",
        );
        if options.has("requests") {
            runtime.block_on(requests::measure(&target.wire, options, column))?;
        }
        if options.has("fanout") {
            runtime.block_on(watches::fan_out(&target.wire, options, column))?;
        }
        if options.has("nodes") {
            runtime.block_on(watches::by_node(&target.wire, options, column))?;
        }
    }
    if options.has("bulk") {
        bulk::measure(&mut Target::start(kind, runtime)?, runtime, options, column)?;
    }
    Ok(())
}

fn print(columns: &[Column]) {
    let names: Vec<_> = columns.iter().map(|c| format!(" {} |", c.kind.name())).collect();
    println!("| rate; p50 / p99 |{} goal | upstream 1.20, noted |", names.concat());
    println!("|---|{}---|---|", "---|".repeat(columns.len()));
    let Some(longest) = columns.iter().max_by_key(|c| c.rows.len()) else { return };
    for row in &longest.rows {
        let figure = |c: &Column| {
            let found = c.rows.iter().find(|r| r.what == row.what);
            format!(" {} |", found.map_or("", |r| r.figure.as_str()))
        };
        let figures: String = columns.iter().map(figure).collect();
        println!("| {} |{figures} {} | {} |", row.what, row.goal, row.upstream);
    }
}
