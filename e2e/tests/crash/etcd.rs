//! The same on etcd: first Skiff is killed, then etcd under a running Skiff.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{Background, Run};
use e2e::needs::{self, Skip};
use e2e::slot::Slot;
use e2e::wait::seconds;
use serde_json::json;

use super::history::{Acknowledged, crash_round};

/// An etcd of one member.
struct Etcd {
    program: PathBuf,
    dir: PathBuf,
    ports: (u16, u16),
    process: Option<Background>,
    _slot: Slot,
}

impl Etcd {
    fn up() -> Result<Self> {
        let program =
            needs::program("etcd").ok_or_else(|| Skip("etcd is not installed (etcd-server)".into()))?;
        let slot = Slot::take()?;
        let dir = slot.dir();
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let ports = (slot.spare_port(0), slot.spare_port(1));
        let mut etcd = Self { program, dir, ports, process: None, _slot: slot };
        etcd.start()?;
        Ok(etcd)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    fn start(&mut self) -> Result<()> {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.ports.1));
        let cluster = format!("default={peer}");
        let dir: &Path = &self.dir;
        let args = ["--listen-client-urls", &client, "--advertise-client-urls", &client];
        let args =
            args.into_iter().chain(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        let args = args.chain(["--initial-cluster", &cluster, "--data-dir"]);
        let process = Run::new(&self.program, args).arg(dir).start()?;
        let port = self.ports.0;
        e2e::eventually("etcd answers", seconds(30), || {
            let health = e2e::load::get(([127, 0, 0, 1], port).into(), "/health")?;
            ensure!(health.contains("true"), "{health}");
            Ok(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn kill(&mut self) {
        self.process = None;
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        if let Err(e) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("removing {}: {e}", self.dir.display());
        }
    }
}

pub fn killed() -> Result<()> {
    let mut etcd = Etcd::up()?;
    let plane = crate::plane(&["--etcd-endpoints".into(), etcd.url()])?;
    let mut all = Acknowledged::new();
    crash_round(&plane, 0, &mut all, || {
        plane.kill();
        plane.start()
    })?;
    // Both at once, as when the machine goes.
    crash_round(&plane, 1, &mut all, || {
        etcd.kill();
        plane.kill();
        etcd.start()?;
        plane.start()
    })?;
    // etcd alone: Skiff stays and serves again by itself.
    let api = plane.api()?;
    let maps = "/api/v1/namespaces/default/configmaps";
    let before = api.get(maps)?.success()?.resource_version();
    etcd.kill();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "while-away"}});
    let json = [("content-type", "application/json")];
    let away = e2e::client::send(&api.client, "POST", maps, &json, body.to_string().into_bytes());
    let away = api.wait(async { tokio::time::timeout(seconds(70), away).await });
    let away = away.context("a write without a store gets no answer")??;
    ensure!(away.status >= 500, "a write without a store: {away:?}");
    etcd.start()?;
    e2e::eventually("writes work again", seconds(30), || {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "back-again"}});
        let answer = api.post(maps, &body)?;
        ensure!(answer.status == 201 || answer.status == 409, "{answer:?}");
        Ok(())
    })?;
    e2e::eventually("lists are current again", seconds(30), || {
        let listed = api.get(maps)?.success()?;
        ensure!(listed.resource_version() > before, "version {} of {before}", listed.resource_version());
        let there = listed.body["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(|i| i["metadata"]["name"] == "back-again"));
        ensure!(there, "the new object is not in the list");
        Ok(())
    })
}
