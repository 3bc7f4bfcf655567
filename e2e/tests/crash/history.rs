//! Clients that create objects and remember what was acknowledged, and the checks of it after a crash.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use e2e::Plane;
use e2e::client::Api;
use e2e::wait::seconds;
use futures::{AsyncBufReadExt, TryStreamExt};
use http_body_util::BodyDataStream;
use kube::client::Body;
use serde_json::{Value, json};

const CLIENTS: u64 = 16;
const OBJECTS: u64 = 1000;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What was acknowledged: name and resource version.
pub type Acknowledged = BTreeMap<String, u64>;

pub fn embedded() -> Result<()> {
    let plane = crate::plane(&[])?;
    let mut all = Acknowledged::new();
    for round in 0..3 {
        crash_round(&plane, round, &mut all, || {
            plane.kill();
            plane.start()
        })?;
    }
    Ok(())
}

/// Creates objects, crashes in the middle, and checks what is there afterwards.
pub fn crash_round(
    plane: &Plane,
    round: u64,
    all: &mut Acknowledged,
    crash: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut watch = Watch::start(plane.api()?)?;
    let creators = Creators::start(plane, round)?;
    // In the middle of the work, another middle each time.
    let enough = OBJECTS / 4 + round * OBJECTS / 5;
    e2e::eventually("objects are being created", seconds(60), || {
        let now = creators.acknowledged();
        ensure!(now >= enough, "{now} of {enough} created");
        Ok(())
    })?;
    crash()?;
    let (new, in_doubt) = creators.finish()?;
    println!("round {round}: {} acknowledged, {} in doubt when the server was killed", new.len(), in_doubt);
    ensure!(!new.is_empty(), "nothing was created");
    all.extend(new);
    check(plane, all).with_context(|| format!("round {round}"))?;
    watch.resume(plane, round)
}

/// Every acknowledged object is there, whole, with the version that was told; versions never go back.
fn check(plane: &Plane, all: &Acknowledged) -> Result<()> {
    let api = plane.api()?;
    let listed = api.get(MAPS)?.success()?;
    let list_version = listed.resource_version();
    let mut found = BTreeMap::new();
    for item in listed.body["items"].as_array().context("no items")? {
        let name = item["metadata"]["name"].as_str().unwrap_or("").to_owned();
        let version = item["metadata"]["resourceVersion"].as_str().unwrap_or("").parse::<u64>()?;
        ensure!(version <= list_version, "{name} is newer ({version}) than the list ({list_version})");
        if name.starts_with("crash-") {
            ensure!(item["data"]["text"] == text(&name), "{name} is torn: {item}");
        }
        found.insert(name, version);
    }
    for (name, version) in all {
        match found.get(name) {
            Some(now) => ensure!(now == version, "{name} was created as {version} and is {now}"),
            None => bail!("{name} was acknowledged as {version} and is not there"),
        }
    }
    let highest = all.values().max().copied().unwrap_or(0);
    ensure!(list_version >= highest, "the list is at {list_version}, {highest} was told before");
    let next = api.post(MAPS, &object(&format!("after-{list_version}")))?.success()?;
    ensure!(next.resource_version() > highest, "versions went back: {}", next.resource_version());
    Ok(())
}

fn text(name: &str) -> String {
    name.repeat(40)
}

fn object(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text(name)}})
}

/// Clients at work.
struct Creators {
    count: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Result<(Acknowledged, u64)>>>,
}

