//! Concurrent writers and watchers, what is done to the server in the meantime, and a checker of what each was told:
//! no update is lost, none is given twice, and every watcher sees every write once and in order, over its reconnects,
//! except what it was told by a 410 that it has to list anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result, bail, ensure};
use e2e::Plane;
use e2e::client::Api;
use e2e::wait::seconds;
use futures::{AsyncBufReadExt, TryStreamExt};
use http_body_util::BodyDataStream;
use kube::client::Body;
use serde_json::{Value, json};

/// Where everything is written.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 8;
const WATCHERS: usize = 3;
/// Counters that the writers compete for.
const KEYS: usize = 4;

/// How far the writers are.
pub struct Progress {
    acknowledged: AtomicU64,
}

impl Progress {
    /// Waits until so many more writes are acknowledged.
    pub fn wait_for(&self, more: u64) -> Result<()> {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + more;
        e2e::eventually("writes are acknowledged", seconds(90), || {
            let now = self.acknowledged.load(Ordering::Relaxed);
            ensure!(now >= wanted, "{now} of {wanted}");
            Ok(())
        })
    }
}

/// One acknowledged write: which counter, its version, its value.
type Written = (String, u64, u64);

/// What a watch has shown without a gap, after the version it began at.
#[derive(Default)]
struct Stretch {
    from: u64,
    /// Everything up to here was shown.
    to: u64,
    events: Vec<Written>,
}

#[derive(Default)]
struct Told {
    written: Vec<Written>,
    in_doubt: u64,
}

/// Writes and watches while `disturb` does its worst, and checks. A watcher may be told 410 once for each time the server
/// was started again: it knows no events from before then, as upstream's.
pub fn check(plane: &Plane, restarts: usize, disturb: impl FnOnce(&Progress) -> Result<()>) -> Result<()> {
    let api = plane.api()?;
    for key in 0..KEYS {
        let body = json!({"metadata": {"name": format!("counter-{key}"), "labels": {"kept": "yes"}}, "data": {"n": "0"}});
        api.post(MAPS, &body)?.success()?;
    }
    let start = api.get(MAPS)?.success()?.resource_version();
    let (stop, progress) = (AtomicBool::new(false), Progress { acknowledged: AtomicU64::new(0) });
    let end = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| (writer, plane.api()))
            .map(|(writer, api)| {
                scope.spawn({
                    let (stop, count) = (&stop, &progress.acknowledged);
                    move || write(&api?, writer, stop, count)
                })
            })
            .collect();
        let watchers: Vec<_> = (0..WATCHERS)
            .map(|_| plane.api())
            .map(|api| {
                scope.spawn({
                    let end = &end;
                    move || follow(&api?, start, end)
                })
            })
            .collect();
        let disturbed = disturb(&progress);
        // Whatever happened, everybody is let go.
        stop.store(true, Ordering::SeqCst);
        let told = joined(writers);
        let last = api.get(MAPS).and_then(e2e::client::Answer::success);
        end.store(last.as_ref().map_or(0, e2e::client::Answer::resource_version), Ordering::SeqCst);
        // A last event, so that no watcher waits for one.
        let bell = api.post(MAPS, &json!({"metadata": {"name": "bell", "labels": {"kept": "yes"}}}));
        let seen = joined(watchers);
        disturbed?;
        bell?.success()?;
        judge(&told?, &seen?, &last?.body, start, restarts)
    })
}

fn joined<T>(threads: Vec<ScopedJoinHandle<'_, Result<T>>>) -> Result<Vec<T>> {
    threads.into_iter().map(|thread| thread.join().ok().context("a client panicked")?).collect()
}

/// Adds one to a counter again and again, by the version it was read at.
fn write(api: &Api, writer: usize, stop: &AtomicBool, count: &AtomicU64) -> Result<Told> {
    let mut told = Told::default();
    let mut turn = writer;
    while !stop.load(Ordering::SeqCst) {
        turn += 1;
        let path = format!("{MAPS}/counter-{}", turn % KEYS);
        // While the server is away nothing is answered; a connection that is refused costs nothing.
        let Ok(read) = api.get(&path) else { continue };
        if read.status != 200 {
            ensure!(read.status >= 500 || read.status == 429, "{path}: {read:?}");
            continue;
        }
        let mut body = read.body;
        let next = body["data"]["n"].as_str().context("no counter")?.parse::<u64>()? + 1;
        body["data"]["n"] = next.to_string().into();
        body["data"]["by"] = writer.to_string().into();
        match api.put(&path, &body) {
            Ok(answer) if answer.status == 200 => {
                let name = answer.text("/metadata/name").to_owned();
                told.written.push((name, answer.resource_version(), next));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) if answer.status == 409 => {}
            Ok(answer) if answer.status >= 500 || answer.status == 429 => told.in_doubt += 1,
            Ok(answer) => bail!("{path}: {answer:?}"),
            Err(_) => told.in_doubt += 1,
        }
    }
    Ok(told)
}

