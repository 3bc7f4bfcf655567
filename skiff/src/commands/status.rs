//! `skiff status`: what runs, where, and how much memory it takes.

use std::process::ExitCode;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use crate::cli::DataDir;
use crate::credentials;
use crate::lock;
use crate::paths::Paths;
use crate::say::say;

/// Shows the state of the cluster; fails when it does not run.
pub async fn status(dirs: &DataDir) -> Result<ExitCode> {
    let paths = Paths::from(dirs);
    say!("{:<20} {}", "version", env!("CARGO_PKG_VERSION"));
    say!("{:<20} {}", "data", paths.data.display());
    let Some(pid) = lock::holder(&paths) else {
        say!("{:<20} not running; start it with `skiff up`", "process");
        return Ok(ExitCode::FAILURE);
    };
    say!("{:<20} {pid}, {}", "process", memory(pid));
    let containerd = std::fs::read_to_string(paths.run.join("containerd/containerd.pid"));
    if let Some(pid) = containerd.ok().and_then(|t| t.split_whitespace().next().and_then(|p| p.parse().ok()))
    {
        say!("{:<20} {pid}, {}", "containerd", memory(pid));
    }
    say!("{:<20} {}", "log", paths.log().display());
    let client = match credentials::from_kubeconfig(&paths.admin_kubeconfig(), "skiff").await {
        Ok(client) => client,
        Err(e) => {
            say!("{:<20} {e:#}", "API server");
            return Ok(ExitCode::FAILURE);
        }
    };
    let version = match client.apiserver_version().await {
        Ok(v) => v.git_version,
        Err(e) => {
            say!("{:<20} does not answer: {e}", "API server");
            return Ok(ExitCode::FAILURE);
        }
    };
    let url = server_of(&paths);
    say!("{:<20} {version} at {url}", "API server");
    let request = http::Request::get("/readyz?verbose").body(Vec::new())?;
    let ready = client.request_text(request).await.is_ok();
    say!("{:<20} {}", "readyz", if ready { "ok" } else { "not ready" });
    for node in Api::<Node>::all(client).list(&ListParams::default()).await?.items {
        print_node(&node);
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_node(node: &Node) {
    let status = node.status.as_ref();
    let ready = status
        .and_then(|s| s.conditions.as_ref())
        .and_then(|c| c.iter().find(|c| c.type_ == "Ready"))
        .is_some_and(|c| c.status == "True");
    let address = status
        .and_then(|s| s.addresses.as_ref())
        .and_then(|a| a.iter().find(|a| a.type_ == "InternalIP"))
        .map_or("", |a| a.address.as_str());
    let info = status.and_then(|s| s.node_info.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or("");
    say!(
        "{:<20} {name} {} {address} {} {}",
        "node",
        if ready { "Ready" } else { "NotReady" },
        info.map_or("", |i| i.kubelet_version.as_str()),
        info.map_or("", |i| i.container_runtime_version.as_str()),
    );
}

fn server_of(paths: &Paths) -> String {
    let text = std::fs::read_to_string(paths.admin_kubeconfig()).unwrap_or_default();
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap_or_default();
    config["clusters"][0]["cluster"]["server"].as_str().unwrap_or("").to_owned()
}

/// Resident memory of a process, as the kernel counts it.
fn memory(pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    rss.map_or("gone".into(), |kb| format!("{:.1} MB resident", kb as f64 / 1024.0))
}
