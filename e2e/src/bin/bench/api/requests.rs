//! Create, get and list with 64 requests in flight.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::load::{self, rounded};
use super::objects::{config_map, pod, service_account};
use super::wire::{Call, Wire};
use super::{Column, Options};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Objects of a list.
const LISTED: usize = 5_000;
/// How long a load goes on at least.
const LEAST: Duration = Duration::from_secs(3);

/// Creates what the lists are made of, each kind in turn.
pub async fn measure(wire: &Wire, options: &Options, column: &mut Column) -> Result<()> {
    let listed = if options.quick { 500 } else { LISTED };
    let account = Call::with("POST", "/api/v1/namespaces/default/serviceaccounts", &service_account());
    wire.once(account).await?.success()?;
    warm(wire, listed).await?;

    let create = |range| {
        load::run(
            wire,
            range,
            Duration::ZERO,
            |n| Call::with("POST", MAPS, &config_map(&format!("bench-{n:06}"))),
            |_| Ok(()),
        )
    };
    let first = create(0..listed).await.context("creating config maps")?;
    column.row("create ConfigMap", first.shown(), "9,600/s", "3,200/s");
    let got = load::run(
        wire,
        0..10 * listed,
        Duration::ZERO,
        move |n| Call::get(format!("{MAPS}/bench-{:06}", n % listed)),
        |reply| {
            ensure!(reply.size > 300, "an object of {} bytes", reply.size);
            Ok(())
        },
    );
    column.row("GET ConfigMap", got.await.context("getting config maps")?.shown(), "18,300/s", "6,100/s");
    let kind = "ConfigMaps";
    list(wire, column, &format!("LIST of {listed} {kind}"), MAPS, listed, "150/s", "15/s").await?;
    let cached = format!("{MAPS}?resourceVersion=0");
    list(wire, column, &format!("the same, resourceVersion=0 ({kind})"), &cached, listed, "250/s", "25/s")
        .await?;

    let created = load::run(
        wire,
        0..listed,
        Duration::ZERO,
        |n| Call::with("POST", PODS, &pod(&format!("bench-{n:06}"), None)),
        |_| Ok(()),
    );
    let created = created.await.context("creating pods")?;
    let figure = format!("{}; {} bytes each", created.shown(), created.bytes / listed);
    column.row("create Pod (2.7 KB as answered)", figure, "5,880/s", "1,470/s");
    let kind = "Pods";
    list(wire, column, &format!("LIST of {listed} {kind}"), PODS, listed, "36/s", "3.6/s").await?;
    let cached = format!("{PODS}?resourceVersion=0");
    list(wire, column, &format!("the same, resourceVersion=0 ({kind})"), &cached, listed, "70/s", "7/s").await
}

/// The first writes of a server meet a cold allocator and file.
async fn warm(wire: &Wire, count: usize) -> Result<()> {
    let path = "/api/v1/namespaces/kube-public/configmaps";
    let call = move |n| Call::with("POST", path, &config_map(&format!("warm-{n}")));
    load::run(wire, 0..count.min(1000), Duration::ZERO, call, |_| Ok(())).await.context("warming up")?;
    Ok(())
}

/// Lists whole bodies: the first is parsed and counted, the others must have its status and size.
async fn list(
    wire: &Wire,
    column: &mut Column,
    what: &str,
    path: &str,
    count: usize,
    goal: &'static str,
    upstream: &'static str,
) -> Result<()> {
    let first = wire.once(Call::get(path)).await?.success()?;
    let parsed: Value = serde_json::from_slice(&first.body).context("reading a list")?;
    let items = parsed.get("items").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(items >= count, "{path} has {items} items, {count} were made");
    let (own, size) = (path.to_owned(), first.size);
    let done = load::run(
        wire,
        0..load::IN_FLIGHT,
        LEAST,
        move |_| Call::get(own.clone()),
        move |reply| {
            // Its own revision may have more digits than the first one's.
            ensure!(reply.size.abs_diff(size) < 8, "a list of {} bytes, the first had {size}", reply.size);
            Ok(())
        },
    );
    let done = done.await.with_context(|| format!("listing {path}"))?;
    let volume = done.bytes as f64 / done.took.as_secs_f64() / 1e6;
    let figure = format!("{}; {:.1} MB each, {} MB/s", done.shown(), size as f64 / 1e6, rounded(volume));
    column.row(what, figure, goal, upstream);
    Ok(())
}