/// Watches from `from` until everything up to `end` was seen; goes on where it was when the stream ends, or lists anew
/// when it has to.
fn follow(api: &Api, from: u64, end: &AtomicU64) -> Result<Vec<Stretch>> {
    let mut all = Vec::new();
    let mut now = Stretch { from, to: from, events: Vec::new() };
    while now.to < end.load(Ordering::SeqCst) {
        // The server is killed under it: how the stream ends says nothing.
        match api.wait(stream(api, &mut now, end)) {
            Ok(Ended::Cut) => {}
            Ok(Ended::Expired) => {
                let Some(list) = api.get(MAPS).ok().filter(|list| list.status == 200) else { continue };
                let from = list.resource_version();
                ensure!(from > now.to, "{} is too old, and now is {from}", now.to);
                all.push(std::mem::replace(&mut now, Stretch { from, to: from, events: Vec::new() }));
            }
            Err(e) => ensure!(!e.is::<Wrong>(), "{e}"),
        }
    }
    all.push(now);
    Ok(all)
}

/// How a watch has ended.
enum Ended {
    /// It may go on where it was.
    Cut,
    /// It was told 410.
    Expired,
}

/// Something that no crash excuses.
#[derive(Debug)]
struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

async fn stream(api: &Api, now: &mut Stretch, end: &AtomicU64) -> Result<Ended> {
    let path = format!("{MAPS}?watch=true&labelSelector=kept%3Dyes&resourceVersion={}", now.to);
    let response = api.client.send(http::Request::get(path).body(Body::empty())?).await?;
    ensure!(response.status() == 200, "answered with {}", response.status());
    let bytes = BodyDataStream::new(response.into_body()).map_err(std::io::Error::other);
    let mut lines = bytes.into_async_read().lines();
    while let Some(line) = lines.try_next().await? {
        // A line that a kill has cut off is none.
        let Ok(event) = serde_json::from_str::<Value>(&line) else { break };
        let object = &event["object"];
        if event["type"] == "ERROR" {
            if object["code"] == 410 {
                return Ok(Ended::Expired);
            }
            return Err(Wrong(format!("the watch is told {event}")).into());
        }
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap_or("").parse()?;
        if version <= now.to {
            return Err(Wrong(format!("version {version} after {}: {event}", now.to)).into());
        }
        now.to = version;
        if let Some(n) = object["data"]["n"].as_str() {
            let name = object["metadata"]["name"].as_str().unwrap_or("");
            now.events.push((name.to_owned(), version, n.parse()?));
        }
        if version >= end.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(Ended::Cut)
}

fn judge(told: &[Told], seen: &[Vec<Stretch>], list: &Value, start: u64, restarts: usize) -> Result<()> {
    let in_doubt: u64 = told.iter().map(|t| t.in_doubt).sum();
    let written: Vec<&Written> = told.iter().flat_map(|t| &t.written).collect();
    println!("{} writes were acknowledged, {in_doubt} are in doubt", written.len());
    let mut by_version = BTreeMap::new();
    for write in &written {
        ensure!(write.1 > start, "{write:?} is older than the beginning, {start}");
        if let Some(other) = by_version.insert(write.1, *write) {
            bail!("{write:?} and {other:?} have one version");
        }
    }
    for (name, values) in counters(by_version.values().copied()) {
        ensure!(values.windows(2).all(|w| w[0] < w[1]), "{name}: an update was lost: {values:?}");
        let now = item(list, name)?;
        let last = values.last().copied().unwrap_or(0);
        ensure!((last..=last + in_doubt).contains(&now), "{name} is {now}, and {last} was acknowledged last");
    }
    let mut everything: BTreeMap<u64, &Written> = by_version.clone();
    for (watcher, stretches) in seen.iter().enumerate() {
        let events = stretches.iter().map(|s| s.events.len()).sum::<usize>();
        println!("watcher {watcher} has seen {events} events and was told 410 {} times", stretches.len() - 1);
        ensure!(stretches.len() <= restarts + 1, "watcher {watcher} was told 410 without a restart");
        for stretch in stretches {
            for (name, values) in counters(stretch.events.iter()) {
                ensure!(
                    values.windows(2).all(|w| w[1] == w[0] + 1),
                    "{name}: watcher {watcher} has seen {values:?}"
                );
            }
            for event in &stretch.events {
                // Of one version there is one story, whoever tells it.
                let known = *everything.entry(event.1).or_insert(event);
                ensure!(known == event, "{event:?} was seen by watcher {watcher}, {known:?} elsewhere");
            }
        }
        let shown: BTreeSet<u64> = stretches.iter().flat_map(|s| &s.events).map(|event| event.1).collect();
        for write in &written {
            let due = stretches.iter().any(|s| s.from < write.1 && write.1 <= s.to);
            ensure!(
                !due || shown.contains(&write.1),
                "{write:?} was acknowledged, watcher {watcher} has missed it"
            );
        }
    }
    // What the watchers have seen beside the acknowledged writes are those in doubt.
    let extra = (everything.len() - by_version.len()) as u64;
    ensure!(extra <= in_doubt, "{extra} writes that nobody made, {in_doubt} are in doubt");
    for (name, values) in counters(everything.values().copied()) {
        ensure!(values.windows(2).all(|w| w[0] < w[1]), "{name}: {values:?}");
    }
    Ok(())
}

/// The values of each counter, in the order given.
fn counters<'a>(writes: impl Iterator<Item = &'a Written>) -> BTreeMap<&'a str, Vec<u64>> {
    let mut all: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    writes.for_each(|(name, _, value)| all.entry(name).or_default().push(*value));
    all
}

/// A counter at the end.
fn item(list: &Value, name: &str) -> Result<u64> {
    let items = list["items"].as_array().context("no items")?;
    let found = items.iter().find(|item| item["metadata"]["name"] == name).context("a counter is gone")?;
    Ok(found["data"]["n"].as_str().context("no counter")?.parse()?)
}
