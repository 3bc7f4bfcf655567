//! Source address translation for what pods send to the world: one nftables table of our own, so that it goes
//! with one command and no other program's rules are touched.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

/// Name of the table for a bridge; two agents on one kernel have two bridges.
pub fn table(bridge: &str) -> String {
    format!("skiff-masq-{bridge}")
}

/// A ruleset that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("nft did not take the rules: {problem}")]
pub struct NftError {
    problem: String,
}

/// Translates what leaves `bridge` from `pod_cidr`, except to other pods' and link-local or multicast addresses.
pub async fn install(bridge: &str, pod_cidr: &str) -> Result<(), NftError> {
    let table = table(bridge);
    let rules = format!(
        "add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n  chain postrouting {{\n    \
         type nat hook postrouting priority srcnat; policy accept;\n    \
         ip saddr {pod_cidr} ip daddr != {pod_cidr} ip daddr != 224.0.0.0/4 oifname != \"{bridge}\" masquerade\n  }}\n}}\n"
    );
    run(rules).await
}

/// Removes the tables of masquerading and of host ports.
pub async fn remove(bridge: &str) -> Result<(), NftError> {
    let table = table(bridge);
    let ports = super::host_ports::table(bridge);
    let mut text = String::new();
    for table in [table, ports] {
        text.push_str(&format!("add table ip {table}\ndelete table ip {table}\n"));
    }
    run(text).await
}

pub(super) async fn run(rules: String) -> Result<(), NftError> {
    let failed = |problem: String| NftError { problem };
    let mut child = tokio::process::Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot run nft ({error}): apt install nftables")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
