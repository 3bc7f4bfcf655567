//! Many requests in flight, and what they took.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::wire::{Call, Reply, Wire};
use crate::percentile;

/// Requests in flight, as upstream's figures were taken.
pub const IN_FLIGHT: usize = 64;

/// A finished load.
pub struct Done {
    /// Seconds each request took.
    pub times: Vec<f64>,
    /// All together.
    pub took: Duration,
    /// Bytes of all bodies.
    pub bytes: usize,
}

impl Done {
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }
    /// Rate, and the middle and worst of a hundred in milliseconds.
    pub fn shown(&self) -> String {
        let at = |share| percentile(&self.times, share) * 1000.0;
        format!("{}/s; {:.1} / {:.1} ms", rounded(self.rate()), at(0.5), at(0.99))
    }
}

/// A rate, as precise as it is.
pub fn rounded(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Sends `count` requests, each when one of those in flight is done; goes on until `least` has passed.
pub async fn run(
    wire: &Wire,
    range: Range<usize>,
    least: Duration,
    call: impl Fn(usize) -> Call + Send + Sync + 'static,
    check: impl Fn(&Reply) -> Result<()> + Send + Sync + 'static,
) -> Result<Done> {
    let mut conns = Vec::new();
    for _ in 0..IN_FLIGHT {
        conns.push(wire.connect().await?);
    }
    let (next, call, check) = (Arc::new(AtomicUsize::new(range.start)), Arc::new(call), Arc::new(check));
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    for mut conn in conns {
        let (next, call, check, end) = (next.clone(), call.clone(), check.clone(), range.end);
        lanes.spawn(async move {
            let (mut times, mut bytes) = (Vec::new(), 0);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= end && began.elapsed() >= least {
                    return anyhow::Ok((times, bytes));
                }
                let sent = Instant::now();
                let reply = conn.send(call(n), false).await?.success()?;
                check(&reply)?;
                times.push(sent.elapsed().as_secs_f64());
                bytes += reply.size;
            }
        });
    }
    let (mut times, mut bytes) = (Vec::new(), 0);
    while let Some(lane) = lanes.join_next().await {
        let (t, b) = lane??;
        times.extend(t);
        bytes += b;
    }
    let took = began.elapsed();
    ensure!(!times.is_empty(), "no request was sent");
    Ok(Done { times, took, bytes })
}

/// Writes at a fixed rate, whatever becomes of them: true if the server kept up.
pub async fn paced(
    wire: &Wire,
    rate: usize,
    count: usize,
    call: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<bool> {
    let mut conns = Vec::new();
    for _ in 0..IN_FLIGHT {
        conns.push(wire.connect().await?);
    }
    let (next, call) = (Arc::new(AtomicUsize::new(0)), Arc::new(call));
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    for mut conn in conns {
        let (next, call) = (next.clone(), call.clone());
        lanes.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(());
                }
                let due = began + Duration::from_secs_f64(n as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                conn.send(call(n), false).await?.success()?;
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(began.elapsed().as_secs_f64() < 1.1 * count as f64 / rate as f64 + 0.1)
}
