//! Watches: one stream of events to many, and many streams to one watcher each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::load::{self, rounded};
use super::objects::{config_map, pod, service_account};
use super::wire::{Call, Watch, Wire};
use super::{Column, Options};
use crate::percentile;

/// What an event's object carries: when it was written, in microseconds since the start.
const MARK: &[u8] = b"\"at\":\"";

/// Watchers of a measurement: they count events and note how late each came.
struct Crowd {
    events: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    ended: mpsc::UnboundedReceiver<Result<Vec<u32>>>,
    count: usize,
}

/// Delivered events.
struct Delivered {
    events: usize,
    /// Milliseconds each was late.
    late: Vec<f64>,
}

impl Crowd {
    /// Starts watchers, a few at a time so that handshakes do not pile up.
    async fn start(
        wire: &Wire,
        count: usize,
        began: Instant,
        path: impl Fn(usize) -> String,
    ) -> Result<Self> {
        let (events, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (tell, ended) = mpsc::unbounded_channel();
        for batch in (0..count).collect::<Vec<_>>().chunks(50) {
            let mut opening = JoinSet::new();
            for &n in batch {
                let (wire, path) = (wire.clone(), path(n));
                opening.spawn(async move { wire.connect().await?.watch(path).await });
            }
            while let Some(watch) = opening.join_next().await {
                let watch = watch?.context("starting a watch")?;
                let (events, stop, tell) = (events.clone(), stop.clone(), tell.clone());
                tokio::spawn(async move {
                    let read = read(watch, &events, &stop, began).await;
                    // Nobody listens when the measurement has failed already.
                    drop(tell.send(read));
                });
            }
        }
        Ok(Self { events, stop, ended, count })
    }

    /// Waits until `events` have come, for at most `limit`, and ends the watchers by `wake`, a last event to each.
    async fn finish(
        mut self,
        events: usize,
        limit: Duration,
        wake: impl Future<Output = Result<()>>,
    ) -> Result<Delivered> {
        let deadline = Instant::now() + limit;
        while self.events.load(Ordering::Relaxed) < events && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let got = self.events.load(Ordering::Relaxed);
        ensure!(got >= events, "{got} of {events} events have come");
        self.stop.store(true, Ordering::Relaxed);
        wake.await?;
        let mut late = Vec::with_capacity(events);
        for _ in 0..self.count {
            let times = self.ended.recv().await.context("a watcher is gone")??;
            late.extend(times.into_iter().map(|t| f64::from(t) / 1000.0));
        }
        Ok(Delivered { events: got, late })
    }
}

/// Reads events until told to stop.
async fn read(mut watch: Watch, events: &AtomicUsize, stop: &AtomicBool, began: Instant) -> Result<Vec<u32>> {
    let (mut late, mut rest) = (Vec::new(), Vec::new());
    let mut hint = 0;
    while let Some(piece) = watch.next().await? {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let now = began.elapsed().as_micros();
        let whole = rest.is_empty() && piece.last() == Some(&b'\n');
        if !whole {
            rest.extend_from_slice(&piece);
        }
        let lines = if whole { &piece[..] } else { &rest[..] };
        let Some(end) = lines.iter().rposition(|b| *b == b'\n') else { continue };
        let mut found = 0;
        for line in lines[..end].split(|b| *b == b'\n') {
            ensure!(
                !line.starts_with(br#"{"type":"ERROR""#),
                "a watch was ended: {}",
                String::from_utf8_lossy(line)
            );
            let at = mark(line, &mut hint).context("an event without a mark")?;
            late.push(u32::try_from(now.saturating_sub(at))?);
            found += 1;
        }
        if !whole {
            rest.drain(..=end);
        }
        events.fetch_add(found, Ordering::Relaxed);
    }
    Ok(late)
}

/// The mark of an event; it is most often where the last one was.
fn mark(line: &[u8], hint: &mut usize) -> Option<u128> {
    let here = line.get(*hint..).is_some_and(|l| l.starts_with(MARK));
    if !here {
        *hint = line.windows(MARK.len()).position(|w| w == MARK)?;
    }
    let digits = line.get(*hint + MARK.len()..)?.iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, d| n * 10 + u128::from(d - b'0')))
}

/// The revision a watch starts from.
async fn revision(wire: &Wire, path: &str) -> Result<String> {
    let reply = wire.once(Call::get(format!("{path}?limit=1"))).await?.success()?;
    let list: Value = serde_json::from_slice(&reply.body)?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?.to_owned())
}

