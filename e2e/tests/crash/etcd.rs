//! The same on etcd: first Skiff is killed, then etcd under a running Skiff.

use anyhow::{Context, Result, ensure};
use e2e::etcd::Etcd;
use e2e::wait::seconds;
use serde_json::json;

use super::history::{Acknowledged, crash_round};

pub fn killed() -> Result<()> {
    let mut etcd = Etcd::up(None, 1)?;
    let plane = crate::plane(&["--etcd-endpoints".into(), etcd.endpoints()])?;
    let mut all = Acknowledged::new();
    crash_round(&plane, 0, &mut all, || {
        plane.kill();
        plane.start()
    })?;
    // Both at once, as when the machine goes.
    crash_round(&plane, 1, &mut all, || {
        etcd.kill(0);
        plane.kill();
        etcd.start(0)?;
        plane.start()
    })?;
    // etcd alone: Skiff stays and serves again by itself.
    let api = plane.api()?;
    let maps = "/api/v1/namespaces/default/configmaps";
    let before = api.get(maps)?.success()?.resource_version();
    etcd.kill(0);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "while-away"}});
    let json = [("content-type", "application/json")];
    let away = e2e::client::send(&api.client, "POST", maps, &json, body.to_string().into_bytes());
    let away = api.wait(async { tokio::time::timeout(seconds(70), away).await });
    let away = away.context("a write without a store gets no answer")??;
    ensure!(away.status >= 500, "a write without a store: {away:?}");
    etcd.start(0)?;
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
