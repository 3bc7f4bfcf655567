//! Requests to the API server with 64 in flight, and what they leave in memory.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::Cluster;
use e2e::client::{Api, send};
use futures::StreamExt;
use kube::Client;
use serde_json::json;

use crate::{Table, process};

const IN_FLIGHT: usize = 64;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Creates `count` maps, gets each, lists all.
pub fn measure(cluster: &Cluster, count: usize, table: &mut Table) -> Result<()> {
    let api = cluster.api()?;
    // HTTP/2 carries many requests, one core of the server's a connection: as many as a busy cluster has.
    let clients: Vec<Client> = (0..8).map(|_| Ok(api.another()?.client)).collect::<Result<_>>()?;
    let json = [("content-type", "application/json")];
    let created = rate(&api, &clients, count, |client, n| async move {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("bench-{n}")},
            "data": {"a": "x".repeat(100)}});
        send(&client, "POST", MAPS, &json, body.to_string().into_bytes()).await
    })?;
    table.row("create ConfigMap, 64 in flight", format!("{created:.0}/s"), "3,200/s upstream");
    let got = rate(&api, &clients, count, |client, n| async move {
        send(&client, "GET", &format!("{MAPS}/bench-{n}"), &[], Vec::new()).await
    })?;
    table.row("GET ConfigMap, 64 in flight", format!("{got:.0}/s"), "6,100/s upstream");
    let lists = 40;
    let listed = rate(&api, &clients, lists, |client, _| async move {
        // The answer is read, not parsed: the client is not what is measured.
        let request = http::Request::get(MAPS).body(kube::client::Body::empty())?;
        let response = client.send(request).await?;
        let bytes = response.into_body().collect_bytes().await?;
        ensure!(bytes.len() > 100 * 100, "{} bytes", bytes.len());
        Ok(e2e::client::Answer { status: 200, body: serde_json::Value::Null, warnings: Vec::new() })
    })?;
    table.row(&format!("LIST of {count} ConfigMaps"), format!("{listed:.1}/s"), "15/s upstream");
    let memory = process::status(cluster.pid()?, "VmRSS:")?;
    table.row(
        &format!("memory with {count} ConfigMaps, after all this"),
        format!("{:.1} MB", memory / 1024.0),
        "",
    );
    Ok(())
}

fn rate<F>(api: &Api, clients: &[Client], count: usize, request: impl Fn(Client, usize) -> F) -> Result<f64>
where
    F: Future<Output = Result<e2e::client::Answer>>,
{
    let began = Instant::now();
    api.wait(async {
        let calls = futures::stream::iter((0..count).map(|n| request(clients[n % clients.len()].clone(), n)));
        let mut calls = std::pin::pin!(calls.buffer_unordered(IN_FLIGHT));
        while let Some(answer) = calls.next().await {
            answer?.success().context("a request of the benchmark")?;
        }
        anyhow::Ok(())
    })?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