impl Creators {
    fn start(plane: &Plane, round: u64) -> Result<Self> {
        let count = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        let api = plane.api()?;
        for client in 0..CLIENTS {
            let (api, count) = (api.another()?, count.clone());
            threads.push(thread::spawn(move || {
                let (mut done, mut in_doubt, mut last) = (Acknowledged::new(), 0, 0);
                let names = (0..OBJECTS).filter(|n| n % CLIENTS == client);
                for name in names.map(|n| format!("crash-{round}-{n}")) {
                    // Once the server is away its clients end: what they asked for last is in doubt.
                    let Ok(answer) = api.post(MAPS, &object(&name)) else {
                        in_doubt += 1;
                        break;
                    };
                    if answer.status != 201 {
                        ensure!(answer.status >= 500 || answer.status == 429, "{name}: {answer:?}");
                        in_doubt += 1;
                        continue;
                    }
                    let version = answer.resource_version();
                    ensure!(version > last, "{name}: version {version} after {last}");
                    last = version;
                    done.insert(name, version);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok((done, in_doubt))
            }));
        }
        Ok(Self { count, threads })
    }

    fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn finish(self) -> Result<(Acknowledged, u64)> {
        let (mut all, mut in_doubt) = (Acknowledged::new(), 0);
        for thread in self.threads {
            let (done, doubt) = thread.join().ok().context("a client panicked")??;
            all.extend(done);
            in_doubt += doubt;
        }
        Ok((all, in_doubt))
    }
}

/// A watch that goes on after a crash from where it was.
struct Watch {
    seen: Arc<Mutex<Vec<(String, u64)>>>,
    ended: Arc<AtomicBool>,
    from: u64,
}

impl Watch {
    fn start(api: Api) -> Result<Self> {
        let from = api.get(&format!("{MAPS}?limit=1"))?.success()?.resource_version();
        let mut watch = Self { seen: Arc::default(), ended: Arc::new(AtomicBool::new(false)), from };
        watch.follow(api, from);
        Ok(watch)
    }

    fn follow(&mut self, api: Api, from: u64) {
        let (seen, ended) = (self.seen.clone(), self.ended.clone());
        ended.store(false, Ordering::SeqCst);
        thread::spawn(move || {
            if let Err(e) = api.wait(stream(&api, from, &seen)) {
                println!("the watch from {from} has ended: {e:#}");
            }
            ended.store(true, Ordering::SeqCst);
        });
    }

    /// The stream has ended with the server; a new one from the last version seen misses nothing and repeats
    /// nothing, or is told that this is too long ago.
    fn resume(&mut self, plane: &Plane, round: u64) -> Result<()> {
        e2e::eventually("the watch ends with its server", seconds(10), || {
            ensure!(self.ended.load(Ordering::SeqCst), "it goes on");
            Ok(())
        })?;
        let last = lock(&self.seen).last().map_or(self.from, |(_, version)| *version);
        let api = plane.api()?;
        let marker = format!("marker-{round}");
        self.follow(api.another()?, last);
        api.post(MAPS, &object(&marker))?.success()?;
        let told = e2e::eventually("the watch goes on after the crash", seconds(10), || {
            let seen = lock(&self.seen);
            if seen.iter().any(|(name, _)| name == "410") {
                return Ok(410);
            }
            ensure!(seen.iter().any(|(name, _)| *name == marker), "{} events seen", seen.len());
            Ok(200)
        })?;
        if told == 410 {
            println!("round {round}: the watch was told 410 after the crash");
            return Ok(());
        }
        let seen = lock(&self.seen).clone();
        ensure!(seen.windows(2).all(|w| w[0].1 < w[1].1), "events are repeated or out of order");
        // Nothing between is missing.
        let listed = api.get(MAPS)?.success()?;
        let names: std::collections::BTreeSet<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
        let up_to = seen.last().map_or(0, |(_, v)| *v);
        for item in listed.body["items"].as_array().context("no items")? {
            let name = item["metadata"]["name"].as_str().unwrap_or("");
            let version = item["metadata"]["resourceVersion"].as_str().unwrap_or("").parse::<u64>()?;
            let due = version > self.from && version <= up_to;
            ensure!(!due || names.contains(name), "the watch has missed {name} of {version}");
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn stream(api: &Api, from: u64, seen: &Mutex<Vec<(String, u64)>>) -> Result<()> {
    let request = http::Request::get(format!("{MAPS}?watch=true&resourceVersion={from}"));
    let response = api.client.send(request.body(Body::empty())?).await?;
    if response.status() == 410 {
        lock(seen).push(("410".into(), from));
        return Ok(());
    }
    ensure!(response.status() == 200, "the watch is answered with {}", response.status());
    let bytes = BodyDataStream::new(response.into_body()).map_err(std::io::Error::other);
    let mut lines = bytes.into_async_read().lines();
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line)?;
        if event["type"] == "ERROR" {
            ensure!(event["object"]["code"] == 410, "the watch was told {event}");
            lock(seen).push(("410".into(), from));
            return Ok(());
        }
        let metadata = &event["object"]["metadata"];
        let version = metadata["resourceVersion"].as_str().unwrap_or("").parse()?;
        lock(seen).push((metadata["name"].as_str().unwrap_or("").to_owned(), version));
    }
    Ok(())
}
