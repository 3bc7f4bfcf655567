//! The whole process of a cluster dies and comes back: no container notices.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use e2e::load::Load;
use e2e::slot::Slot;
use e2e::wait::seconds;
use e2e::{Cluster, eventually, needs};

pub fn survive() -> Result<()> {
    needs::containers()?;
    let c = Cluster::up(Slot::take()?, &[])?;
    c.import_images()?;
    let ns = c.namespace("survivors")?;
    ns.k("create deployment web --image=skiff.local/hello:1 --replicas=3 --port=8080").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    ns.k("expose deployment web --port=80 --target-port=8080").ok()?;
    let ids = "{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} \
        {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].state.running.startedAt}{\"\\n\"}{end}";
    let before = ns.field("pods", ids)?;
    let ip: IpAddr = ns.field("service web", "{.spec.clusterIP}")?.parse()?;
    let address = SocketAddr::new(ip, 80);
    eventually("the Service answers", seconds(10), || e2e::load::get(address, "/"))?;
    // Even the Service goes on answering while nothing of Skiff runs.
    let load = Load::start(address, 2);
    c.kill()?;
    let alone = load.answered();
    eventually("requests are answered without Skiff", seconds(10), || {
        let now = load.answered() - alone;
        ensure!(now > 50, "{now} answered");
        Ok(())
    })?;
    c.start().context("starting again")?;
    let after = eventually("the pods are as before", seconds(20), || {
        let after = ns.field("pods", ids)?;
        ensure!(after == before, "before:\n{before}\nnow:\n{after}");
        Ok(after)
    })?;
    let (answered, failed) = load.stop();
    ensure!(failed.is_empty(), "{} of {answered} requests failed: {}", failed.len(), failed.join("\n"));
    ensure!(after.lines().count() == 3, "{after}");
    // And the cluster goes on working.
    ns.k("wait node --all --for=condition=Ready --timeout=20s").ok()?;
    ns.k("scale deployment/web --replicas=4").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let log = ns.k("logs deployment/web").ok()?;
    ensure!(log.contains("listens on port"), "{log}");
    Ok(())
}