/// Every event to a thousand watchers, at rising rates: the highest at which the worst of a hundred is not later
/// than upstream's was when it was noted, and how late it is at each rate, for a machine on which that is too strict.
pub async fn fan_out(wire: &Wire, options: &Options, column: &mut Column) -> Result<()> {
    const PATH: &str = "/api/v1/namespaces/kube-node-lease/configmaps";
    const WORST: f64 = 52.0;
    // Beyond this nobody is served any more.
    const HOPELESS: f64 = 250.0;
    let watchers = if options.quick { 50 } else { 1_000 };
    let targets = 64;
    for n in 0..targets {
        wire.once(Call::with("POST", PATH, &config_map(&format!("fan-{n:02}")))).await?.success()?;
    }
    let mut best: Option<(f64, f64)> = None;
    let mut tried = Vec::new();
    for rate in [30, 60, 90, 120, 150, 180, 210, 230, 260, 300, 350, 400, 500] {
        let count = rate * 4;
        let from = revision(wire, PATH).await?;
        let began = Instant::now();
        let path = |_| format!("{PATH}?watch=true&resourceVersion={from}");
        let crowd = Crowd::start(wire, watchers, began, path).await?;
        let sent = Instant::now();
        let call = move |n: usize| {
            let mut map = config_map(&format!("fan-{:02}", n % targets));
            map["data"]["at"] = began.elapsed().as_micros().to_string().into();
            Call::with("PUT", format!("{PATH}/fan-{:02}", n % targets), &map)
        };
        let kept_up = load::paced(wire, rate, count, call).await?;
        let wake = async {
            let last = Call::with("PATCH", format!("{PATH}/fan-00"), &json!({"data": {"at": "0"}}));
            wire.once(last).await?.success().map(|_| ())
        };
        let delivered = match crowd.finish(count * watchers, Duration::from_secs(10), wake).await {
            Ok(delivered) => delivered,
            Err(e) => {
                tried.push(format!("{rate}: {e:#}"));
                break;
            }
        };
        let took = sent.elapsed().as_secs_f64().max(count as f64 / rate as f64);
        let (p99, per_second) = (percentile(&delivered.late, 0.99), delivered.events as f64 / took);
        tried.push(format!("{}/s p99 {p99:.0} ms", rounded(per_second)));
        if !kept_up || p99 > HOPELESS {
            break;
        }
        if p99 <= WORST {
            best = Some((per_second, p99));
        }
    }
    eprintln!("  fan-out: {}", tried.join("; "));
    let figure = match best {
        Some((rate, p99)) => format!("{} events/s; p99 {p99:.0} ms", rounded(rate)),
        None => format!("none within {WORST} ms"),
    };
    column.row(
        &format!("fan-out to {watchers} watchers, p99 within 52 ms"),
        figure,
        "228,000 events/s",
        "57,000 events/s; p99 52 ms",
    );
    column.row(&format!("fan-out to {watchers} watchers, by rate"), tried.join("; "), "", "");
    Ok(())
}

/// A watcher for each node, a thousand updates a second over all of them.
pub async fn by_node(wire: &Wire, options: &Options, column: &mut Column) -> Result<()> {
    const SPACE: &str = "/api/v1/namespaces/kube-node-lease";
    let nodes = if options.quick { 200 } else { 5_000 };
    let (rate, seconds) = (1_000, if options.quick { 2 } else { 10 });
    let pods = format!("{SPACE}/pods");
    wire.once(Call::with("POST", format!("{SPACE}/serviceaccounts"), &service_account())).await?.success()?;
    let path = pods.clone();
    let create =
        move |n| Call::with("POST", path.clone(), &pod(&format!("on-{n}"), Some(&format!("node-{n}"))));
    load::run(wire, 0..nodes, Duration::ZERO, create, |_| Ok(())).await.context("creating pods on nodes")?;
    let from = revision(wire, &pods).await?;
    let began = Instant::now();
    let path =
        |n| format!("/api/v1/pods?watch=true&resourceVersion={from}&fieldSelector=spec.nodeName%3Dnode-{n}");
    let crowd = Crowd::start(wire, nodes, began, path).await?;
    let (count, own) = (rate * seconds, pods.clone());
    let update = move |n: usize| {
        let at = began.elapsed().as_micros().to_string();
        Call::with(
            "PATCH",
            format!("{own}/on-{}", n % nodes),
            &json!({"metadata": {"annotations": {"at": at}}}),
        )
    };
    let kept_up = load::paced(wire, rate, count, update).await?;
    let wake = async {
        let last = move |n: usize| {
            Call::with("PATCH", format!("{pods}/on-{n}"), &json!({"metadata": {"annotations": {"at": "0"}}}))
        };
        load::run(wire, 0..nodes, Duration::ZERO, last, |_| Ok(())).await.map(|_| ())
    };
    let delivered = crowd.finish(count, Duration::from_secs(20), wake).await?;
    let at = |share| percentile(&delivered.late, share);
    let behind = if kept_up { "" } else { "; writes fell behind" };
    let figure = format!("p50 {:.1}, p90 {:.1}, p99 {:.1} ms{behind}", at(0.5), at(0.9), at(0.99));
    column.row(&format!("{nodes} watchers by node, {rate} updates/s"), figure, "p99 < 20 ms", "");
    Ok(())
}
